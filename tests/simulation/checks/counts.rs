//! Counts: live ones between what was done and what was told to be done, settled ones exactly what lies in the lake.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use weir_core::{
    EventType, Timestamp, Username,
    counts::KeysRequest,
    ports::{LiveCounts, SettledCounts},
};

use super::{Broken, Lake, count, stored::event_time, text};
use crate::{
    events::TYPES,
    faults::Origin,
    ledger::{Form, Ledger, Sent, marked},
    operator::USERS,
    weir::Weir,
    world::World,
};

/// Counts by user, type and key.
pub(crate) type Counts = BTreeMap<(String, String, Option<String>), u64>;

/// By how much live counts were raised so far; or only where it is known to have been done.
pub(crate) fn raised(world: &World, only_told: bool) -> Counts {
    let mut counts = Counts::new();
    for origin in world.origins.lock().unwrap().iter() {
        of_origin(origin, only_told, &mut counts);
    }
    counts
}

fn of_origin(origin: &Origin, only_told: bool, counts: &mut Counts) {
    for raised in origin.raised.lock().unwrap().iter().filter(|raised| raised.told || !only_told) {
        let pk: Vec<&str> = raised.place.0.split('#').collect();
        let counter = match (pk[..].first(), raised.place.1.split_once('#')) {
            (Some(&"live"), Some(("type", of))) => (pk[1].to_owned(), of.to_owned(), None),
            (Some(&"key"), Some(("key", key))) => (pk[1].to_owned(), pk[2].to_owned(), Some(key.to_owned())),
            _ => panic!("no live count is at {:?}", raised.place),
        };
        count(counts, counter, raised.by);
    }
}

/// Checks what a client read against what was raised before it asked and until it was answered.
pub(crate) fn read(
    ledger: &mut Ledger,
    bounds: &(Counts, Counts),
    username: &str,
    path: &str,
    query: &str,
    body: &Value,
) {
    let mut check = |of: &str, key: Option<&str>, found: &Value| {
        let counter = (username.to_owned(), of.to_owned(), key.map(str::to_owned));
        let [least, most] =
            [&bounds.0, &bounds.1].map(|counts| counts.get(&counter).copied().unwrap_or_default());
        if !found.as_u64().is_some_and(|found| (least..=most).contains(&found)) {
            ledger.fault("reads", format!("{counter:?} is read as {found}, and is from {least} to {most}"));
        }
    };
    if path == "/rejected" {
        rejected(ledger, username, body);
    } else if path.ends_with("/hours") {
        // How many they are, `live_and_settled` looks at in the end.
        assert!(body["hours"].as_array().unwrap().iter().all(|hour| hour["count"].as_u64() > Some(0)));
    } else if path == "/counts" {
        assert_eq!(body["username"], username);
        for counts in body["counts"].as_array().unwrap().iter().chain([&body["rejected"]]) {
            check(text(counts, "event_type"), None, &counts["total"]);
        }
    } else if let Some(of) = path.strip_prefix("/counts/") {
        check(of, None, &body["total"]);
        for key in body["keys"].as_array().unwrap() {
            check(of, key["key"].as_str(), &key["count"]);
        }
    } else {
        let of = TYPES.iter().find(|(_, route, ..)| path.starts_with(route)).unwrap().0;
        check(of, query.split_once('=').map(|(_, key)| key), &body["count"]);
    }
}

/// Checks that the rejected events that a client read are its user's own, as they were sent.
fn rejected(ledger: &mut Ledger, username: &str, body: &Value) {
    for event in body["rejected"].as_array().unwrap() {
        let is_it = |sent: &&Sent| matches!(sent.form, Form::Invalid) && sent.text == text(event, "event");
        let sender = ledger.events.iter().find(is_it).map(|sent| sent.username.as_str());
        if sender != Some(username) || event["errors"].as_array().unwrap().is_empty() {
            let details = format!("{username} reads a rejected event of {sender:?}: {event}");
            ledger.fault("reads", details);
        }
    }
}

