//! Batched appends: each caller gets the outcomes of its own records, in their order.

use std::sync::Arc;

use crate::engine::{AWAY, DUPLICATE, Engine, HANGS, LATENCY, PANICS, in_time, record};
use tokio::{task::JoinHandle, time::Instant};
use weir_aws::{Batched, Batching, GATHERING};
use weir_core::{
    Record,
    ports::{Appended, PortError, Stream},
};

fn stream(engine: &Arc<Engine>) -> Arc<dyn Stream> {
    Batching::default().stream(engine.clone())
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn appending(stream: &Arc<dyn Stream>, records: Vec<Record>) -> JoinHandle<Vec<Appended>> {
    let stream = stream.clone();
    tokio::spawn(async move { stream.append(records).await })
}

/// The outcomes of an append, in letters: stored, duplicate, or refused and the id that the reason names.
fn told(outcomes: &[Appended]) -> Vec<String> {
    let text = |outcome: &Appended| match outcome {
        Appended::Counted | Appended::Stored => "s".to_owned(),
        Appended::Duplicate { .. } => "d".to_owned(),
        Appended::Refused(PortError::Unavailable { source, .. }) => source.to_string(),
        Appended::Refused(other) => panic!("{other}"),
    };
    outcomes.iter().map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_single_events_take_few_appends() {
    let (engine, batching) = (Engine::new(), Batching::default());
    let stream = batching.stream(engine.clone());
    let all: Vec<_> = (0..10_000)
        .map(|n| appending(&stream, vec![record("click", &format!("e-{n}"), 300, false)]))
        .collect();
    for appended in all {
        assert_eq!(told(&appended.await.unwrap()), ["s"]);
    }
    let appends = engine.appends.lock().unwrap();
    assert!(appends.len() <= 60, "{} appends", appends.len());
    let mut ids: Vec<&str> = appends.iter().flatten().map(|record| record.event_id().as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), appends.iter().map(Vec::len).sum()), (10_000, 10_000), "each is appended once");
    let calls = appends.len() as u64;
    assert_eq!(batching.take_stats().appends, Batched { requests: 10_000, calls });
}

#[tokio::test(start_paused = true)]
async fn each_caller_gets_the_outcomes_of_its_own_records_in_their_order() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let mut appends = Vec::new();
    for n in 0..50 {
        let types: Vec<&str> = match n % 5 {
            0 => vec!["click", AWAY],
            1 => vec!["click"],
            2 => vec![DUPLICATE, "click", AWAY],
            3 => vec![AWAY],
            _ => vec![AWAY, DUPLICATE, "click", "click"],
        };
        let id = |m: usize| format!("e-{n}-{m}");
        let records = types.iter().enumerate().map(|(m, of)| record(of, &id(m), 9, false)).collect();
        let expected: Vec<String> = types
            .iter()
            .enumerate()
            .map(|(m, of)| match *of {
                AWAY => id(m),
                DUPLICATE => "d".to_owned(),
                _ => "s".to_owned(),
            })
            .collect();
        appends.push((appending(&stream, records), expected));
    }
    for (appended, expected) in appends {
        assert_eq!(told(&appended.await.unwrap()), expected);
    }
    assert!(engine.appends.lock().unwrap().len() <= 3, "they were shared");
    assert!(stream.append(Vec::new()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_appends_alone_waits_for_nothing_but_the_engine() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let begun = Instant::now();
    stream.append(vec![record("click", "e", 9, false)]).await;
    assert_eq!(begun.elapsed(), LATENCY);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_hangs_holds_up_only_the_callers_in_it() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let hangs = appending(&stream, vec![record(HANGS, "h", 9, false)]);
    settle().await;
    let begun = Instant::now();
    in_time(stream.append(vec![record("click", "e", 9, false)])).await;
    assert_eq!(begun.elapsed(), GATHERING + LATENCY);
    assert!(!hangs.is_finished());
}

#[tokio::test(start_paused = true)]
async fn records_with_an_identity_keep_no_others_waiting() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let hangs = appending(&stream, vec![record(HANGS, "h", 9, true)]);
    let others: Vec<_> = (0..20)
        .map(|n| appending(&stream, vec![record("click", &format!("e-{n}"), 9, n % 2 == 0)]))
        .collect();
    for (n, other) in others.into_iter().enumerate() {
        // Records with an identity share the append that hangs.
        if n % 2 == 1 {
            assert_eq!(told(&in_time(other).await.unwrap()), ["s"]);
        }
    }
    for append in engine.appends.lock().unwrap().iter() {
        let with = append.iter().filter(|record| record.may_repeat()).count();
        assert!(with == 0 || with == append.len());
    }
    assert!(!hangs.is_finished());
}

#[tokio::test(start_paused = true)]
async fn large_appends_go_by_themselves_and_what_gathers_has_a_bound() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let first = appending(&stream, vec![record("click", "first", 9, false)]);
    settle().await;
    let large = appending(&stream, vec![record("click", "large", 128 * 1024, false)]);
    settle().await;
    assert_eq!(engine.appends.lock().unwrap().len(), 2, "it leaves at once");
    let mut all = vec![first, large];
    for n in 0..60 {
        all.push(appending(&stream, vec![record("click", &format!("b-{n}"), 100 * 1024, false)]));
    }
    for n in 0..300 {
        let records = (0..7).map(|m| record("click", &format!("r-{n}-{m}"), 9, false)).collect();
        all.push(appending(&stream, records));
        let records = (0..7).map(|m| record("click", &format!("i-{n}-{m}"), 9, true)).collect();
        all.push(appending(&stream, records));
    }
    for appended in all {
        assert!(appended.await.unwrap().iter().all(Appended::is_durable));
    }
    let appends = engine.appends.lock().unwrap();
    let (mut most_records, mut most_bytes, mut most_with_identity) = (0, 0, 0);
    for append in appends.iter() {
        if append[0].may_repeat() {
            most_with_identity = most_with_identity.max(append.len());
        }
        most_records = most_records.max(append.len());
        most_bytes = most_bytes.max(append.iter().map(|record| record.line().len()).sum());
    }
    assert!(most_with_identity <= 64 && most_records <= 500 && most_bytes <= 2 << 20);
    assert!(most_with_identity > 7 && most_records > 64 && most_bytes > 1 << 20, "they gather at all");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_no_append() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let under_way = appending(&stream, vec![record("click", "first", 9, false)]);
    settle().await;
    let gathers = appending(&stream, vec![record("click", "gathers", 9, false)]);
    let stays = appending(&stream, vec![record("click", "stays", 9, false)]);
    settle().await;
    under_way.abort();
    gathers.abort();
    assert_eq!(told(&stays.await.unwrap()), ["s"]);
    let ids: Vec<String> =
        engine.appends.lock().unwrap().iter().flatten().map(|record| record.event_id().to_string()).collect();
    assert_eq!(ids, ["first", "gathers", "stays"]);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_panics_is_refused_and_the_next_one_works() {
    let engine = Engine::new();
    let stream = stream(&engine);
    let together = [
        appending(&stream, vec![record(PANICS, "p", 9, false)]),
        appending(&stream, vec![record("click", "e", 9, false)]),
    ];
    for appended in together {
        assert!(matches!(appended.await.unwrap()[..], [Appended::Refused(PortError::Unavailable { .. })]));
    }
    assert_eq!(told(&stream.append(vec![record("click", "e", 9, false)]).await), ["s"]);
}
