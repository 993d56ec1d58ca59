//! Shared increments: none is lost, none counts twice, and each caller gets its own outcome.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::engine::{AWAY, BROKEN, Engine, HANGS, LATENCY, PANICS, counter};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use weir_aws::{Batched, Batching};
use weir_core::{
    Counter, Increment,
    ports::{LiveCounts, PortError},
};

fn live(engine: &Arc<Engine>) -> Arc<dyn LiveCounts> {
    Batching::default().live_counts(engine.clone())
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn raising(
    counts: &Arc<dyn LiveCounts>,
    counters: impl IntoIterator<Item = Counter>,
) -> JoinHandle<Result<(), PortError>> {
    let increments: Vec<_> = counters.into_iter().map(|counter| Increment { counter, by: 1 }).collect();
    let counts = counts.clone();
    tokio::spawn(async move { counts.raise(&increments).await })
}

async fn count(engine: &Engine, counter: Counter) -> u64 {
    engine.read(&[counter]).await.unwrap()[0]
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_increments_of_twenty_counters_take_few_calls_and_all_count() {
    let (engine, batching) = (Engine::new(), Batching::default());
    let counts = batching.live_counts(engine.clone());
    let key = |n: usize| counter("ann", "click", Some(&format!("button-{}", n % 20)));
    let all: Vec<_> = (0..10_000).map(|n| raising(&counts, [key(n)])).collect();
    for raised in all {
        raised.await.unwrap().unwrap();
    }
    for n in 0..20 {
        assert_eq!(count(&engine, key(n)).await, 500);
    }
    let calls = engine.raises.lock().unwrap().clone();
    assert!(calls.len() <= 60, "{} calls", calls.len());
    assert!(calls.iter().all(|increments| increments.len() == 1), "a call is one increment");
    let calls = calls.len() as u64;
    assert_eq!(batching.take_stats().increments, Batched { requests: 10_000, calls });
}

#[tokio::test(start_paused = true)]
async fn an_increment_is_done_when_its_caller_is_answered_and_alone_it_waits_for_nothing() {
    let engine = Engine::new();
    let counts = live(&engine);
    for n in 1..4 {
        let begun = Instant::now();
        raising(&counts, [counter("ann", "click", None)]).await.unwrap().unwrap();
        assert_eq!(begun.elapsed(), LATENCY);
        assert_eq!(count(&engine, counter("ann", "click", None)).await, n);
    }
    assert!(counts.raise(&[]).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_caller_gets_an_error_of_another_callers_counter() {
    let engine = Engine::new();
    let counts = live(&engine);
    let sound = |n: usize| counter("bob", "click", Some(&n.to_string()));
    let mut told = Vec::new();
    for n in 0..10 {
        told.push((raising(&counts, [counter("ann", AWAY, None)]), false));
        told.push((raising(&counts, [sound(n), counter("ann", BROKEN, None)]), false));
        told.push((raising(&counts, [sound(n)]), true));
        told.push((raising(&counts, [sound(0), sound(n)]), true));
    }
    for (told, is_done) in told {
        assert_eq!(told.await.unwrap().is_ok(), is_done);
    }
    // A call that failed in part still did the rest.
    assert_eq!(count(&engine, sound(1)).await, 3);
    let error = raising(&counts, [counter("ann", AWAY, None)]).await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the engine is not available now: away",
        "the error is passed on unchanged"
    );
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_no_increments_with_it() {
    let engine = Engine::new();
    let counts = live(&engine);
    let clicks = || counter("ann", "click", None);
    // One caller whose call is under way, one that gathers, and one that stays.
    let under_way = raising(&counts, [clicks()]);
    settle().await;
    let gathering = raising(&counts, [clicks()]);
    let stays = raising(&counts, [clicks()]);
    settle().await;
    under_way.abort();
    gathering.abort();
    stays.await.unwrap().unwrap();
    // Increments of callers that went away are counted, too: their events are stored.
    tokio::time::sleep(2 * LATENCY).await;
    assert_eq!(count(&engine, clicks()).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_an_error_of_its_callers_only() {
    let engine = Engine::new();
    let counts = live(&engine);
    let panics =
        [raising(&counts, [counter("ann", PANICS, None)]), raising(&counts, [counter("ann", PANICS, None)])];
    let sound = raising(&counts, [counter("ann", "click", None)]);
    for told in panics {
        assert!(matches!(told.await.unwrap(), Err(PortError::Unavailable { .. })));
    }
    sound.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_have_a_bound_and_all_are_made() {
    let engine = Engine::new();
    let counts = live(&engine);
    let counters = (0..1000).map(|n| counter("ann", "click", Some(&n.to_string())));
    raising(&counts, counters.clone()).await.unwrap().unwrap();
    assert_eq!(engine.most_under_way.load(Ordering::SeqCst), 128);
    for counter in counters {
        assert_eq!(count(&engine, counter).await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_hangs_leaves_the_others_their_places_and_keeps_no_caller_for_ever() {
    let engine = Engine::new();
    let counts = live(&engine);
    let mut hanging = Vec::new();
    for _ in 0..300 {
        hanging.push(raising(&counts, [counter("ann", HANGS, None)]));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(engine.raises.lock().unwrap().len(), 4, "not more of one counter are under way");
    let begun = Instant::now();
    raising(&counts, [counter("ann", "click", None)]).await.unwrap().unwrap();
    assert_eq!(begun.elapsed(), LATENCY);
    // An increment that was never sent fails as such: it is not done.
    let told = hanging.pop().unwrap().await.unwrap();
    assert!(matches!(told, Err(PortError::Unavailable { .. })), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_read_has_what_was_raised_before_on_any_thread() {
    let engine = Engine::new();
    let counts = live(&engine);
    let mut writers = JoinSet::new();
    for n in 0..32_usize {
        let counts = counts.clone();
        writers.spawn(async move {
            let of = counter("ann", "click", Some(&(n % 4).to_string()));
            for round in 1..=20 {
                counts.raise(&[Increment { counter: of.clone(), by: 1 }]).await.unwrap();
                let seen = counts.read(std::slice::from_ref(&of)).await.unwrap()[0];
                assert!(seen >= round, "{seen} of at least {round}");
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    for n in 0..4 {
        assert_eq!(count(&engine, counter("ann", "click", Some(&n.to_string()))).await, 160);
    }
}
