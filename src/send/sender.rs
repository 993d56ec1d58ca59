//! Sends one batch, and retries with the same ids until the outcome of each of its events is known.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use weir_core::Random;

use super::{
    client::{Client, Outcome, Reply},
    source::Item,
    stop::Stop,
};

/// The longest body, unless a single event is longer: well below the limits of the server and AWS.
pub(super) const BODY_BYTES: usize = 1 << 20;

/// The first back-off before a retry; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest back-off, and the longest `Retry-After` that is followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_WISH: Duration = Duration::from_mins(1);

/// A rejected line, and every reason.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) number: u64,
    pub(super) errors: Value,
    pub(super) original: Vec<u8>,
    pub(super) cut: bool,
}

/// The events that were stored with a warning: for each warning how many, and the first one's line. A server has few different
/// warnings; of one that has more, the later ones are left out.
#[derive(Debug, Default)]
pub(super) struct Warned(BTreeMap<String, (u64, u64)>);

impl Warned {
    const MOST: usize = 16;

    fn add(&mut self, line: u64, warnings: Vec<String>) {
        for warning in warnings {
            self.add_one(&warning, (1, line));
        }
    }

    fn add_one(&mut self, warning: &str, (events, line): (u64, u64)) {
        if let Some((known, first)) = self.0.get_mut(warning) {
            (*known, *first) = (*known + events, line.min(*first));
        } else if self.0.len() < Self::MOST {
            self.0.insert(warning.to_owned(), (events, line));
        }
    }

    /// Adds those of another batch.
    pub(super) fn add_all(&mut self, others: &Self) {
        for (warning, others) in &others.0 {
            self.add_one(warning, *others);
        }
    }

    /// Returns each warning with its events and the first one's line.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.0.iter().map(|(warning, (events, line))| (warning.as_str(), *events, *line))
    }
}

/// The outcomes of a batch.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) sent: u64,
    pub(super) duplicates: u64,
    pub(super) warned: Warned,
    /// In the order of their lines.
    pub(super) rejected: Vec<Rejection>,
}

/// Why the outcomes are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The run was stopped.
    #[error("it was stopped")]
    Stopped,
    /// Retrying cannot help.
    #[error("{0}")]
    Refused(String),
    /// The retries took too long.
    #[error("gave up after trying for {} s: {why}", .tried.as_secs())]
    GaveUp { tried: Duration, why: String },
}

/// Sends batches.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) client: Arc<Client>,
    pub(super) stop: Arc<Stop>,
    pub(super) random: Arc<dyn Random>,
    pub(super) retry_for: Duration,
}

impl Sender {
    /// Sends a batch until it is settled.
    pub(super) fn settle(&self, items: Vec<Item>) -> Result<Settled, Failure> {
        let mut settled = Settled::default();
        let mut waiting = Vec::with_capacity(items.len());
        for mut item in items {
            match std::mem::replace(&mut item.event, Ok(Vec::new())) {
                Ok(event) => waiting.push((item, event)),
                Err(violation) => settled.rejected.push(rejection(item, json!([violation]))),
            }
        }
        self.send(waiting, &mut settled)?;
        settled.rejected.sort_by_key(|rejection| rejection.number);
        Ok(settled)
    }

    fn send(&self, mut waiting: Vec<(Item, Vec<u8>)>, settled: &mut Settled) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        let mut since = Instant::now();
        while !waiting.is_empty() {
            let body = waiting.iter().map(|(_, event)| event.as_slice()).collect::<Vec<_>>().join(&b'\n');
            let (why, wait) = match self.client.post(&body, waiting.len()) {
                Reply::Outcomes(outcomes, wait) => {
                    let before = waiting.len();
                    waiting = note(waiting, outcomes, settled);
                    if waiting.len() < before {
                        (pause, since) = (FIRST_PAUSE, Instant::now());
                    }
                    ("the server does not store events now".to_owned(), wait)
                }
                Reply::TooLarge(says) => {
                    drop(body);
                    if waiting.len() == 1 {
                        let errors = |says| json!([{"path": "", "message": says}]);
                        let alone = waiting.drain(..).map(|(item, _)| rejection(item, errors(&says)));
                        settled.rejected.extend(alone);
                        return Ok(());
                    }
                    let rest = waiting.split_off(waiting.len() / 2);
                    self.send(waiting, settled)?;
                    return self.send(rest, settled);
                }
                Reply::Refused(why) => return Err(Failure::Refused(why)),
                Reply::Later { why, wait } => (why, wait),
            };
            if waiting.is_empty() {
                break;
            }
            if since.elapsed() >= self.retry_for {
                return Err(Failure::GaveUp { tried: since.elapsed(), why });
            }
            let left = self.retry_for.saturating_sub(since.elapsed());
            if self.stop.wait(bounded(self.jittered(pause), wait, left)) {
                return Err(Failure::Stopped);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Returns between half and all of the pause (jitter), so that requests that failed together do not retry together.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        self.random.fill(&mut byte);
        pause / 2 + pause * u32::from(byte[0]) / 512
    }
}

/// Returns the wait before the next retry: the server's `Retry-After` if it exceeds the pause, but never more than the time
/// left, whose end has one last retry.
fn bounded(pause: Duration, wish: Duration, left: Duration) -> Duration {
    pause.max(wish.min(LONGEST_WISH)).min(left)
}

/// Records the outcomes of events; returns those to be retried.
fn note(
    waiting: Vec<(Item, Vec<u8>)>,
    outcomes: Vec<Outcome>,
    settled: &mut Settled,
) -> Vec<(Item, Vec<u8>)> {
    let mut again = Vec::new();
    for ((item, event), outcome) in waiting.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Stored { warnings } => {
                settled.sent += 1;
                settled.warned.add(item.number, warnings);
            }
            Outcome::Duplicate => settled.duplicates += 1,
            Outcome::Rejected { errors } => settled.rejected.push(rejection(item, errors)),
            Outcome::NotStored => again.push((item, event)),
        }
    }
    again
}

fn rejection(item: Item, errors: Value) -> Rejection {
    let Item { number, original, cut, .. } = item;
    Rejection { number, errors, original, cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_retry_after_is_followed_for_a_minute_at_the_most_and_never_beyond_the_time_left() {
        let seconds = Duration::from_secs;
        for (pause, wish, left, wait) in [
            (1, 7, 120, 7),
            (1, 0, 120, 1),
            (1, 99_999_999_999, 120, 60),
            (1, 99_999_999_999, 3, 3),
            (9, 0, 3, 3),
        ] {
            assert_eq!(bounded(seconds(pause), seconds(wish), seconds(left)), seconds(wait));
        }
    }
}
