//! Receipts: at a moment of a run, each event that is known has the right one, and no event has that of another user or one that
//! says too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;
use weir_core::{
    EventId, Username,
    receipt::{Receipt, ReceiptStatus},
};

use super::{Broken, Lake, text};
use crate::{ledger::Ledger, operations::Who, operator::USERS, weir::Weir, world::World};

const CHECK: &str = "receipts";

/// The most events that are asked for at a moment.
const MOST: usize = 24;

/// A user and an event's id.
type Id = (String, String);

/// Where an event is in the lake, as what, and since when.
type Places = BTreeMap<Id, Vec<(String, Value)>>;

fn places(world: &World) -> Places {
    let mut places = Places::new();
    for (path, record) in Lake::of(world).lines() {
        let id = (text(&record, "username").to_owned(), text(&record, "event_id").to_owned());
        places.entry(id).or_default().push((path.to_owned(), record));
    }
    places
}

/// The ids of clients' events that are marked as stored.
fn remembered(world: &World) -> BTreeSet<Id> {
    let tables = world.tables.lock().unwrap();
    let stored = tables.items("recent").filter(|item| item["state"]["S"] == "stored");
    let ids = stored.filter_map(|item| {
        let (user, id) = item["id"]["S"].as_str()?.split_once('/')?;
        Some((user.to_owned(), id.to_owned()))
    });
    ids.collect()
}

/// The ids that clients gave events so far.
pub(crate) fn sent_ids(ledger: &Ledger) -> BTreeSet<Id> {
    let ids = ledger.exchanges.iter().flat_map(|exchange| ledger.ids(exchange));
    ids.filter_map(|id| id.split_once('/').map(|(user, id)| (user.to_owned(), id.to_owned()))).collect()
}

/// How many lines were delivered with an id: a repeat, or another event to which a client gave an id that Weir had made.
fn deliveries(world: &World, (user, id): &Id) -> usize {
    let is_it = |line: &Vec<u8>| {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        record["event_id"] == id.as_str() && record["username"] == user.as_str()
    };
    world.stream.lock().unwrap().batches.values().flatten().filter(|line| is_it(line)).count()
}

/// Checks the receipts of some events, of all to which clients gave these ids, and of all that are in the lake.
pub(crate) async fn right(world: &Arc<World>, weir: &Weir, sent: &BTreeSet<Id>, broken: &mut Broken) {
    let remembered = remembered(world);
    let before = places(world);
    let all: Vec<Id> = before.keys().chain(sent).cloned().collect();
    let origin = world.origin(Who::Check, false);
    for (user, id) in all.iter().step_by(all.len() / MOST + 1) {
        let (Ok(event_id), Ok(username)) = (id.parse::<EventId>(), user.parse::<Username>()) else {
            continue;
        };
        let of = |username: Username| {
            let (receipts, event_id) = (weir.receipts(), event_id.clone());
            async move { receipts.receipt(&username, &event_id, &[]).await }
        };
        let asked = origin.run(of(username)).await.unwrap();
        let after = places(world);
        let key = (user.clone(), id.clone());
        // A client's id may be of any form; the time in one that Weir made is that of the event.
        let made =
            |record: &Value| event_id.generated_at().is_some_and(|at| record["received_at"] == at.millis());
        let must = remembered.contains(&key)
            || before.get(&key).is_some_and(|found| found.iter().any(|(_, record)| made(record)));
        match asked {
            Err(error) => broken.push((CHECK, format!("that of {user}/{id} cannot be read: {error}"))),
            Ok(None) if must => broken.push((CHECK, format!("{user}/{id} is unknown"))),
            Ok(None) => {}
            Ok(Some(receipt)) => {
                let was_filed = before.contains_key(&key) && deliveries(world, &key) == 1;
                if let Err(why) = one(&receipt, id, was_filed, after.get(&key)) {
                    broken.push((CHECK, format!("{user}/{id}: {why}: {receipt:?}")));
                }
            }
        }
        let other = USERS.iter().find(|other| {
            **other != user.as_str() && {
                let key = ((**other).to_owned(), id.clone());
                !after.contains_key(&key) && !remembered.contains(&key)
            }
        });
        if let Some(other) = other
            && let Ok(Some(receipt)) = origin.run(of(other.parse().unwrap())).await.unwrap()
            && !places(world).contains_key(&((*other).to_owned(), id.clone()))
        {
            broken.push((CHECK, format!("{other} has the receipt of {user}/{id}: {receipt:?}")));
        }
    }
}

fn one(
    receipt: &Receipt,
    id: &str,
    was_filed: bool,
    after: Option<&Vec<(String, Value)>>,
) -> Result<(), &'static str> {
    if receipt.event_id.as_str() != id {
        return Err("it is of another event");
    }
    let is_rejected = receipt.status == ReceiptStatus::Rejected;
    if is_rejected != receipt.reason.is_some() {
        return Err("a rejected event has a reason, and no other");
    }
    match (&receipt.object, receipt.status) {
        (None, ReceiptStatus::Filed) => return Err("it is filed nowhere"),
        (Some(_), ReceiptStatus::Stored) => return Err("it is filed and not filed"),
        _ => {}
    }
    let Some(object) = &receipt.object else {
        return if was_filed { Err("it was in the lake") } else { Ok(()) };
    };
    let received_at = receipt.received_at.ok_or("it came at no time")?.millis();
    let is_there = |(path, record): &&(String, Value)| path == object && record["received_at"] == received_at;
    let found = after.and_then(|found| found.iter().find(is_there)).ok_or("it is not in that object")?;
    if is_rejected != (found.1["event_type"] == "rejected") {
        return Err("rejected or not, the lake says otherwise");
    }
    let event_type = found.1[if is_rejected { "claimed_type" } else { "event_type" }].as_str();
    if receipt.event_type.as_ref().map(weir_core::EventType::as_str) != event_type {
        return Err("its type is another");
    }
    Ok(())
}
