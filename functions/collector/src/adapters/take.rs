//! The steps of a foreign request: its key, its body, its messages, and then the way of every event.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, Request},
    http::{Method, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Map;
use weir_core::{Username, Violation, catalog::Budget};

use crate::{
    Collector,
    adapters::{
        key::{self, Presented},
        protocol::{Foreign, Protocol},
        redact,
    },
    api::{authentication::NotAuthenticated, caller::Writer, problem::Problem},
    intake::{
        body::MAX_DECOMPRESSED,
        held::{self, aside},
        limits::MAX_EVENTS,
        outcome::Outcome,
        sender::Sent,
        store::Prepared,
    },
};

/// The most bytes of one request's events together. Messages may share a part of their body, and each event has it.
const MAX_TEXTS: usize = 2 * MAX_DECOMPRESSED;

/// Takes a foreign request.
pub(crate) async fn take(
    collector: Arc<Collector>,
    protocol: &'static dyn Protocol,
    request: Request,
) -> Result<Response, Problem> {
    // A router answers HEAD by the handler of GET, and a GET of these stores an event.
    if *request.method() == Method::HEAD {
        return Ok((
            [(header::ALLOW, "GET")],
            Problem::MethodNotAllowed { method: Method::HEAD, takes: vec!["GET"] },
        )
            .into_response());
    }
    let (mut parts, sent) = request.into_parts();
    let presented = key::of_head(&mut parts)?;
    // A key in the head is checked before the body is read.
    let early = match presented {
        Presented::Nowhere => None,
        presented => Some(writer(&mut parts, &collector, presented).await?),
    };
    take_of(collector, protocol, early, parts, sent).await
}

/// Takes a foreign request whose caller is known.
pub(crate) async fn take_from(
    collector: Arc<Collector>,
    protocol: &'static dyn Protocol,
    writer: Writer,
    parts: Parts,
    sent: Body,
) -> Result<Response, Problem> {
    take_of(collector, protocol, Some(writer), parts, sent).await
}

async fn take_of(
    collector: Arc<Collector>,
    protocol: &'static dyn Protocol,
    early: Option<Writer>,
    mut parts: Parts,
    sent: Body,
) -> Result<Response, Problem> {
    let limits = if early.is_some() { &collector.limits } else { collector.limits.of_strangers() };
    let (sent, held) = held::receive(&collector, limits, &parts, sent).await?;
    let is_large = sent.is_large(collector.catalog.bytes_checked_at_once());
    let foreign = Foreign {
        path: key::path_below(&parts.uri).to_owned(),
        uri: parts.uri.clone(),
        headers: parts.headers.clone(),
        body: Bytes::new(),
    };
    let has_key = early.is_some();
    let read = move |_: &Collector| {
        let mut request = Foreign { body: sent.decode()?, ..foreign };
        if let Some(decoded) = protocol.decoded(&request)? {
            request.body = decoded;
        }
        let key = if has_key { None } else { protocol.key(&request) };
        Ok((request, key))
    };
    let ((request, found), held) = aside(&collector, is_large, held, read).await?;
    let writer = if let Some(writer) = early {
        writer.still(&parts, &collector).await?;
        writer
    } else {
        let found = found.ok_or(Problem::Unauthorized(NotAuthenticated::NoCredentials))?;
        let presented = key::of_body(&mut parts, &found)?;
        writer(&mut parts, &collector, presented).await?
    };
    let username = writer.username;
    let sent_by = Sent { sender: collector.sender(&parts), user_agents: protocol.user_agents() };
    let prepare = move |collector: &Collector| prepare(collector, &username, &sent_by, protocol, &request);
    let ((prepared, sizes), _held) = aside(&collector, is_large, held, prepare).await?;
    let outcomes = of_messages(collector.store(prepared).await, &sizes);
    let not_stored = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::NotStored { reason, .. } => Some(*reason),
        _ => None,
    });
    match not_stored {
        // What is stored already is a duplicate when it comes again.
        Some(reason) => Err(Problem::NotStored { answer: Map::new(), reason }),
        None => Ok(protocol.taken(&outcomes)),
    }
}

/// Returns the caller, if the access key may do what its place allows.
pub(crate) async fn writer(
    parts: &mut Parts,
    collector: &Arc<Collector>,
    presented: Presented,
) -> Result<Writer, Problem> {
    let writer = Writer::from_request_parts(parts, collector).await?;
    if presented == Presented::OutsideHeader { writer.which_only_writes() } else { Ok(writer) }
}

/// Translates and validates. Returns the number of events of each message too.
fn prepare(
    collector: &Collector,
    username: &Username,
    sent_by: &Sent,
    protocol: &dyn Protocol,
    request: &Foreign,
) -> Result<(Prepared, Vec<usize>), Problem> {
    let malformed = |error: Violation| {
        let prepared = collector.prepare_malformed(username, &redact::secrets(&request.body), &error);
        let sizes = vec![prepared.len()];
        Ok((prepared, sizes))
    };
    let messages = match protocol.messages(request, &collector.catalog) {
        Ok(messages) if messages.len() > MAX_EVENTS => {
            return Err(Problem::TooManyEvents { limit: MAX_EVENTS });
        }
        Ok(messages) => messages,
        Err(error) => return malformed(error),
    };
    let (mut texts, mut sizes, mut bytes) = (Vec::with_capacity(messages.len()), Vec::new(), 0);
    let mut budget = Budget::of_a_request();
    for message in messages {
        let before = texts.len();
        message.write(&collector.catalog, &sent_by.sender, &mut budget, &mut texts);
        bytes += texts[before..].iter().map(Vec::len).sum::<usize>();
        if bytes > MAX_TEXTS {
            return malformed(Violation::whole("what its messages share is too large for so many of them"));
        }
        sizes.push(texts.len() - before);
    }
    let texts: Vec<_> = texts.iter().map(|text| redact::secrets(text)).collect();
    let texts: Vec<&[u8]> = texts.iter().map(|text| &**text).collect();
    Ok((collector.prepare(username, sent_by, &texts, None), sizes))
}

/// Returns one outcome a message: that its events have to be sent again, or else that of its first.
fn of_messages(outcomes: Vec<Outcome>, sizes: &[usize]) -> Vec<Outcome> {
    let mut outcomes = outcomes.into_iter();
    let one = |size: &usize| {
        let mut of_message = outcomes.by_ref().take(*size);
        let first = of_message.next()?;
        let not_stored = of_message.filter(|outcome| matches!(outcome, Outcome::NotStored { .. })).last();
        Some(not_stored.unwrap_or(first))
    };
    sizes.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::reason::Reason;

    #[test]
    fn a_message_is_stored_once_all_its_events_are() {
        let stored = || Outcome::Stored { event_id: "a".parse().unwrap(), warnings: vec![] };
        let lost = || Outcome::NotStored { event_id: None, reason: Reason::Unavailable };
        let outcomes = of_messages(vec![stored(), stored(), lost(), lost(), stored()], &[1, 2, 2]);
        assert_eq!(outcomes, [stored(), lost(), lost()]);
    }
}
