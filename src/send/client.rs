//! The HTTP client for a Weir: its address, the credentials, and what its answers mean for the sender.
//!
//! `ureq` is a small client for plain threads, which suffices for a few concurrent requests.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;
use ureq::{Agent, http::HeaderMap};

use crate::{address::Base, trust};

/// Timeout of a request, from its start to the end of its answer.
const REQUEST: Duration = Duration::from_mins(1);

/// Timeout for connecting.
const CONNECT: Duration = Duration::from_secs(10);

/// The longest answer that is read: each event of a request may have a hundred reasons.
const LONGEST_ANSWER: u64 = 64 << 20;

/// A Weir, and the credentials for it.
pub(crate) struct Client {
    agent: Agent,
    base: Base,
    user: String,
    authorization: String,
    /// Whether it has ever answered.
    reached: AtomicBool,
}

/// The caller's credentials.
pub(crate) struct Credentials {
    user: String,
    secret: String,
}

impl Credentials {
    /// Reads USER:SECRET from a file, or else from the environment.
    pub(crate) fn find(file: Option<&Path>) -> Result<Self> {
        let (text, place) = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                (text.with_context(|| format!("cannot read {}", path.display()))?, path.display().to_string())
            }
            None => match std::env::var("WEIR_CREDENTIALS") {
                Ok(text) if !text.is_empty() => (text, "WEIR_CREDENTIALS".to_owned()),
                _ => bail!(
                    "who is sending? Set the variable WEIR_CREDENTIALS to USER:SECRET, or name a file with --credentials-file"
                ),
            },
        };
        let line = text.lines().next().unwrap_or_default().trim();
        match line.split_once(':') {
            Some((user, secret)) if !user.is_empty() && !secret.is_empty() => {
                Ok(Self { user: user.to_owned(), secret: secret.to_owned() })
            }
            _ => bail!("{place} has no credentials: they are USER:SECRET"),
        }
    }
}

/// The result of a request with events.
#[derive(Debug)]
pub(super) enum Reply {
    /// Each event has its outcome; those not stored are to be retried, after this time at the earliest.
    Outcomes(Vec<Outcome>, Duration),
    /// The body is too large.
    TooLarge(String),
    /// The outcomes are unknown: retry all events, after this time at the earliest.
    Later { why: String, wait: Duration },
    /// Retrying cannot help.
    Refused(String),
}

/// The outcome of one event.
#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum Outcome {
    Stored {
        #[serde(default)]
        warnings: Vec<String>,
    },
    Duplicate,
    Rejected {
        #[serde(default)]
        errors: Value,
    },
    NotStored,
}

#[derive(Debug, Default, Deserialize)]
struct Body {
    outcomes: Option<Vec<Outcome>>,
    title: Option<String>,
    detail: Option<String>,
    /// AWS's name for the error text.
    message: Option<String>,
}

impl Body {
    fn says(&self) -> String {
        let said = [&self.title, &self.detail, &self.message].into_iter().flatten();
        said.map(|text| text.trim_end_matches('.')).collect::<Vec<_>>().join(": ")
    }
}

