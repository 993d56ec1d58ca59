//! The soak's book: which events were sent, which of them were acknowledged, and hence what the lake has to have.

use std::{collections::BTreeMap, sync::Mutex};

use super::lake::Found;

/// What clients know of their events. An event's number is its place in the book.
#[derive(Default)]
pub(crate) struct Book(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    entries: Vec<Entry>,
    /// How many acknowledgements were noted.
    acknowledgements: u64,
    /// How often a restored folder took the place of the one before.
    restores: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    user: usize,
    is_rejected: bool,
    /// Its place among the acknowledgements.
    acknowledged: Option<u64>,
    /// Whether only the version that was sent first can have been stored.
    only_first: bool,
}

/// A moment in the book: what was acknowledged before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

/// How the lake compares with the book.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Events that were acknowledged, and are in the folder if no promise was broken.
    pub(crate) acknowledged: u64,
    /// Events that are in the lake.
    pub(crate) filed: u64,
    /// Acknowledged events that are not in the lake.
    pub(crate) lost: Vec<u64>,
    /// Events that are in the lake more than once.
    pub(crate) double: Vec<u64>,
    /// What else is wrong.
    pub(crate) wrong: Vec<String>,
}

impl Book {
    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        // A thread that panicked ends the soak; the book is whole after each line.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Enters an event that is about to be sent, and gives its number.
    pub(crate) fn enter(&self, user: usize, is_rejected: bool) -> u64 {
        let entries = &mut self.pages().entries;
        entries.push(Entry { user, is_rejected, acknowledged: None, only_first: true });
        entries.len() as u64 - 1
    }

    /// Notes that an event was acknowledged, by a server on the folder of that restore. An answer from a folder that was
    /// replaced since says nothing.
    pub(crate) fn acknowledge(&self, number: u64, restores: u64) {
        let mut pages = self.pages();
        let place = pages.acknowledgements;
        if pages.restores != restores {
            return;
        }
        if let Some(entry) = usize::try_from(number).ok().and_then(|at| pages.entries.get_mut(at))
            && entry.acknowledged.is_none()
        {
            entry.acknowledged = Some(place);
            pages.acknowledgements += 1;
        }
    }

    pub(crate) fn is_acknowledged(&self, number: u64) -> bool {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        self.pages().entries.get(at).is_some_and(|entry| entry.acknowledged.is_some())
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.pages().acknowledgements)
    }

    /// Notes that a folder takes over that has what was acknowledged before a moment, and perhaps more; gives the number of
    /// this restore.
    pub(crate) fn restore(&self, moment: Moment) -> u64 {
        let mut pages = self.pages();
        pages.restores += 1;
        for entry in &mut pages.entries {
            // What was not acknowledged before may have come into the copy in any version, or not at all.
            if entry.acknowledged.is_none_or(|place| place >= moment.0) {
                entry.only_first &= entry.acknowledged.is_none();
                entry.acknowledged = None;
            }
        }
        pages.restores
    }

    /// Compares with what is in a lake: everything that was acknowledged before `until`, once, and nothing twice.
    pub(crate) fn compare(&self, users: &[String], found: &[Found], until: Option<Moment>) -> Verdict {
        let entries = self.pages().entries.clone();
        let mut verdict = Verdict { filed: found.len() as u64, ..Verdict::default() };
        let mut times = vec![0_u32; entries.len()];
        for event in found {
            let at = usize::try_from(event.number).unwrap_or(usize::MAX);
            let Some(entry) = entries.get(at) else {
                verdict.wrong.push(format!("{event:?} was never sent"));
                continue;
            };
            times[at] += 1;
            if users.get(entry.user) != Some(&event.username) {
                verdict.wrong.push(format!("{event:?} is another user's: {entry:?}"));
            }
            if entry.is_rejected != event.is_rejected {
                verdict.wrong.push(format!("{event:?} is not what was answered: {entry:?}"));
            }
            if entry.only_first && entry.acknowledged.is_some() && event.version != 0 {
                verdict.wrong.push(format!("{event:?} is a later version than the first: {entry:?}"));
            }
        }
        let is_due = |place: u64| until.is_none_or(|until| place < until.0);
        for (number, (entry, times)) in (0..).zip(entries.iter().zip(times)) {
            if entry.acknowledged.is_some_and(is_due) {
                verdict.acknowledged += 1;
                if times == 0 {
                    verdict.lost.push(number);
                }
            }
            if times > 1 {
                verdict.double.push(number);
            }
        }
        verdict
    }
}

