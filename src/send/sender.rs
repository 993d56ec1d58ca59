//! One batch on its way: sent, and sent again with the same ids, until it is known what became of each of its events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use weir_core::Random;

use super::{
    client::{Client, Outcome, Reply},
    input::Item,
    stop::Stop,
};

/// The longest body, unless a single event is longer: well below what the server and AWS take.
pub(super) const BODY_BYTES: usize = 1 << 20;

/// The first pause before a request is sent again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause, and the longest that a server's wish is followed.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_WISH: Duration = Duration::from_mins(1);

/// A line that was rejected, and every reason.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) number: u64,
    pub(super) errors: Value,
    pub(super) original: Vec<u8>,
    pub(super) cut: bool,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) sent: u64,
    pub(super) duplicates: u64,
    /// In the order of their lines.
    pub(super) rejected: Vec<Rejection>,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Somebody said to stop.
    #[error("it was stopped")]
    Stopped,
    /// It cannot go on.
    #[error("{0}")]
    Refused(String),
    /// It was tried for too long.
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

    /// Between the half and the whole: who failed together does not come again together.
    fn jittered(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        self.random.fill(&mut byte);
        pause / 2 + pause * u32::from(byte[0]) / 512
    }
}

/// The wait before the next try: the server's wish where it is longer than the pause, but never beyond the time that is left.
/// One more try comes at its end.
fn bounded(pause: Duration, wish: Duration, left: Duration) -> Duration {
    pause.max(wish.min(LONGEST_WISH)).min(left)
}

/// Notes what became of events; gives back those that are to be sent again.
fn note(
    waiting: Vec<(Item, Vec<u8>)>,
    outcomes: Vec<Outcome>,
    settled: &mut Settled,
) -> Vec<(Item, Vec<u8>)> {
    let mut again = Vec::new();
    for ((item, event), outcome) in waiting.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Stored => settled.sent += 1,
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
