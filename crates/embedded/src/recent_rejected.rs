//! [`RecentRejected`]: the latest rejected events of each user, noted in the transaction that stores them. So the list agrees
//! with what was acknowledged, even after a crash.
//!
//! Requests without rejected events do nothing here; of a request with any number of them, the newest are written. Those that
//! are too old are deleted in the same transaction.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use weir_core::{
    Record, Username,
    ports::{PortError, RecentRejected},
    rejected::{MAX_SHOWN, RejectedEvent},
};

use crate::{
    engine::Embedded,
    journal::rejected::{self, RejectedRow},
};

#[async_trait]
impl RecentRejected for Embedded {
    async fn note(&self, records: &[Record]) -> Result<(), PortError> {
        let rows = RejectedRow::of(records);
        if rows.is_empty() {
            return Ok(());
        }
        self.inner.journal.work("noting rejected events", move |db| rejected::store(db, &rows)).await
    }

    async fn latest(&self, username: &Username, limit: usize) -> Result<Vec<RejectedEvent>, PortError> {
        let username = username.clone();
        let query = move |db: &Connection| {
            db.prepare_cached(
                "SELECT event FROM recent_rejected WHERE username = ?1 ORDER BY id DESC LIMIT ?2",
            )?
            .query_map(params![username.as_str(), limit.min(MAX_SHOWN)], |row| {
                serde_json::from_str(row.get_ref(0)?.as_str()?).map_err(|error| {
                    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
                })
            })?
            .collect()
        };
        self.inner.readers.read("reading rejected events", query).await
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use weir_core::{Stamp, SystemClock, Timestamp, ports::Stream};

    use super::*;
    use crate::{Flush, OpenError};

    fn record(user: &str, n: u64) -> Record {
        let stamp = Stamp {
            username: user.parse().unwrap(),
            event_id: format!("e-{n}").parse().unwrap(),
            received_at: Timestamp::saturating(n),
        };
        Record::rejected(n.to_string().as_bytes(), None, &[], stamp)
    }

    fn open(folder: &std::path::Path) -> Embedded {
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        Embedded::open(folder, flush, Arc::new(SystemClock)).unwrap().0
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn however_many_rejected_events_a_request_has_fifty_rows_are_written_and_fifty_stay() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let rows = async || {
            let count = |db: &Connection| {
                db.query_row("SELECT count(*), coalesce(max(id), 0) FROM recent_rejected", [], |row| {
                    Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
                })
            };
            engine.inner.readers.read("counting", count).await.unwrap()
        };
        let accepted = weir_core::conformance::dedup::event(&"ann".parse().unwrap(), "e", "");
        engine.append(vec![accepted]).await;
        assert_eq!(rows().await, (0, 0), "a request without rejected events writes nothing");
        let both = (0..10_000).map(|n| record("ann", n)).chain((0..60).map(|n| record("bob", n)));
        engine.append(both.collect()).await;
        assert_eq!(rows().await, (100, 100));
        engine.append(vec![record("ann", 10_000)]).await;
        assert_eq!(rows().await, (100, 101));
        let ann = engine.latest(&"ann".parse().unwrap(), 99).await.unwrap();
        let ids: Vec<&str> = ann.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!((ids.len(), ids[0], ids[49]), (50, "e-10000", "e-9951"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_not_stored_is_not_noted_and_what_was_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        engine.append(vec![record("ann", 1)]).await;
        engine.stop().await.unwrap();
        assert!(!engine.append(vec![record("ann", 2)]).await[0].is_durable());
        drop(engine);
        let reopened = loop {
            let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
            // The threads of the engine before hold the folder until they end.
            match Embedded::open(folder.path(), flush, Arc::new(SystemClock)) {
                Ok((engine, _deliveries)) => break engine,
                Err(OpenError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        };
        let ann = reopened.latest(&"ann".parse().unwrap(), 50).await.unwrap();
        assert_eq!(ann.iter().map(|event| event.event.as_str()).collect::<Vec<_>>(), ["1"]);
    }
}
