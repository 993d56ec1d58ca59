//! Events over HTTP: how a request has them, and how its answer is read.

use std::{io::Write, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use ureq::http;

use super::event::Event;

/// How a request has its events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// One, on its type's own route.
    Alone,
    Array,
    Lines,
    CompressedLines,
}

pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    pub(crate) credentials: &'a str,
    pub(crate) patience: Duration,
}

/// What an answer says of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    pub(crate) is_durable: bool,
    /// The id that it has.
    pub(crate) event_id: Option<String>,
}

impl Request<'_> {
    /// Sends events, on a connection of their own. `None` without an answer, an error with one that no fault explains.
    pub(crate) fn send(
        &self,
        form: Form,
        events: &[Event],
        version: u8,
    ) -> Option<Result<Vec<Outcome>, String>> {
        let lines =
            || events.iter().map(|event| format!("{}\n", event.json(version, true))).collect::<String>();
        let (route, headers, body): (_, &[(&str, &str)], _) = match (form, events) {
            (Form::Alone, [event]) => {
                (event.route(), &[], event.json(version, false).to_string().into_bytes())
            }
            (Form::Alone | Form::Array, _) => {
                let events: Vec<Value> = events.iter().map(|event| event.json(version, true)).collect();
                ("/events", &[], Value::from(events).to_string().into_bytes())
            }
            (Form::Lines, _) => {
                ("/events", &[("content-type", "application/x-ndjson")], lines().into_bytes())
            }
            (Form::CompressedLines, _) => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                gzip.write_all(lines().as_bytes()).ok()?;
                let headers = &[("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
                ("/events", headers, gzip.finish().ok()?)
            }
        };
        let (status, body) = self.post(route, headers, &body)?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        let outcomes = answer["outcomes"].as_array();
        match (status, outcomes) {
            (200 | 207 | 422 | 503, Some(outcomes)) if outcomes.len() == events.len() => {
                Some(Ok(outcomes.iter().map(outcome).collect()))
            }
            (200, None) if events.len() == 1 => {
                Some(Ok(vec![Outcome { is_durable: true, ..Outcome::default() }]))
            }
            // A server that stood still takes bodies for slow ones.
            (503 | 408, None) => None,
            _ => Some(Err(format!("{route} was answered {status}: {answer}"))),
        }
    }

    fn post(&self, route: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<(u16, Vec<u8>)> {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(self.patience));
        let agent: ureq::Agent = config.build().into();
        let mut request = http::Request::builder()
            .method("POST")
            .uri(format!("{}{route}", self.url))
            .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(self.credentials)));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = agent.run(request.body(body).ok()?).ok()?;
        let body = answer.body_mut().with_config().limit(16 << 20).read_to_vec().ok()?;
        Some((answer.status().as_u16(), body))
    }
}

fn outcome(outcome: &Value) -> Outcome {
    let status = outcome["status"].as_str().unwrap_or_default();
    Outcome {
        is_durable: ["stored", "duplicate", "rejected"].contains(&status),
        event_id: outcome["event_id"].as_str().map(str::to_owned),
    }
}