/// A request raises each count by what it stored: never by more, and by less only where a call for it went wrong.
pub(super) fn live_of_each_request(ledger: &Ledger, broken: &mut Broken) {
    for exchange in &ledger.exchanges {
        let (mut stored, mut said) = (Counts::new(), Counts::new());
        let mut acknowledged = exchange.acknowledged();
        for event in known(&exchange.origin) {
            count_event(ledger, event, &mut stored);
            // What was not stored by this request is a duplicate, and was counted by another.
            if let Some(at) = acknowledged.iter().position(|acknowledged| *acknowledged == event) {
                acknowledged.swap_remove(at);
                count_event(ledger, event, &mut said);
            }
        }
        let (mut all, mut told) = (Counts::new(), Counts::new());
        of_origin(&exchange.origin, false, &mut all);
        of_origin(&exchange.origin, true, &mut told);
        let get = |counts: &Counts, counter: &_| counts.get(counter).copied().unwrap_or_default();
        for (counter, by) in &all {
            if *by > get(&stored, counter) {
                let stored = get(&stored, counter);
                let name = &exchange.origin.who;
                broken
                    .push(("live counts", format!("{name} stored {stored} of {counter:?} and counted {by}")));
            }
        }
        for (counter, by) in said {
            let excused = exchange.origin.was_disturbed() && !told.contains_key(&counter);
            if get(&all, &counter) < by && !excused {
                let counted = get(&all, &counter);
                let name = &exchange.origin.who;
                broken.push((
                    "live counts",
                    format!("{name} acknowledged {by} of {counter:?}, counted {counted}"),
                ));
            }
        }
    }
}

/// The events of which a request learnt that they are stored: one for each line.
fn known(origin: &Origin) -> Vec<usize> {
    let appended = origin.appended.lock().unwrap();
    let lines: BTreeSet<&Vec<u8>> =
        appended.iter().filter(|taken| taken.told).flat_map(|taken| &taken.lines).collect();
    lines.into_iter().filter_map(|line| marked(&serde_json::from_slice(line).ok()?)).collect()
}

fn count_event(ledger: &Ledger, event: usize, counts: &mut Counts) {
    let sent = &ledger.events[event];
    match &sent.form {
        Form::Valid { event_type, key, .. } => {
            count(counts, (sent.username.clone(), (*event_type).to_owned(), None), 1);
            count(counts, (sent.username.clone(), (*event_type).to_owned(), Some(key.clone())), 1);
        }
        Form::Invalid => count(counts, (sent.username.clone(), "rejected".to_owned(), None), 1),
    }
}

/// Reads all counts as Weir reads them.
pub(super) async fn live_and_settled(world: &Arc<World>, weir: &Weir, lake: &Lake, broken: &mut Broken) {
    let origin = world.origin(crate::operations::Who::Check, false);
    let (live, settled) = origin.run(all(weir)).await.unwrap();
    let raised = raised(world, false);
    if live != raised {
        broken.push(("live counts", format!("(counter, read, raised): {:?}", different(&live, &raised))));
    }
    let mut filed = Settled::new();
    for (_, record) in lake.lines() {
        let (username, of) = (text(&record, "username").to_owned(), text(&record, "event_type").to_owned());
        let hour = Timestamp::saturating(event_time(&record)).hour().since_epoch();
        count(&mut filed, (username.clone(), of.clone(), Some(hour)), 1);
        count(&mut filed, (username, of, None), 1);
    }
    if settled != filed {
        let different = different(&settled, &filed);
        broken.push(("settled counts", format!("(counter, settled, in the lake): {different:?}")));
    }
}

/// What two counts say differently.
fn different<'a, K: Ord>(
    one: &'a BTreeMap<K, u64>,
    other: &'a BTreeMap<K, u64>,
) -> Vec<(&'a K, Option<&'a u64>, Option<&'a u64>)> {
    let counters: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
    let all = counters.into_iter().map(|counter| (counter, one.get(counter), other.get(counter)));
    all.filter(|(_, one, other)| one != other).collect()
}

/// Settled counts by user, type and hour; all hours without one.
type Settled = BTreeMap<(String, String, Option<u64>), u64>;

async fn all(weir: &Weir) -> (Counts, Settled) {
    let counts = weir.counts();
    let (mut live, mut settled) = (Counts::new(), Settled::new());
    for name in USERS {
        let username: Username = name.parse().unwrap();
        for (of, total) in LiveCounts::totals(&counts, &username).await.unwrap() {
            live.insert((name.to_owned(), of.to_string(), None), total);
        }
        for (of, ..) in TYPES {
            let everything = KeysRequest { after: None, limit: usize::MAX };
            for key in counts.keys(&username, &of.parse().unwrap(), &everything).await.unwrap() {
                live.insert((name.to_owned(), of.to_string(), Some(key.key.to_string())), key.count);
            }
        }
        for (of, total) in SettledCounts::totals(&counts, &username).await.unwrap().by_type {
            settled.insert((name.to_owned(), of.to_string(), None), total);
            settled.extend(hours(&counts, name, &username, &of).await);
        }
    }
    (live, settled)
}

async fn hours(counts: &impl SettledCounts, name: &str, username: &Username, of: &EventType) -> Settled {
    let [first, last] = [0, u64::MAX].map(|at| Timestamp::saturating(at).hour());
    let hours = counts.hours(username, of, first, last).await.unwrap();
    hours
        .into_iter()
        .map(|(hour, n)| ((name.to_owned(), of.to_string(), Some(hour.since_epoch())), n))
        .collect()
}
