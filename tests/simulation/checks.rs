//! What must hold of every run, whatever went wrong in it.

mod access;
mod counts;
mod latest;
mod receipts;
mod stored;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

pub(crate) use counts::{raised, read};
pub(crate) use receipts::{right as receipts_are_right, sent_ids};
pub(crate) use stored::Lake;

use crate::{ledger::Ledger, weir::Weir, world::World};

/// What was found to be broken: the check, and the details.
pub(crate) type Broken = Vec<(&'static str, String)>;

/// All checks of a run that has come to rest.
pub(crate) async fn all(world: &Arc<World>, weir: &Weir, ledger: &Ledger) -> Broken {
    let lake = Lake::of(world);
    let mut broken = Vec::new();
    stored::acknowledged_is_stored(ledger, &lake, &mut broken);
    stored::stored_once(ledger, &mut broken);
    stored::stored_once_in_all(ledger, &mut broken);
    stored::as_sent(world, ledger, &mut broken);
    stored::lake_is_what_was_delivered(world, ledger, &lake, &mut broken);
    stored::places(&lake, &mut broken);
    stored::quarantine(world, ledger, &mut broken);
    counts::live_of_each_request(ledger, &mut broken);
    counts::live_and_settled(world, weir, &lake, &mut broken).await;
    latest::none_is_stale(world, weir, ledger, &lake, &mut broken).await;
    receipts::right(world, weir, &sent_ids(ledger), &mut broken).await;
    access::credentials(ledger, &mut broken);
    access::failures_have_a_cause(ledger, &mut broken);
    broken
}

/// The text of a gzip object.
pub(crate) fn unzipped(object: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(object), &mut text).unwrap();
    text
}

/// Counts one more of something.
fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, by: u64) {
    *counts.entry(key).or_default() += by;
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
