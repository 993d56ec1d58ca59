//! Receipts: at a moment of a run, each event that is known has the right one, and no event has that of another user or one that
//! says too much.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::{Arc, LazyLock},
};

use serde_json::Value;
use weir_core::{
    EventId, Username,
    receipt::{Receipt, ReceiptStatus},
};

use super::{Broken, Lake, text};
use crate::{ledger::Ledger, operations::Who, operator::USERS, weir::Weir, world::World};

const CHECK: &str = "receipts";

/// The number of receipts that are checked at a moment, except for one moment in [`ALL_IN`], at which all are. The chosen
/// ones differ from run to run.
const SOME: usize = 24;
const ALL_IN: u64 = 4;

/// A user and an event's id.
type Id = (String, String);

/// Where an event is in the lake, as what, and since when.
type Places = BTreeMap<Id, Vec<(String, Value)>>;

/// The lake at some moment, and how many lines were delivered with each id. There are several if an event has a repeat, or
/// if a client gave an id that Weir had made to another event.
struct Seen {
    version: (u64, usize),
    places: Places,
    delivered: BTreeMap<Id, usize>,
}

impl Seen {
    fn of(world: &World) -> Rc<Self> {
        let version = Self::version(world);
        let id = |record: &Value| (text(record, "username").to_owned(), text(record, "event_id").to_owned());
        let mut places = Places::new();
        for (path, record) in Lake::of(world).lines() {
            places.entry(id(&record)).or_default().push((path.to_owned(), record));
        }
        let mut delivered = BTreeMap::new();
        for line in world.stream.lock().unwrap().batches.values().flatten() {
            let record: Value = serde_json::from_slice(line).unwrap_or_default();
            *delivered.entry(id(&record)).or_default() += 1;
        }
        Rc::new(Self { version, places, delivered })
    }

    fn version(world: &World) -> (u64, usize) {
        (world.objects.lock().unwrap().version, world.stream.lock().unwrap().batches.len())
    }

    /// Returns the current state. Returns this one if nothing has changed.
    fn now(self: &Rc<Self>, world: &World) -> Rc<Self> {
        if self.version == Self::version(world) { Rc::clone(self) } else { Self::of(world) }
    }
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

/// Whether all receipts are checked at each moment.
static ASKS_FOR_ALL: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("WEIR_SIM_RECEIPTS").is_some_and(|which| which == "all"));

/// Chooses the events whose receipts are checked: returns the first one, and the distance from one to the next.
fn chosen(world: &World, events: usize) -> (usize, usize) {
    let dice = world.clock.millis();
    if *ASKS_FOR_ALL || dice.is_multiple_of(ALL_IN) {
        return (0, 1);
    }
    let step = events / SOME + 1;
    (usize::try_from(dice).unwrap() % step, step)
}

/// Checks the receipts of some or all events: those to which clients gave these ids, and those in the lake.
pub(crate) async fn right(world: &Arc<World>, weir: &Weir, sent: &BTreeSet<Id>, broken: &mut Broken) {
    let remembered = remembered(world);
    let mut seen = Seen::of(world);
    let all: BTreeSet<Id> = seen.places.keys().chain(sent).cloned().collect();
    let origin = world.origin(Who::Check, false);
    let (first, step) = chosen(world, all.len());
    for (user, id) in all.iter().skip(first).step_by(step) {
        let (Ok(event_id), Ok(username)) = (id.parse::<EventId>(), user.parse::<Username>()) else {
            continue;
        };
        let of = |username: Username| {
            let (receipts, event_id) = (weir.receipts(), event_id.clone());
            async move { receipts.receipt(&username, &event_id, &[]).await }
        };
        let before = seen.now(world);
        let asked = origin.run(of(username)).await.unwrap();
        let after = before.now(world);
        seen = Rc::clone(&after);
        let key = (user.clone(), id.clone());
        // A client's id may be of any form; the time in one that Weir made is that of the event.
        let made =
            |record: &Value| event_id.generated_at().is_some_and(|at| record["received_at"] == at.millis());
        let must = remembered.contains(&key)
            || before.places.get(&key).is_some_and(|found| found.iter().any(|(_, record)| made(record)));
        match asked {
            Err(error) => broken.push((CHECK, format!("that of {user}/{id} cannot be read: {error}"))),
            Ok(None) if must => broken.push((CHECK, format!("{user}/{id} is unknown"))),
            Ok(None) => {}
            Ok(Some(receipt)) => {
                let was_filed = before.places.contains_key(&key) && after.delivered.get(&key) == Some(&1);
                if let Err(why) = one(&receipt, id, was_filed, after.places.get(&key)) {
                    broken.push((CHECK, format!("{user}/{id}: {why}: {receipt:?}")));
                }
            }
        }
        let other = USERS.iter().find(|other| {
            **other != user.as_str() && {
                let key = ((**other).to_owned(), id.clone());
                !after.places.contains_key(&key) && !remembered.contains(&key)
            }
        });
        if let Some(other) = other
            && let Ok(Some(receipt)) = origin.run(of(other.parse().unwrap())).await.unwrap()
            && !seen.now(world).places.contains_key(&((*other).to_owned(), id.clone()))
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