impl Verdict {
    /// What breaks a promise, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let some =
            |numbers: &[u64]| numbers.iter().take(20).map(u64::to_string).collect::<Vec<_>>().join(", ");
        let mut broken = Vec::new();
        if !self.lost.is_empty() {
            broken.push(format!("lost, by their n: {}", some(&self.lost)));
        }
        if !self.double.is_empty() {
            broken.push(format!("double, by their n: {}", some(&self.double)));
        }
        broken.extend(self.wrong.iter().take(20).cloned());
        broken
    }
}

/// How often each thing happened.
pub(crate) type Tally = BTreeMap<&'static str, u64>;

/// A tally in words: `3 kill, 1 freeze`.
pub(crate) fn in_words(tally: &Tally) -> String {
    tally.iter().map(|(what, times)| format!("{times} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEN: usize = 1;

    fn users() -> Vec<String> {
        ["ann", "ben"].map(str::to_owned).into()
    }

    fn found(number: u64, username: &str, version: u8) -> Found {
        Found { number, username: username.to_owned(), version, is_rejected: false }
    }

    fn book(events: usize, acknowledged: &[u64]) -> Book {
        let book = Book::default();
        for _ in 0..events {
            book.enter(BEN, false);
        }
        for number in acknowledged {
            book.acknowledge(*number, 0);
        }
        book
    }

    #[test]
    fn an_acknowledged_event_is_due_once_and_another_one_once_at_the_most() {
        let book = book(3, &[0, 1]);
        let verdict = |numbers: &[u64]| {
            let found: Vec<_> = numbers.iter().map(|number| found(*number, "ben", 0)).collect();
            let verdict = book.compare(&users(), &found, None);
            assert!(verdict.wrong.is_empty(), "{verdict:?}");
            (verdict.lost, verdict.double)
        };
        assert_eq!(verdict(&[0, 1]), (vec![], vec![]));
        assert_eq!(verdict(&[2, 1, 0]), (vec![], vec![]));
        assert_eq!(verdict(&[1]), (vec![0], vec![]));
        assert_eq!(verdict(&[0, 1, 1, 2, 2]), (vec![], vec![1, 2]));
    }

    #[test]
    fn what_was_never_sent_or_is_anothers_or_rejected_or_a_later_version_is_wrong() {
        let book = book(1, &[0]);
        let wrong = |found: Found| book.compare(&users(), &[found], None).wrong.len();
        assert_eq!(wrong(found(0, "ben", 0)), 0);
        assert_eq!(wrong(found(1, "ben", 0)), 1);
        assert_eq!(wrong(found(0, "ann", 0)), 1);
        assert_eq!(wrong(found(0, "ben", 1)), 1);
        assert_eq!(wrong(Found { is_rejected: true, ..found(0, "ben", 0) }), 1);
    }

    #[test]
    fn a_restore_may_lose_only_what_was_acknowledged_after_its_backup() {
        let book = book(3, &[0]);
        let moment = book.now();
        book.acknowledge(1, 0);
        let restores = book.restore(moment);
        assert_eq!(book.compare(&users(), &[], None).lost, [0]);
        // An answer of the server before says nothing of this folder.
        book.acknowledge(2, 0);
        assert!(!book.is_acknowledged(2));
        book.acknowledge(1, restores);
        assert_eq!(book.compare(&users(), &[found(0, "ben", 0), found(1, "ben", 1)], None).broken().len(), 0);
        assert_eq!(book.compare(&users(), &[], None).lost, [0, 1]);
        assert_eq!(book.compare(&users(), &[], Some(moment)).lost, [0]);
    }
}
