//! Shared reads: few queries, and no caller is worse off for them.

use std::{sync::Arc, time::Duration};

use crate::engine::{AWAY, BROKEN, Engine, HANGS, LATENCY, PANICS, counter, in_time};
use tokio::{task::JoinSet, time::Instant};
use weir_aws::{Batched, Batching, GATHERING};
use weir_core::{
    Counter, Hour, Increment,
    counts::{KeyCount, KeysRequest},
    ports::{LiveCounts, PortError},
};

fn live(engine: &Arc<Engine>) -> Arc<dyn LiveCounts> {
    Batching::default().live_counts(engine.clone())
}

/// Runs all tasks that can go on without waiting.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn read(counts: &Arc<dyn LiveCounts>, counter: Counter) -> Result<u64, PortError> {
    counts.read(&[counter]).await.map(|counts| counts[0])
}

fn reading(
    counts: &Arc<dyn LiveCounts>,
    counter: Counter,
) -> tokio::task::JoinHandle<Result<u64, PortError>> {
    let counts = counts.clone();
    tokio::spawn(async move { read(&counts, counter).await })
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_reads_of_twenty_counters_take_at_most_sixty_queries() {
    let (engine, batching) = (Engine::new(), Batching::default());
    let counts = batching.live_counts(engine.clone());
    let counters: Vec<Counter> =
        (0..20).map(|n| counter("ann", "click", Some(&format!("button-{n}")))).collect();
    for (by, counter) in (1..).zip(&counters) {
        counts.raise(&[Increment { counter: counter.clone(), by }]).await.unwrap();
    }
    let mut readers = JoinSet::new();
    for n in 0..10_000_usize {
        let (counts, counter) = (counts.clone(), counters[n % 20].clone());
        readers.spawn(async move { (n, read(&counts, counter).await) });
    }
    while let Some(answered) = readers.join_next().await {
        let (n, count) = answered.unwrap();
        assert_eq!(count.unwrap(), n as u64 % 20 + 1, "each reader gets its own count");
    }
    let queries = engine.reads.lock().unwrap().len();
    assert!((1..=60).contains(&queries), "{queries} queries");
    let calls = u64::try_from(queries).unwrap();
    assert_eq!(batching.take_stats().reads, Batched { requests: 10_000, calls });
    assert_eq!(batching.take_stats().reads, Batched::default(), "what was taken is not told again");
}

#[tokio::test(start_paused = true)]
async fn who_asks_alone_waits_for_nothing_but_the_engine() {
    let engine = Engine::new();
    let counts = live(&engine);
    for _ in 0..3 {
        let begun = Instant::now();
        read(&counts, counter("ann", "click", None)).await.unwrap();
        assert_eq!(begun.elapsed(), LATENCY);
    }
    assert_eq!(engine.reads.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_reader_gets_what_a_query_saw_that_left_before_they_asked() {
    let engine = Engine::new();
    let (counts, clicks) = (live(&engine), counter("ann", "click", None));
    let before = reading(&counts, clicks.clone());
    settle().await;
    assert_eq!(engine.reads.lock().unwrap().len(), 1, "it is under way");
    engine.set(&clicks, 7);
    let after = reading(&counts, clicks.clone());
    assert_eq!((before.await.unwrap().unwrap(), after.await.unwrap().unwrap()), (0, 7));

    // The same while others gather.
    let first = reading(&counts, clicks.clone());
    settle().await;
    let gathering = reading(&counts, clicks.clone());
    tokio::time::sleep(GATHERING * 2).await;
    assert_eq!(engine.reads.lock().unwrap().len(), 4, "two are under way");
    engine.set(&clicks, 8);
    assert_eq!(read(&counts, clicks).await.unwrap(), 8);
    assert_eq!((first.await.unwrap().unwrap(), gathering.await.unwrap().unwrap()), (7, 7));

    // The same for equal requests.
    let totals = async |after| {
        tokio::time::sleep(after).await;
        counts.totals(&"ann".parse().unwrap()).await.unwrap()
    };
    tokio::join!(totals(Duration::ZERO), totals(LATENCY / 10), totals(LATENCY / 9), totals(LATENCY / 2));
    assert_eq!(engine.others.lock().unwrap().len(), 3, "one that left at once, one for two, and the last");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_hangs_holds_up_who_comes_then_for_milliseconds_only() {
    let engine = Engine::new();
    let counts = live(&engine);
    let hangs = reading(&counts, counter("ann", HANGS, None));
    settle().await;
    for _ in 0..3 {
        let begun = Instant::now();
        in_time(read(&counts, counter("ann", "click", None))).await.unwrap();
        assert_eq!(begun.elapsed(), GATHERING + LATENCY);
    }
    assert!(!hangs.is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_gathers_leaves_once_the_query_before_is_back() {
    let engine = Engine::new();
    let counts = Batching::default().gathering_for(Duration::from_hours(1)).live_counts(engine.clone());
    let begun = Instant::now();
    let first = reading(&counts, counter("ann", "click", None));
    settle().await;
    let others: Vec<_> =
        (0..5).map(|n| reading(&counts, counter("ann", "click", Some(&n.to_string())))).collect();
    for other in others {
        other.await.unwrap().unwrap();
    }
    first.await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), 2 * LATENCY);
    let sizes: Vec<usize> = engine.reads.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_query_has_each_counter_once_and_a_hundred_at_the_most() {
    let engine = Engine::new();
    let counts = live(&engine);
    let all: Vec<Counter> = (0..250).map(|n| counter("ann", "click", Some(&n.to_string()))).collect();
    for (n, counter) in (0..).zip(&all) {
        engine.raise(&[Increment { counter: counter.clone(), by: n }]).await.unwrap();
    }
    let mut readers = JoinSet::new();
    for n in 0..1000_usize {
        let (counts, all) = (counts.clone(), all.clone());
        readers.spawn(async move {
            // Several counters at a time, one of them twice.
            let asked: Vec<usize> = [n, n * 7, n + 1, n].iter().map(|n| n % 250).collect();
            let counters: Vec<Counter> = asked.iter().map(|n| all[*n].clone()).collect();
            let expected: Vec<u64> = asked.iter().map(|n| *n as u64).collect();
            assert_eq!(counts.read(&counters).await.unwrap(), expected);
        });
    }
    readers.join_all().await;
    for query in engine.reads.lock().unwrap().iter() {
        let mut once = query.clone();
        once.sort();
        once.dedup();
        assert_eq!((once.len(), query.len() <= 100), (query.len(), true));
    }
    // A caller that asks for more than a query holds gets all counts.
    let expected: Vec<u64> = (0..250).collect();
    assert_eq!(counts.read(&all).await.unwrap(), expected);
    assert!(counts.read(&[]).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_caller_gives_up_after_its_time_and_the_query_goes_on_for_the_others() {
    let engine = Engine::new();
    let limit = LATENCY + LATENCY / 2;
    let counts = Batching::default()
        .gathering_for(Duration::from_hours(1))
        .reading_within(limit)
        .live_counts(engine.clone());
    let _first = reading(&counts, counter("ann", "click", None));
    settle().await;
    let (begun, shared) = (Instant::now(), counter("ann", "click", Some("shared")));
    // This caller waits for the first query and then for its own, longer than its limit; the caller that joins that
    // query just before it leaves does not.
    let early = reading(&counts, shared.clone());
    tokio::time::sleep(LATENCY * 19 / 20).await;
    let late = reading(&counts, shared);
    let error = early.await.unwrap().unwrap_err();
    assert!(matches!(error, PortError::Unavailable { .. }), "{error}");
    assert_eq!(begun.elapsed(), limit);
    assert_eq!(late.await.unwrap().unwrap(), 0);
    assert_eq!(engine.reads.lock().unwrap().len(), 2, "both were in one query");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_ends_no_query_for_the_others() {
    let engine = Engine::new();
    let counts = live(&engine);
    let clicks = counter("ann", "click", None);
    // The first caller started the query.
    let (first, second) = (reading(&counts, clicks.clone()), reading(&counts, clicks.clone()));
    settle().await;
    assert_eq!(engine.reads.lock().unwrap().len(), 1);
    first.abort();
    assert_eq!(second.await.unwrap().unwrap(), 0);
    assert_eq!(engine.reads.lock().unwrap().len(), 1, "it was not asked anew");
}

#[tokio::test(start_paused = true)]
async fn a_query_that_panics_is_an_error_and_the_next_one_works() {
    let engine = Engine::new();
    let counts = live(&engine);
    let together =
        [reading(&counts, counter("ann", PANICS, None)), reading(&counts, counter("ann", "click", None))];
    for told in together {
        assert!(matches!(told.await.unwrap(), Err(PortError::Unavailable { .. })));
    }
    assert_eq!(read(&counts, counter("ann", "click", None)).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_all_who_share_it_as_it_is() {
    let engine = Engine::new();
    let counts = live(&engine);
    let together: Vec<_> =
        [AWAY, "click", "view"].map(|of| reading(&counts, counter("ann", of, None))).into_iter().collect();
    for told in together {
        assert_eq!(told.await.unwrap().unwrap_err().to_string(), "the engine is not available now: away");
    }
    assert_eq!(engine.reads.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_is_broken_is_no_error_for_a_reader_of_another() {
    let engine = Engine::new();
    let counts = live(&engine);
    engine.raise(&[Increment { counter: counter("bob", "click", None), by: 3 }]).await.unwrap();
    let broken = reading(&counts, counter("ann", BROKEN, None));
    let sound = reading(&counts, counter("bob", "click", None));
    assert!(matches!(broken.await.unwrap(), Err(PortError::Broken { .. })));
    assert_eq!(sound.await.unwrap().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn equal_requests_of_other_kinds_share_a_query_and_different_ones_do_not() {
    let (engine, batching) = (Engine::new(), Batching::default());
    let live = batching.live_counts(engine.clone());
    let settled = batching.settled_counts(engine.clone());
    let rejected = batching.recent_rejected(engine.clone());
    let hour = |n| Hour::from_epoch(498_000 + n).unwrap();
    let mut readers = JoinSet::new();
    for n in 0..30_usize {
        let (live, settled, rejected) = (live.clone(), settled.clone(), rejected.clone());
        readers.spawn(async move {
            let user = ["ann", "bob"][n % 2].parse().unwrap();
            let after = (n % 3 == 0).then(|| KeyCount { key: "k".parse().unwrap(), count: 1 });
            let request = KeysRequest { after, limit: 10 };
            let of = "click".parse().unwrap();
            let last = hour(n as u64 % 3);
            tokio::try_join!(
                live.totals(&user),
                live.keys(&user, &of, &request),
                settled.totals(&user),
                settled.hours(&user, &of, hour(0), last),
                rejected.latest(&user, n % 3),
            )
            .map(drop)
        });
    }
    for answered in readers.join_all().await {
        answered.unwrap();
    }
    let mut asked = engine.others.lock().unwrap().clone();
    asked.sort();
    let queries = asked.len();
    asked.dedup();
    // For each of two users: totals, settled totals, keys from two places, three spans of hours, three limits.
    assert_eq!((asked.len(), queries), (2 * (1 + 1 + 2 + 3 + 3), asked.len()), "{asked:?}");
    let work = batching.take_stats().reads;
    assert_eq!(work, Batched { requests: 150, calls: queries as u64 });
}