impl Client {
    pub(crate) fn new(base: Base, credentials: &Credentials, at_once: usize) -> Result<Self> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirected POST becomes a GET: better reported than followed.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(at_once)
            .max_idle_connections_per_host(at_once)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(REQUEST))
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
        if base.is_https() {
            config = config.tls_config(trust::as_the_machine_does()?);
        }
        let Credentials { user, secret } = credentials;
        Ok(Self {
            agent: config.build().into(),
            base,
            user: user.clone(),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{secret}"))),
            reached: AtomicBool::new(false),
        })
    }

    /// Returns the server's address and the user.
    pub(super) fn destination(&self) -> (String, String) {
        (self.base.to_string(), self.user.clone())
    }

    /// Returns whether the secret travels in clear text beyond this machine.
    pub(super) fn is_in_clear(&self) -> bool {
        !self.base.is_https() && !self.base.is_here()
    }

    /// Returns whether the server has answered anything yet: until then, it may not be a Weir at all.
    pub(super) fn reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// Returns the API's description, if the server has one.
    pub(super) fn description(&self) -> Result<Option<Value>> {
        let (status, description) = self.get("/openapi.json")?;
        self.reached.store(true, Ordering::Relaxed);
        if status == 401 {
            bail!(self.unauthorized(&Body::default()));
        }
        Ok(Some(description).filter(|description| !description.is_null()))
    }

    /// Reads a path. Returns the status and the answer's JSON; null if the answer is not JSON.
    pub(crate) fn get(&self, path: &str) -> Result<(u16, Value)> {
        let request = self.agent.get(format!("{}{path}", self.base));
        let answer = request.header("authorization", &self.authorization).call();
        let mut answer = answer.map_err(|error| anyhow::anyhow!(self.unreachable(&error)))?;
        let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let body = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
        Ok((answer.status().as_u16(), body.unwrap_or_default()))
    }

    /// Posts so many events, one a line.
    pub(super) fn post(&self, body: &[u8], events: usize) -> Reply {
        let request = self.agent.post(format!("{}/events", self.base));
        let request = request
            .header("authorization", &self.authorization)
            .header("content-type", "application/x-ndjson");
        let answered = request.send(body).and_then(|mut answer| {
            let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec()?;
            Ok((answer.status().as_u16(), answer.headers().clone(), body))
        });
        match answered {
            Ok((status, headers, body)) => {
                self.reached.store(true, Ordering::Relaxed);
                self.read(status, &headers, &body, events)
            }
            Err(error) if !self.reached() => Reply::Refused(self.unreachable(&error)),
            Err(error) => Reply::Later { why: error.to_string(), wait: Duration::ZERO },
        }
    }

    fn read(&self, status: u16, headers: &HeaderMap, body: &[u8], events: usize) -> Reply {
        let answer: Body = serde_json::from_slice(body).unwrap_or_default();
        let wait = retry_after(headers);
        let (says, base) = (answer.says(), &self.base);
        match (status, answer.outcomes) {
            (200 | 207 | 422 | 503, Some(outcomes)) if outcomes.len() == events => {
                Reply::Outcomes(outcomes, wait)
            }
            (401, _) => Reply::Refused(self.unauthorized(&Body { outcomes: None, ..answer })),
            (403, _) => Reply::Refused(format!(
                "{base} does not let {} post events: the access key needs the scope write ({says})",
                self.user
            )),
            (413, _) => Reply::TooLarge(says),
            // 400 means a body that did not arrive whole.
            (400 | 408 | 429 | 500..=599, _) => Reply::Later { why: format!("{status} {says}"), wait },
            (300..=399, _) => {
                let place =
                    headers.get("location").and_then(|place| place.to_str().ok()).unwrap_or("elsewhere");
                Reply::Refused(format!("{base} redirects to {place}: name that with --to"))
            }
            (404 | 405, _) => Reply::Refused(format!(
                "there is no Weir at {base}: it answers {status}. --to is the server's address, without a route"
            )),
            (status, _) => {
                Reply::Refused(format!("{base} answers {status}, which Weir does not here: {says}"))
            }
        }
    }

    fn unauthorized(&self, body: &Body) -> String {
        let says = body.says();
        let says = if says.is_empty() { String::new() } else { format!(" ({says})") };
        format!("{} does not accept the credentials of {}{says}", self.base, self.user)
    }

    fn unreachable(&self, error: &ureq::Error) -> String {
        format!("cannot reach {}: {error}. Is that the right address, and does the server run?", self.base)
    }
}

/// Returns the seconds of `Retry-After`; zero if it is a date.
fn retry_after(headers: &HeaderMap) -> Duration {
    let text = headers.get("retry-after").and_then(|value| value.to_str().ok());
    text.and_then(|text| text.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_mean_what_they_say() {
        let credentials = Credentials { user: "u".to_owned(), secret: "s".to_owned() };
        let client = Client::new("http://localhost:1".parse().unwrap(), &credentials, 1).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        let read = |status, body: &str| client.read(status, &headers, body.as_bytes(), 2);
        let outcomes =
            r#"{"outcomes":[{"status":"stored","event_id":"1"},{"status":"rejected","errors":[1]}]}"#;
        assert!(
            matches!(read(207, outcomes), Reply::Outcomes(all, wait) if all.len() == 2 && wait.as_secs() == 7)
        );
        // With another number of outcomes, they cannot be matched to events.
        let fewer = r#"{"outcomes":[{"status":"stored","event_id":"1"}]}"#;
        assert!(matches!(read(200, fewer), Reply::Refused(_)));
        assert!(matches!(read(503, "busy"), Reply::Later { wait, .. } if wait.as_secs() == 7));
        assert!(matches!(read(429, "{}"), Reply::Later { .. }));
        assert!(matches!(read(413, "{}"), Reply::TooLarge(_)));
        for refused in [401, 403, 404, 302, 415, 418] {
            assert!(matches!(read(refused, r#"{"message":"Forbidden"}"#), Reply::Refused(_)), "{refused}");
        }
        assert!(!client.is_in_clear());
        assert!(Client::new("http://example.com".parse().unwrap(), &credentials, 1).unwrap().is_in_clear());
    }
}
