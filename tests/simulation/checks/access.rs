//! Who was let in, and who was turned away without a cause.

use super::Broken;
use crate::{
    gateway::KEPT,
    ledger::{Exchange, KeyLife, Ledger, Said, Verdict},
    weir::CREDENTIALS_CACHED,
};

/// How long a check of credentials may take, from reading the user to keeping the answer.
const SLACK: u64 = 6_000;

/// How long an event's id stays claimed by a request that did not get on: its lease, and by how much the clocks of two
/// processes may differ that both take the time from answers.
const LEASE: u64 = 30_000 + 7_000;

pub(super) fn credentials(ledger: &Ledger, broken: &mut Broken) {
    let believed = u64::try_from(CREDENTIALS_CACHED.as_millis()).unwrap() + KEPT + SLACK;
    for exchange in &ledger.exchanges {
        let key = ledger
            .keys
            .iter()
            .find(|key| key.username == exchange.username && Some(&key.secret) == exchange.secret.as_ref());
        let why = match (exchange.verdict, key) {
            (Verdict::Allowed, None) => "wrong credentials were accepted",
            (Verdict::Allowed, Some(key)) if !may_be_believed(key, exchange, believed) => {
                "a key was accepted that is no longer good"
            }
            // The collector goes by the key's own end, whatever API Gateway still believes.
            (Verdict::Allowed, Some(key))
                if key.ends.is_some_and(|end| end <= exchange.decided)
                    && !matches!(exchange.status, Some(401) | None) =>
            {
                "a key was accepted after its own end"
            }
            // API Gateway still believes in it, and the collector knows that it has ended by itself.
            (Verdict::Allowed, Some(key)) if exchange.status == Some(401) => {
                if !is_good(key, exchange) {
                    continue;
                }
                "a good key was refused"
            }
            (Verdict::Allowed, Some(key)) if !key.scope.allows(exchange.needs) => match exchange.status {
                Some(403) | None => continue,
                Some(500..) if exchange.origin.was_disturbed() => continue,
                _ => "a key was good for more than its scope",
            },
            (Verdict::Allowed, Some(_)) if exchange.status == Some(403) => "a key was not good for its scope",
            (Verdict::Denied, Some(key)) if is_good(key, exchange) => "a good key was refused",
            _ => continue,
        };
        broken.push(("credentials", format!("{}: {why}", exchange.origin.who)));
    }
}

/// Whether the key was good at some time that an answer of this moment may be about.
fn may_be_believed(key: &KeyLife, exchange: &Exchange, believed: u64) -> bool {
    key.born.0 <= exchange.decided
        && key.dead.is_none_or(|(_, end)| end.saturating_add(believed) >= exchange.began)
}

/// Whether the key was good at all times that the verdict may be about.
fn is_good(key: &KeyLife, exchange: &Exchange) -> bool {
    let since = exchange.began.saturating_sub(KEPT + SLACK);
    key.born.1 <= since && key.dead.is_none_or(|(end, _)| end > exchange.decided)
}

/// No client is asked to try again, or left without an answer, unless something went wrong for it.
pub(super) fn failures_have_a_cause(ledger: &Ledger, broken: &mut Broken) {
    for exchange in &ledger.exchanges {
        let failed =
            exchange.status.is_none_or(|status| status >= 500) || exchange.said.contains(&Said::NotStored);
        // Requests with the same credentials at the same time share an answer, also where it is a failure; and a client
        // that sends an event whose id another request has claimed is asked to come back.
        let ids = ledger.ids(exchange);
        let shared = ledger.exchanges.iter().any(|other| {
            let same_credentials = exchange.verdict == Verdict::None && other.secret == exchange.secret;
            let lately = other.began <= exchange.ended && other.ended + LEASE >= exchange.began;
            let claimed = || {
                let claimed = other.origin.claimed.lock().unwrap();
                let mut held =
                    claimed.iter().filter(|(at, _)| *at <= exchange.ended && at + LEASE >= exchange.began);
                held.any(|(_, id)| ids.contains(id))
            };
            !std::ptr::eq(exchange, other)
                && ((same_credentials && other.origin.was_disturbed() && lately) || claimed())
        });
        if failed && !exchange.origin.was_disturbed() && !shared {
            let details = format!("{}: {:?} {:?}", exchange.origin.who, exchange.status, exchange.said);
            broken.push(("failures have a cause", details));
        }
    }
}
