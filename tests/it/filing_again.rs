//! Filing is repeatable: doing it again, for every batch, changes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::harness::{Value, Weir, json};
use fan_out::FanOut;
use weir_core::{
    SystemClock,
    counts::SettledTotals,
    ports::{RawObjects, Settled, SettledCounts},
};
use weir_embedded::{Embedded, Flush};

fn bytes_of(weir: &Weir, below: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| {
        let bytes = std::fs::read(weir.data().join(below).join(&name)).unwrap();
        (name, bytes)
    };
    weir.files(below).into_iter().map(read).collect()
}

#[test]
fn filing_every_batch_again_leaves_the_lake_byte_for_byte_and_the_settled_counts() {
    let mut weir = Weir::start_with(&["--flush-every", "20ms"]);
    let ann = weir.user("ann");
    for n in 0..30 {
        let event = |m: usize| json!({"event_type": "page_view", "url": format!("u{m}"), "session_id": "s", "n": n * m});
        let events: Value = (0..=n).map(event).collect();
        let who = if n % 3 == 0 { &ann } else { &weir.credentials };
        assert_eq!(weir.post_as(who, "/events", format!("{events}"), &[]).status, 200);
        assert_eq!(weir.post_as(who, "/button/click", "{}", &[]).status, 422);
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
    let (lake, quarantine) = (bytes_of(&weir, "lake"), bytes_of(&weir, "quarantine"));
    assert!(lake.len() > 4, "{lake:?}");
    assert!(quarantine.is_empty(), "{quarantine:?}");

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        let (engine, _deliveries) = Embedded::open(&weir.data(), flush, Arc::new(SystemClock)).unwrap();
        let (raw, lake_folder, quarantine_folder) = engine.folders();
        let fan_out = FanOut::new(
            Arc::new(raw.clone()),
            Arc::new(lake_folder),
            Arc::new(quarantine_folder),
            Arc::new(engine.clone()),
        );
        let user = "demo".parse().unwrap();
        let settled = engine.settled_totals(&user).await;
        let batches = raw.list(None, 10_000).await.unwrap();
        assert!(batches.len() > 1);
        for batch in batches.iter().rev().chain(&batches) {
            assert_eq!(fan_out.file(batch).await.unwrap().settled, Some(Settled::Before));
        }
        assert_eq!(engine.settled_totals(&user).await, settled);
        assert_eq!(
            settled.by_type.values().sum::<u64>(),
            (0..30).filter(|n| n % 3 != 0).map(|n| n + 2).sum::<u64>()
        );
    });
    assert_eq!(bytes_of(&weir, "lake"), lake);
    assert_eq!(bytes_of(&weir, "quarantine"), quarantine);
}

/// Names apart the two ports that have `totals`.
trait OfSettled {
    async fn settled_totals(&self, user: &weir_core::Username) -> SettledTotals;
}

impl OfSettled for Embedded {
    async fn settled_totals(&self, user: &weir_core::Username) -> SettledTotals {
        SettledCounts::totals(self, user).await.unwrap()
    }
}
