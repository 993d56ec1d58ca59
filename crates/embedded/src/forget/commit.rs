//! The transaction that decides: from here on the events are gone from the store, and files of them are only left.

use rusqlite::{Connection, TransactionBehavior, params};
use weir_core::{
    CountedValue, EventType, LatestKey,
    forgotten::{ForgetRequest, Which},
    latest::Resource,
};

use super::{Amounts, plan::Plan};
use crate::{dedup::recent, latest};

pub(super) fn commit(db: &mut Connection, request: &ForgetRequest, plan: &Plan) -> rusqlite::Result<Amounts> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut amounts = Amounts::default();
    let mut add = db.prepare("INSERT OR IGNORE INTO tombstones VALUES (?1)")?;
    for tombstone in &plan.tombstones {
        add.execute([tombstone])?;
    }
    drop(add);
    amounts.ids = recent::remove(&db, &plan.ids)?;
    amounts.latest = replace_latest(&db, plan)?;
    for id in &plan.rejected {
        amounts.rejected += db.execute("DELETE FROM recent_rejected WHERE id = ?1", [id])? as u64;
    }
    lower_counts(&db, request, plan)?;
    amounts.events = plan.events_by_type();
    remove_keys(&db, request, plan)?;
    for (event_type, count) in &amounts.events {
        db.execute(
            "INSERT INTO forgotten_counts VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
            params![request.username.as_str(), event_type.as_str(), count],
        )?;
    }
    db.execute("INSERT OR REPLACE INTO forgetting VALUES (1, ?1, 0)", [request.username.as_str()])?;
    for (day, as_json) in &plan.days {
        db.execute("INSERT INTO forgetting_days VALUES (?1, ?2)", params![day.to_string(), as_json])?;
    }
    db.commit()?;
    Ok(amounts)
}

/// Removes latest values. The newest event that is left takes the place of each.
fn replace_latest(db: &Connection, plan: &Plan) -> rusqlite::Result<u64> {
    let mut delete =
        db.prepare("DELETE FROM latest_values WHERE username = ?1 AND event_type = ?2 AND key = ?3")?;
    let mut deleted = 0;
    for Resource { username, event_type, key } in &plan.latest {
        deleted += delete.execute([username.as_str(), event_type.as_str(), LatestKey::as_str(key)])? as u64;
    }
    let left: Vec<_> = plan.newest.iter().collect();
    latest::raise(db, &left)?;
    Ok(deleted)
}

/// Lowers the counts by the events that leave the lake. A bot's event counts once more as a bot's.
fn lower_counts(db: &Connection, request: &ForgetRequest, plan: &Plan) -> rusqlite::Result<()> {
    let user = request.username.as_str();
    let mut by_type = std::collections::BTreeMap::<EventType, u64>::new();
    for (partition, count) in &plan.events {
        *by_type.entry(partition.event_type.clone()).or_default() += count;
        let whose = params![user, partition.event_type.as_str(), partition.hour.since_epoch(), count];
        db.execute(
            "UPDATE settled_hours SET count = max(count - ?4, 0) WHERE username = ?1 AND event_type = ?2 AND hour = ?3",
            whose,
        )?;
    }
    for (event_type, count) in &by_type {
        for table in ["settled_totals", "live_totals"] {
            db.execute(
                &format!(
                    "UPDATE {table} SET count = max(count - ?3, 0) WHERE username = ?1 AND event_type = ?2"
                ),
                params![user, event_type.as_str(), count],
            )?;
        }
    }
    for ((event_type, field, key), count) in &plan.keys {
        let is_current = plan.counted_by.get(event_type) == Some(field);
        if is_current {
            db.execute(
                "UPDATE live_keys SET count = max(count - ?4, 0)
                 WHERE username = ?1 AND event_type = ?2 AND key = ?3",
                params![user, event_type.as_str(), key.as_str(), count],
            )?;
        }
        db.execute(
            "UPDATE earlier_keys SET count = max(count - ?5, 0)
             WHERE username = ?1 AND event_type = ?2 AND field = ?3 AND key = ?4",
            params![user, event_type.as_str(), field, key.as_str(), count],
        )?;
    }
    for table in ["settled_hours", "settled_totals", "live_totals", "live_keys", "earlier_keys"] {
        db.execute(&format!("DELETE FROM {table} WHERE username = ?1 AND count = 0"), [user])?;
    }
    Ok(())
}

/// Removes the counts that name a forgotten value, whatever they are: no event with it is left.
fn remove_keys(db: &Connection, request: &ForgetRequest, plan: &Plan) -> rusqlite::Result<()> {
    let user = request.username.as_str();
    match &request.which {
        Which::All => {
            let of_type = request.event_type.as_ref().map(EventType::as_str);
            for table in ["settled_hours", "settled_totals", "live_totals", "live_keys", "earlier_keys"] {
                // Rejected events of a type are among those of all types, and are lowered one by one.
                db.execute(
                    &format!("DELETE FROM {table} WHERE username = ?1 AND (?2 IS NULL OR event_type = ?2)"),
                    params![user, of_type],
                )?;
            }
        }
        Which::Where { field, values } => {
            let keys = values.iter().map(|value| CountedValue::of(value));
            for key in keys {
                for (event_type, counted_by) in &plan.counted_by {
                    if counted_by == field && request.is_of_type(event_type) {
                        db.execute(
                            "DELETE FROM live_keys WHERE username = ?1 AND event_type = ?2 AND key = ?3",
                            [user, event_type.as_str(), key.as_str()],
                        )?;
                    }
                }
                let of_type = request.event_type.as_ref().map(EventType::as_str);
                db.execute(
                    "DELETE FROM earlier_keys
                     WHERE username = ?1 AND field = ?2 AND key = ?3 AND (?4 IS NULL OR event_type = ?4)",
                    params![user, field, key.as_str(), of_type],
                )?;
            }
        }
    }
    Ok(())
}
