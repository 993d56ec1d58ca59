//! What goes wrong, and for whom: every call to AWS is made on behalf of an origin (a request, an invocation), which
//! can die at any of its calls and remembers what was done to it.

use std::{
    future::pending,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    dice::Dice,
    luck::Luck,
    operations::{What, Who},
};

tokio::task_local! {
    /// On whose behalf a call is made.
    pub(crate) static ORIGIN: Arc<Origin>;
}

/// What can go wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused: too many calls.
    Throttle,
    /// The service fails, `after` it did what was asked or before.
    ServerError { after: bool },
    /// The connection breaks, after the call took effect or before.
    Break { after: bool },
    /// It takes so long, in milliseconds, before or after it takes effect.
    Slow { after: bool, millis: u64 },
    /// Firehose takes a part of the entries only.
    Partial,
    /// Another transaction is on the same items.
    Conflict,
    /// S3's answer breaks off in the middle of the object.
    Torn,
}

/// How much goes wrong in a run.
pub(crate) struct Faults {
    on: AtomicBool,
    luck: Arc<Luck>,
    /// Of 1,000 calls: to Firehose, DynamoDB, S3.
    rates: [u64; 3],
    /// Of 1,000 requests and invocations: how many die.
    deaths: u64,
    /// Of 1,000 invocations of the fan-out: how many Lambda throttles, and how many have too little time for a large batch.
    throttled: u64,
    hurried: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Firehose,
    DynamoDb,
    S3,
}

impl Faults {
    /// Some runs are calm, some have trouble with one service, some with all of them.
    pub(crate) fn new(luck: &Arc<Luck>) -> Self {
        let dice = luck.dice("faults").unwrap_or_else(|| Dice::new(0, "faults"));
        let rates = [(); 3].map(|()| *dice.pick(&[0, 20, 100, 250, 500]));
        let deaths = *dice.pick(&[0, 30, 150]);
        let lambda = luck.dice("faults of Lambda").unwrap_or_else(|| Dice::new(0, "faults of Lambda"));
        let throttled = *lambda.pick(&[0, 0, 100, 600]);
        let hurried = *lambda.pick(&[0, 100, 500]);
        Self { on: AtomicBool::new(true), luck: luck.clone(), rates, deaths, throttled, hurried }
    }

    pub(crate) fn stop(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    pub(crate) fn resume(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    pub(crate) fn on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// What goes wrong, as a number; 0, where nothing does.
    pub(crate) fn number(&self, of: Who, what: What, draw: impl FnOnce(&Dice) -> u64) -> u64 {
        let number = self.luck.number(of, what, 0, |dice| if self.on() { draw(dice) } else { 0 });
        if self.on() { number } else { 0 }
    }

    /// Whether something goes wrong that does so often of 1,000 times.
    pub(crate) fn chance(&self, of: Who, what: What, of_1000: u64) -> bool {
        self.number(of, what, |dice| u64::from(dice.chance(of_1000))) > 0
    }

    /// Whether Lambda has no concurrency left for an invocation.
    pub(crate) fn is_throttled(&self, who: Who) -> bool {
        self.chance(who, What::Throttled, self.throttled)
    }

    /// How many milliseconds an invocation has that has too little time for a large batch.
    pub(crate) fn hurry(&self, who: Who, range: Range<u64>) -> Option<u64> {
        let hurried = |dice: &Dice| if dice.chance(self.hurried) { dice.range(range) } else { 0 };
        Some(self.number(who, What::Hurried, hurried)).filter(|millis| *millis > 0)
    }

    /// The fault of a call that is made on behalf of `of`.
    pub(crate) fn draw(&self, of: Who, service: Service, operation: &str) -> Option<Fault> {
        let fault = self.luck.fault(of, |dice| {
            if !self.on() || !dice.chance(self.rates[service as usize]) {
                return None;
            }
            let after = dice.chance(500);
            let millis = dice.range(100..8000);
            Some(match (dice.range(0..7), operation) {
                (0, _) => Fault::Throttle,
                (1, _) => Fault::ServerError { after },
                (2 | 3, _) => Fault::Break { after },
                (4 | 5, "PutRecordBatch") => Fault::Partial,
                (4, "TransactWriteItems") => Fault::Conflict,
                (4, "GetObject") => Fault::Torn,
                _ => Fault::Slow { after, millis },
            })
        });
        fault.filter(|_| self.on())
    }

    /// A new origin; some are doomed, if `may_die`.
    pub(crate) fn origin(&self, who: Who, may_die: bool) -> Arc<Origin> {
        let doomed = |dice: &Dice| {
            if dice.chance(self.deaths) { 1 + dice.range(0..*dice.pick(&[8, 20, 60])) } else { 0 }
        };
        let dies_at = if may_die { self.number(who, What::Dies, doomed) } else { 0 };
        let life = if dies_at > 0 { i64::try_from(dies_at - 1).unwrap() } else { i64::MAX };
        Arc::new(Origin {
            who,
            disturbed: AtomicU64::new(0),
            life: AtomicI64::new(life),
            death: Notify::new(),
            appended: Mutex::default(),
            claimed: Mutex::default(),
            tried_to_mark: Mutex::default(),
            marked: Mutex::default(),
            raised: Mutex::default(),
        })
    }
}

/// A request, or an invocation, on whose behalf AWS is called.
pub(crate) struct Origin {
    pub(crate) who: Who,
    disturbed: AtomicU64,
    /// How many boundaries of calls it has left to live.
    life: AtomicI64,
    death: Notify,
    /// The calls to the stream that took effect.
    pub(crate) appended: Mutex<Vec<Taken>>,
    /// The ids that it claimed, and when; that it tried to mark as stored; and that it marked.
    pub(crate) claimed: Mutex<Vec<(u64, String)>>,
    pub(crate) tried_to_mark: Mutex<Vec<String>>,
    pub(crate) marked: Mutex<Vec<String>>,
    /// Its increments of live counts.
    pub(crate) raised: Mutex<Vec<Raised>>,
}

/// A call to the stream that took effect.
#[derive(Clone)]
pub(crate) struct Taken {
    /// How many calls the run had made by then.
    pub(crate) at: u64,
    pub(crate) lines: Vec<Vec<u8>>,
    /// Whether the answer came.
    pub(crate) told: bool,
}

/// A call that raised a live count, or should have.
pub(crate) struct Raised {
    pub(crate) place: (String, String),
    pub(crate) by: u64,
    /// Whether the answer came.
    pub(crate) told: bool,
}

impl Origin {
    /// Does this on the origin's behalf; nothing comes of it if the origin dies.
    pub(crate) async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> Option<T> {
        let work = async {
            tokio::select! {
                biased;
                () = self.death.notified() => None,
                done = work => Some(done),
            }
        };
        ORIGIN.scope(self.clone(), work).await
    }

    /// Where a call begins or has taken effect: here the origin may die.
    pub(crate) async fn boundary(&self) {
        if self.life.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.disturb();
            self.death.notify_one();
            pending::<()>().await;
        }
    }

    pub(crate) fn disturb(&self) {
        self.disturbed.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether anything went wrong on its way.
    pub(crate) fn was_disturbed(&self) -> bool {
        self.disturbed.load(Ordering::SeqCst) > 0
    }
}
