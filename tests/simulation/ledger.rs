//! The truth of a run: which access keys were good when, which events were sent, and every answer.

use std::sync::Arc;

use serde_json::Value;
use weir_core::users::Scope;

use crate::faults::Origin;

/// All that happened outside of Weir.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) keys: Vec<KeyLife>,
    pub(crate) events: Vec<Sent>,
    pub(crate) exchanges: Vec<Exchange>,
    /// Ids that Weir made and told a user's client, and under which no client has sent another event yet.
    pub(crate) told_ids: Vec<(&'static str, String)>,
    /// Lines that a stranger put into the stream.
    pub(crate) garbage: Vec<Vec<u8>>,
    /// Objects that a stranger put into raw and that are no batches.
    pub(crate) junk: Vec<String>,
    /// What was seen to be wrong while the run went on: the check, and the details.
    pub(crate) broken: Vec<(&'static str, String)>,
}

/// An access key: each end of its life is known as the time when changing it began and the time when it was done.
#[derive(Clone)]
pub(crate) struct KeyLife {
    pub(crate) username: String,
    pub(crate) label: String,
    pub(crate) secret: String,
    pub(crate) scope: Scope,
    pub(crate) born: (u64, u64),
    pub(crate) dead: Option<(u64, u64)>,
    /// The end that the key was made with.
    pub(crate) ends: Option<u64>,
}

/// An event that a client made.
pub(crate) struct Sent {
    pub(crate) username: String,
    /// As it was sent.
    pub(crate) text: String,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    Valid {
        event_type: &'static str,
        key: String,
        event_id: Option<String>,
        /// What the record holds behind what is stamped.
        rest: String,
    },
    Invalid,
}

/// A request, and what came of it on the server's side, whether or not the client learnt of it.
pub(crate) struct Exchange {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    pub(crate) username: String,
    pub(crate) secret: Option<String>,
    pub(crate) needs: Scope,
    pub(crate) verdict: Verdict,
    /// When the verdict was there.
    pub(crate) decided: u64,
    pub(crate) status: Option<u16>,
    pub(crate) origin: Arc<Origin>,
    pub(crate) events: Vec<usize>,
    /// What was said of each event.
    pub(crate) said: Vec<Said>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
    /// The authorizer failed, or there was nothing to decide on.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Stored,
    Duplicate,
    Rejected,
    NotStored,
    Nothing,
}

impl Exchange {
    /// The events that were acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<usize> {
        let events = self.events.iter().zip(&self.said);
        events.filter(|(_, said)| said.is_acknowledged()).map(|(event, _)| *event).collect()
    }
}

impl Ledger {
    /// By what the events of an exchange are known.
    pub(crate) fn ids(&self, exchange: &Exchange) -> Vec<String> {
        let id = |event: &usize| match &self.events[*event] {
            Sent { username, form: Form::Valid { event_id: Some(id), .. }, .. } => {
                Some(format!("{username}/{id}"))
            }
            _ => None,
        };
        exchange.events.iter().filter_map(id).collect()
    }

    /// Notes that something is wrong.
    pub(crate) fn fault(&mut self, check: &'static str, details: String) {
        self.broken.push((check, details));
    }
}

impl Said {
    /// Whether the client need not send the event again.
    pub(crate) fn is_acknowledged(self) -> bool {
        matches!(self, Self::Stored | Self::Duplicate | Self::Rejected)
    }
}

/// Which event a stored line is, by the mark that its client gave it.
pub(crate) fn marked(line: &Value) -> Option<usize> {
    match line["marker"].as_str() {
        Some(marker) => marker.strip_prefix('e')?.parse().ok(),
        None => mark_in(line["body"].as_str()?),
    }
}

/// The first mark in a text that may be broken.
fn mark_in(text: &str) -> Option<usize> {
    let digits = text.split_once("\"marker\":\"e")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// What an answer says of each of a request's events.
pub(crate) fn said(status: Option<u16>, body: &Value, events: usize) -> Vec<Said> {
    let one = |outcome: &Value| match outcome["status"].as_str() {
        Some("stored") => Said::Stored,
        Some("duplicate") => Said::Duplicate,
        Some("rejected") => Said::Rejected,
        _ => Said::NotStored,
    };
    if let Some(outcomes) = body["outcomes"].as_array() {
        assert_eq!(outcomes.len(), events, "one outcome for each event: {body}");
        return outcomes.iter().map(one).collect();
    }
    let all = match status {
        Some(200) => Said::Stored,
        Some(422) => Said::Rejected,
        Some(503) if body["type"] == "urn:weir:problem:not-stored" => Said::NotStored,
        _ => Said::Nothing,
    };
    vec![all; events]
}
