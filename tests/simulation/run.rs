//! One run: everything that follows from a seed.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use tokio::task::{JoinHandle, JoinSet};
use weir_core::Catalog;

use crate::{
    checks::{self, Broken, Lake},
    clients::{self, Client, Site},
    clock::{SimulatedClock, wait},
    dice::Dice,
    events,
    filing::Filing,
    gateway::Api,
    ledger::Ledger,
    luck::{self, Luck},
    operations::{Op, What, Who},
    operator::Operator,
    planted::Bug,
    stranger,
    weir::Weir,
    world::{World, firehose, queue},
};

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) broken: Broken,
    /// Of everything that happened.
    pub(crate) hash: u64,
    pub(crate) trace: Vec<String>,
    pub(crate) events: usize,
    pub(crate) calls: u64,
    /// All that happened, to be replayed.
    pub(crate) list: Vec<Op>,
}

/// 2026-11-20T13:00Z.
const START: u64 = 1_795_179_600_000;

/// In this time everything must have come to rest, once nothing goes wrong any more.
const REST: Duration = Duration::from_hours(3);

/// Runs a seed, with a bug planted or without.
pub(crate) fn run(seed: u64, bug: Option<Bug>, keeps_trace: bool) -> Outcome {
    run_with(Luck::of_seed(seed), bug, keeps_trace)
}

/// Runs a list.
pub(crate) fn replay(list: &[Op], bug: Option<Bug>, keeps_trace: bool) -> Outcome {
    run_with(Luck::of_list(list), bug, keeps_trace)
}

fn run_with(luck: Luck, bug: Option<Bug>, keeps_trace: bool) -> Outcome {
    let luck = Arc::new(luck);
    let randomness = luck.number(Who::Run, What::Randomness, 0, |dice| dice.range(0..1_000_000));
    // The SDK takes the jitter of its waits from here.
    fastrand::seed(randomness);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(simulate(&luck, randomness, bug, keeps_trace))
}

async fn simulate(luck: &Arc<Luck>, randomness: u64, bug: Option<Bug>, keeps_trace: bool) -> Outcome {
    static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(events::catalog()));
    let begins = luck.number(Who::Run, What::Begins, 0, |dice| dice.range(0..3_600_000));
    let clock = SimulatedClock::starting(START + begins);
    let world = World::new(luck, clock, bug, keeps_trace);
    let weir = Weir::new(randomness, &world, &CATALOG);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let operator = Operator {
        world: world.clone(),
        users: weir.users(),
        ledger: ledger.clone(),
        dice: Dice::new(randomness, "operator"),
    };
    let faulty = world.faults.on();
    world.faults.stop();
    operator.begin().await;
    world.faults.resume(faulty);

    let api = Arc::new(Api::new(&world, weir.clone()));
    let site = Arc::new(Site {
        world: world.clone(),
        api,
        ledger: ledger.clone(),
        served: Mutex::new(JoinSet::new()),
    });
    let filing = Arc::new(Filing::new(&world, weir.fan_out()));
    let mut always: Vec<JoinHandle<()>> = vec![tokio::spawn(firehose::deliver(world.clone()))];
    always.push(tokio::spawn(firehose::repair(world.clone())));
    always.extend((0..2u32).map(|name| tokio::spawn(filing.clone().poll(name))));

    let tested = serde_json::json!({"Service": "Amazon S3", "Event": "s3:TestEvent"});
    world.queue.lock().unwrap().send(&tested, 0);
    firehose::deliver_backlog(&world);
    let mut work = JoinSet::new();
    for op in luck.people().iter().filter(|op| matches!(op, Op::Write(_) | Op::Read(_))) {
        work.spawn(Client { site: site.clone() }.work(*op));
    }
    work.spawn(operator.work());
    work.spawn(stranger::work(world.clone(), ledger.clone()));
    let lasts = luck.number(Who::Run, What::Lasts, 900_000, luck::lasts);
    // Filing goes on while things still go wrong.
    let goes_on = luck.number(Who::Run, What::GoesOn, 0, |dice| *dice.pick(&[0, 600_000, 4_000_000]));
    clock.until(lasts + goes_on).await;
    world.faults.stop();
    world.note("nothing goes wrong any more");
    // Much is on its way now: in the stream, in batches that are not filed, in requests that are not answered.
    let mut unfinished = Broken::new();
    let sent = checks::sent_ids(&ledger.lock().unwrap());
    checks::receipts_are_right(&world, &weir, &sent, &mut unfinished).await;
    joined(&mut work).await;
    rest(&world, &site, &ledger, &always).await;
    clients::send_fresh(&site).await;
    rest(&world, &site, &ledger, &always).await;

    let mut broken = std::mem::take(&mut ledger.lock().unwrap().broken);
    broken.extend(unfinished);
    let ledger = std::mem::take(&mut *ledger.lock().unwrap());
    broken.extend(checks::all(&world, &weir, &ledger).await);
    if broken.is_empty() {
        let before = (Lake::of(&world), settled(&world));
        file_all_again(&world).await;
        if before != (Lake::of(&world), settled(&world)) {
            broken
                .push(("again changes nothing", "the lake, quarantine or the counts are others".to_owned()));
        }
    }
    for task in &always {
        assert!(!task.is_finished(), "what never ends has ended");
    }
    let calls = world.calls.load(std::sync::atomic::Ordering::SeqCst);
    Outcome {
        broken,
        hash: world.trace.hash(),
        trace: world.trace.lines(),
        events: ledger.events.len(),
        calls,
        list: luck.happened(),
    }
}

/// Waits for tasks; one that panics ends the run.
async fn joined(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Waits until nothing is under way any more, and sends back what is in the dead-letter queue.
async fn rest(world: &World, site: &Site, ledger: &Mutex<Ledger>, always: &[JoinHandle<()>]) {
    let mut served = std::mem::take(&mut *site.served.lock().unwrap());
    joined(&mut served).await;
    let end = world.clock.millis() + u64::try_from(REST.as_millis()).unwrap();
    loop {
        world.announce_the_rest();
        world.queue.lock().unwrap().redrive(world.clock.millis());
        if world.stream.lock().unwrap().is_empty() && world.queue.lock().unwrap().is_empty() {
            return;
        }
        if world.clock.millis() > end {
            ledger.lock().unwrap().fault("everything drains", "it does not come to rest".to_owned());
            return;
        }
        for task in always {
            assert!(!task.is_finished(), "what never ends has ended");
        }
        wait(30_000).await;
    }
}

/// Everything that the table of counts says but live counts, which filing does not touch.
fn settled(world: &World) -> Vec<String> {
    let tables = world.tables.lock().unwrap();
    tables.items("counts").map(|item| serde_json::Value::Object(item.clone()).to_string()).collect()
}

/// Says once more of all batches that they were created.
async fn file_all_again(world: &World) {
    let keys: Vec<String> = world.stream.lock().unwrap().batches.keys().cloned().collect();
    for chunk in keys.chunks(2).chain(keys.chunks(3)) {
        world.queue.lock().unwrap().send(&queue::notification(chunk), 0);
    }
    while !world.queue.lock().unwrap().is_empty() {
        wait(10_000).await;
    }
}
