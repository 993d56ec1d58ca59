//! The soak's clients: each sends single events, arrays and lines, most of them under ids of its own until they are
//! acknowledged, and enters in the book what it knows.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;
use weir_core::{Clock, SystemClock};

use super::{
    book::Book,
    event::{Event, Kind},
    wire::{self, Form},
};

/// What clients share with the soak.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) book: Book,
    target: Mutex<Target>,
    pub(crate) is_paused: AtomicBool,
    pub(crate) is_over: AtomicBool,
    /// How many clients are at rest.
    pub(crate) resting: AtomicUsize,
    /// Answers that no fault explains.
    pub(crate) unexpected: Mutex<Vec<String>>,
}

/// Where events are sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Target {
    /// `None` while there is no server.
    pub(crate) url: Option<String>,
    /// The restore that its folder came from.
    pub(crate) restores: u64,
}

impl Shared {
    pub(crate) fn target(&self) -> Target {
        self.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_target(&self, target: Target) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Waits while clients rest.
    fn rest(&self) {
        if self.is_paused.load(Ordering::SeqCst) {
            self.resting.fetch_add(1, Ordering::SeqCst);
            while self.is_paused.load(Ordering::SeqCst) && !self.is_over() {
                thread::sleep(Duration::from_millis(5));
            }
            self.resting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// One client.
pub(crate) struct Client<'a> {
    pub(crate) shared: &'a Shared,
    /// Its number among all clients, and how many there are.
    pub(crate) number: usize,
    pub(crate) of: usize,
    /// Whose events it sends.
    pub(crate) user: usize,
    pub(crate) users: usize,
    pub(crate) credentials: String,
    /// Events a second of all clients.
    pub(crate) rate: f64,
    pub(crate) rng: Rng,
    /// How many ids it has made.
    pub(crate) ids: u64,
    /// Acknowledged events with ids, to be sent again.
    pub(crate) known: Vec<Event>,
    /// Ids that Weir made for its events.
    pub(crate) made: Vec<String>,
}

/// How many events a client remembers.
const REMEMBERED: usize = 2000;

impl Client<'_> {
    /// Sends until the soak is over.
    pub(crate) fn run(mut self) {
        while !self.shared.is_over() {
            self.shared.rest();
            let sent = match self.rng.u8(0..20) {
                0..11 => self.with_ids(),
                11..15 => self.without_ids(),
                15..17 => self.again(),
                17..18 => self.under_an_id_of_weirs(),
                _ => self.rejected_and_corrected(),
            };
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let pace = (sent * self.of) as f64 / self.rate * (0.5 + self.rng.f64());
            thread::sleep(Duration::from_secs_f64(pace.min(5.0)));
        }
    }

    fn event(&mut self, has_id: bool, kind: Kind) -> Event {
        let number = self.shared.book.enter(self.user, kind == Kind::Broken);
        // Two users' clients use the same ids.
        let id = has_id.then(|| {
            self.ids += 1;
            format!("e-{}-{}", self.number / self.users, self.ids)
        });
        // Up to three hours ago, which a server whose clock is wrong may take for the future.
        let ago = (self.rng.u8(0..4) == 0).then(|| self.rng.u64(0..3 * 3_600_000));
        let occurred_at = ago.map(|ago| SystemClock.now().millis().saturating_sub(ago));
        Event { number, id, kind, filler: self.rng.usize(0..400), occurred_at }
    }

    fn events(&mut self, has_id: bool) -> Vec<Event> {
        let count = if self.rng.bool() { 1 } else { self.rng.usize(2..25) };
        (0..count)
            .map(|_| {
                let kind = if self.rng.u8(0..4) == 0 { Kind::View } else { Kind::Click };
                self.event(has_id, kind)
            })
            .collect()
    }

    fn with_ids(&mut self) -> usize {
        let mut events = self.events(true);
        if events.len() > 1 && self.rng.u8(0..4) == 0 {
            // The same event twice in a request.
            let twice = events[0].clone();
            events.push(twice);
        }
        let count = events.len();
        self.until_acknowledged(events);
        count
    }

    /// Sends events with ids until all are acknowledged.
    fn until_acknowledged(&mut self, events: Vec<Event>) {
        let mut left = events.clone();
        while !self.shared.is_over() {
            self.shared.rest();
            self.send(&left, 0);
            if self.rng.bool() {
                left.retain(|event| !self.shared.book.is_acknowledged(event.number));
            }
            if events.iter().all(|event| self.shared.book.is_acknowledged(event.number)) {
                break;
            }
            thread::sleep(Duration::from_millis(self.rng.u64(20..300)));
            if left.is_empty() {
                left.clone_from(&events);
            }
        }
        self.known.extend(events);
        let excess = self.known.len().saturating_sub(REMEMBERED);
        self.known.drain(..excess);
    }

    /// Sends events without ids, once: a client that did so twice could store them twice.
    fn without_ids(&mut self) -> usize {
        let events = self.events(false);
        self.send(&events, 0);
        events.len()
    }

    /// Sends acknowledged events again, with other content.
    fn again(&mut self) -> usize {
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..self.rng.usize(1..8) {
            let Some(at) = self.known.len().checked_sub(1).map(|last| self.rng.usize(0..=last)) else {
                break;
            };
            let event = &self.known[at];
            if self.shared.book.is_acknowledged(event.number)
                && events.iter().all(|other| other.number != event.number)
            {
                events.push(event.clone());
            }
        }
        if !events.is_empty() {
            self.send(&events, 1);
        }
        events.len()
    }

    /// Sends an event under an id that Weir made for another one.
    fn under_an_id_of_weirs(&mut self) -> usize {
        let Some(id) = self.made.pop() else { return 0 };
        let event = Event { id: Some(id), ..self.event(false, Kind::Click) };
        self.until_acknowledged(vec![event]);
        1
    }

    /// Sends an event that is rejected, and then a right one under its id.
    fn rejected_and_corrected(&mut self) -> usize {
        let broken = self.event(true, Kind::Broken);
        let right = Event { id: broken.id.clone(), ..self.event(false, Kind::Click) };
        self.send(&[broken], 0);
        self.until_acknowledged(vec![right]);
        2
    }

    /// Sends a request, and notes what its answer acknowledges.
    fn send(&mut self, events: &[Event], version: u8) {
        let Target { url: Some(url), restores } = self.shared.target() else {
            thread::sleep(Duration::from_millis(20));
            return;
        };
        // Some clients do not wait for the answer.
        let patience = if self.rng.u8(0..10) == 0 { self.rng.u64(1..40) } else { 10_000 };
        let form = match self.rng.u8(0..4) {
            0 if events.len() == 1 && events[0].kind != Kind::Broken => Form::Alone,
            0 | 1 => Form::Array,
            2 => Form::Lines,
            _ => Form::CompressedLines,
        };
        let request = wire::Request {
            url: &url,
            credentials: &self.credentials,
            patience: Duration::from_millis(patience),
        };
        match request.send(form, events, version) {
            None => {}
            Some(Ok(outcomes)) => {
                for (event, outcome) in events.iter().zip(outcomes) {
                    if outcome.is_durable {
                        self.shared.book.acknowledge(event.number, restores);
                    }
                    if let (None, Some(made)) = (&event.id, outcome.event_id) {
                        self.made.push(made);
                    }
                }
                self.made.truncate(REMEMBERED);
            }
            Some(Err(unexpected)) => {
                self.shared.unexpected.lock().unwrap_or_else(PoisonError::into_inner).push(unexpected);
            }
        }
    }
}
