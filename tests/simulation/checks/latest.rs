//! Latest values: no acknowledged event is newer than its resource's, and each is an event that was stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use weir_core::{
    Username,
    latest::LatestValue,
    ports::{PortError, ReadLatest},
};

use super::{Broken, Lake, stored::event_time, text};
use crate::{
    events::LATEST_TYPE,
    ledger::{Exchange, Form, Ledger, Said, marked},
    operator::USERS,
    weir::Weir,
    world::World,
};

const CHECK: &str = "latest values";

/// A user and a key.
type Resource = (String, String);

/// An event's time and id, worked out from what is stored.
type Version = (u64, String);

fn version(record: &Value) -> Version {
    (event_time(record), text(record, "event_id").to_owned())
}

/// Checks all latest values of a run that has come to rest.
pub(super) async fn none_is_stale(
    world: &Arc<World>,
    weir: &Weir,
    ledger: &Ledger,
    lake: &Lake,
    broken: &mut Broken,
) {
    let origin = world.origin(crate::operations::Who::Check, false);
    let values = match origin.run(all(weir)).await.unwrap() {
        Ok(values) => values,
        Err(error) => return broken.push((CHECK, format!("they cannot be read: {error}"))),
    };
    let mut stored: BTreeMap<usize, Vec<Version>> = BTreeMap::new();
    for (_, record) in lake.lines().filter(|(_, record)| record["event_type"] == LATEST_TYPE) {
        if let Some(event) = marked(&record) {
            stored.entry(event).or_default().push(version(&record));
        }
    }
    // An event that could not be marked as stored may be stored again. If one batch has both, the lake has one of them, and
    // the latest value may be the other.
    let delivered: BTreeSet<Vec<u8>> =
        world.stream.lock().unwrap().batches.values().flatten().cloned().collect();
    for (resource, value) in &values {
        let record: Value = serde_json::from_slice(value.event()).unwrap();
        let line = [value.event(), &b"\n"[..]].concat();
        let is_delivered = delivered.contains(&line) || delivered.contains(&line[..line.len() - 1]);
        if !is_delivered || record["model"] != resource.1.as_str() {
            broken.push((CHECK, format!("{resource:?} has a value that is not stored: {record}")));
        }
    }
    let kept = |resource: &Resource| {
        let value = values.get(resource)?;
        Some(version(&serde_json::from_slice(value.event()).unwrap()))
    };
    for exchange in &ledger.exchanges {
        for (event, said) in exchange.events.iter().zip(&exchange.said) {
            let sent = &ledger.events[*event];
            let Form::Valid { event_type: LATEST_TYPE, key, .. } = &sent.form else { continue };
            // What a duplicate is a duplicate of may be any of those that are stored.
            let acknowledged = match said {
                Said::Stored => of_exchange(exchange, *event).min(),
                Said::Duplicate => stored.get(event).and_then(|versions| versions.iter().min()).cloned(),
                _ => continue,
            };
            let kept = kept(&(sent.username.clone(), key.clone()));
            if acknowledged > kept {
                let who = &exchange.origin.who;
                let details =
                    format!("{who} was told {said:?} of e{event}, {acknowledged:?}; {key:?} has {kept:?}");
                broken.push((CHECK, details));
            }
        }
    }
}

/// The versions in which a request stored an event.
fn of_exchange(exchange: &Exchange, event: usize) -> impl Iterator<Item = Version> {
    let taken = exchange.origin.appended.lock().unwrap().clone();
    let records = taken.into_iter().flat_map(|taken| taken.lines).filter_map(move |line| {
        let record: Value = serde_json::from_slice(&line).ok()?;
        (marked(&record) == Some(event)).then_some(record)
    });
    records.map(|record| version(&record))
}

async fn all(weir: &Weir) -> Result<BTreeMap<Resource, LatestValue>, PortError> {
    let latest = weir.latest();
    let mut values = BTreeMap::new();
    for name in USERS {
        let username: Username = name.parse().unwrap();
        let found = latest.list(&username, &LATEST_TYPE.parse().unwrap(), None, 1000).await?;
        values.extend(found.into_iter().map(|value| {
            let resource = (name.to_owned(), value.resource.key.to_string());
            (resource, value)
        }));
    }
    Ok(values)
}
