//! What people do in a run that is drawn from a seed: clients, the operator and the stranger.

use crate::{
    dice::Dice,
    events::{ODD, TYPES, keys},
    operations::{Change, Event, Garbage, Id, Is, Key, Op, Page, Read, To, Write},
    operator::{KEYS, USERS},
};

/// All that they do in a run that lasts so long, in the order of its time.
pub(crate) fn of_seed(seed: u64, until: u64) -> Vec<Op> {
    let mut drawn = Drawn { until, n: 0, ops: Vec::new() };
    for client in 0..3 {
        drawn.client(&Dice::new(seed, &format!("client {client}")));
    }
    drawn.operator(&Dice::new(seed, "operator"));
    drawn.stranger(&Dice::new(seed, "stranger"));
    drawn.ops.sort_by_key(|(at, _)| *at);
    drawn.ops.into_iter().map(|(_, op)| op).collect()
}

struct Drawn {
    until: u64,
    n: u32,
    ops: Vec<(u64, Op)>,
}

impl Drawn {
    /// The moments at which a person does something, with waits of this range between them.
    fn moments(&self, dice: &Dice, waits: std::ops::Range<u64>) -> Vec<u64> {
        let next = |at: &u64| Some(at + dice.range(waits.clone())).filter(|at| *at < self.until);
        std::iter::successors(next(&0), next).collect()
    }

    fn number(&mut self) -> u32 {
        self.n += 1;
        self.n
    }

    fn client(&mut self, dice: &Dice) {
        for at in self.moments(dice, 1_000..145_000) {
            let (n, user) = (self.number(), *dice.pick(&USERS));
            if dice.chance(200) {
                let (kind, key) = (dice.pick(&TYPES).0, key(dice));
                let what = match dice.range(0..6) {
                    0 => Page::Counts,
                    1 => Page::CountsOfType,
                    2 => Page::Count,
                    3 => Page::Rejected { limit: dice.range(1..51) },
                    4 => Page::Hours,
                    _ => Page::CountOfKey,
                };
                self.ops.push((at, Op::Read(Read { n, at, user, what, kind, key })));
            } else {
                self.write(dice, n, at, user);
            }
        }
    }

    fn write(&mut self, dice: &Dice, n: u32, at: u64, user: &'static str) {
        let to = match dice.range(0..10) {
            0..4 => To::Route,
            4 | 5 => To::Object,
            6 | 7 => To::Array,
            _ => To::Lines,
        };
        let large = to != To::Route && dice.chance(40);
        let events = match to {
            To::Route => 1,
            _ if large => 6,
            _ => dice.range(1..8),
        };
        let write = Write {
            n,
            at,
            user,
            to,
            twice: to != To::Route && dice.chance(50),
            gzip: dice.chance(150),
            large,
            key: key(dice),
            // Half of the clients never give up.
            tries: if dice.chance(500) { 8 } else { u32::try_from(dice.range(1..4)).unwrap() },
        };
        self.ops.push((at, Op::Write(write)));
        for _ in 0..events {
            self.ops.push((at, Op::Event(event(dice, n))));
        }
    }

    fn operator(&mut self, dice: &Dice) {
        for at in self.moments(dice, 60_000..400_000) {
            let (n, user, label) = (self.number(), *dice.pick(&USERS), dice.pick(&KEYS).0);
            // The main keys stay, though they are rotated: a user must be able to go on.
            let remove = label != "main" && dice.chance(400);
            let grace = *dice.pick(&[0, 30_000]);
            self.ops.push((at, Op::Change(Change { n, at, user, label, remove, grace })));
        }
    }

    fn stranger(&mut self, dice: &Dice) {
        for at in self.moments(dice, 100_000..1_500_000) {
            let lines =
                [Garbage::Words, Garbage::NoType, Garbage::NotUtf8, Garbage::NoUsername, Garbage::NoObject];
            let writes = if dice.chance(150) { Garbage::NoBatch } else { *dice.pick(&lines) };
            let n = self.number();
            self.ops.push((at, Op::Stranger { n, at, writes }));
        }
    }
}

/// Mostly a good one, sometimes an old one, another user's, an invented one, or none.
fn key(dice: &Dice) -> Key {
    let place = dice.index(12);
    match dice.range(0..40) {
        0..3 => Key::Any(place),
        3 => Key::Others(place),
        4 => Key::Invented,
        5 => Key::Missing,
        6..12 => Key::Guest,
        _ => Key::Good(place),
    }
}

fn event(dice: &Dice, of: u32) -> Event {
    let wrong = [Is::OfAnotherKind, Is::NamingAUser, Is::OfNoType, Is::Stamped, Is::WithoutItsKey];
    Event {
        of,
        kind: dice.pick(&TYPES).0,
        key: keys()[dice.index(4)],
        is: if dice.chance(150) { *dice.pick(&wrong) } else { Is::Valid },
        named: dice.chance(300),
        id: match dice.range(0..100) {
            0..30 => Id::Without,
            30..79 => Id::Own,
            _ => Id::Told,
        },
        ago: dice.chance(400).then(|| ago(dice)),
        odd: dice.chance(600).then(|| dice.index(ODD.len())),
    }
}

/// How many milliseconds ago an event happened, by its client's clock: lately, long ago, or at a time that cannot be.
fn ago(dice: &Dice) -> i64 {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let past = |ago| i64::try_from(ago).unwrap();
    match dice.range(0..10) {
        0 => past(400 * DAY + dice.range(0..DAY)),
        1 => past(dice.range(0..401 * DAY)),
        2 => -past(dice.range(0..1_200_000)),
        // In January of 1970, as where seconds are taken for milliseconds.
        3 => past(1_793_400_000_000),
        _ => past(dice.range(0..9_000_000)),
    }
}
