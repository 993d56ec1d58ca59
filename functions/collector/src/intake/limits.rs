//! Load shedding: the most that a collector takes in at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{api::problem::Problem, host::streams::Streams};

/// The most events of one request.
pub(crate) const MAX_EVENTS: usize = 10_000;

/// The largest body as sent. Lambda takes 6 MB of base64
/// (<https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>); the limit is the same on every host.
pub(crate) const MAX_SENT: usize = 4 << 20;

/// The most bytes of bodies in memory, each from its arrival until its answer: 64 of the largest. A further body is refused,
/// to be retried.
const ROOM: usize = 64 * MAX_SENT;

/// The number of large bodies that are processed at once, from decompression until their events are stored. Each may take
/// several times its decompressed size; the others wait as sent.
const AT_ONCE: usize = 4;

/// The number of large bodies, with the waiting ones: some seconds' worth. Any more are refused, to be retried.
const ADMITTED: usize = AT_ONCE + 128;

/// The same for bodies of strangers: a key that is in the body is checked once it was read. They have limits of their own, so
/// that strangers hold up no client with a key in its head.
const ROOM_FOR_STRANGERS: usize = 16 * MAX_SENT;
const STRANGERS_AT_ONCE: usize = 2;
const STRANGERS_ADMITTED: usize = STRANGERS_AT_ONCE + 64;

/// Limits on the bodies in memory, and on open streams of events. Clones share the limits, so one value serves a whole
/// process.
#[derive(Debug, Clone)]
pub struct Limits {
    room: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
    strangers: Option<Arc<Limits>>,
    streams: Streams,
}

impl Default for Limits {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let strangers = Self {
            room: semaphore(ROOM_FOR_STRANGERS),
            admitted: semaphore(STRANGERS_ADMITTED),
            at_once: semaphore(STRANGERS_AT_ONCE),
            strangers: None,
            streams: Streams::at_most(0),
        };
        Self { strangers: Some(Arc::new(strangers)), ..Self::of_bytes(ROOM) }
    }
}

impl Limits {
    /// Returns limits with room for this many bytes of bodies, and none of their own for strangers.
    pub(crate) fn of_bytes(bytes: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        let (admitted, at_once) = (semaphore(ADMITTED), semaphore(AT_ONCE));
        Self { room: semaphore(bytes), admitted, at_once, strangers: None, streams: Streams::default() }
    }

    /// Sets how many streams of events may be open at once.
    #[must_use]
    pub fn with_streams(self, most: usize) -> Self {
        Self { streams: Streams::at_most(most), ..self }
    }

    /// Returns the open streams of events.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Returns the limits on bodies whose sender is not known yet.
    pub(crate) fn of_strangers(&self) -> &Self {
        self.strangers.as_deref().unwrap_or(self)
    }

    /// Returns the number of large bodies that wait for their turn.
    #[must_use]
    pub fn bodies_waiting(&self) -> usize {
        let admitted = ADMITTED.saturating_sub(self.admitted.available_permits());
        admitted.saturating_sub(AT_ONCE.saturating_sub(self.at_once.available_permits()))
    }

    /// Returns the share of a body whose bytes are still to come.
    pub(crate) fn room(&self) -> Room {
        Room { all: self.room.clone(), taken: None }
    }

    /// Waits for the place of a large body, unless too many wait already.
    pub(crate) async fn place(&self) -> Result<Admission, Problem> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| Problem::Busy)?;
        // The semaphore is never closed, so it always gives a permit.
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| Problem::Busy)?;
        Ok(Admission { _admitted: admitted, _turn: turn })
    }

    #[cfg(test)]
    pub(crate) fn bytes_left(&self) -> usize {
        self.room.available_permits()
    }
}

/// A body's share of the memory for bodies; dropping it frees the share.
#[derive(Debug)]
pub(crate) struct Room {
    all: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes room for more bytes of the body.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        let more =
            u32::try_from(bytes).ok().and_then(|bytes| self.all.clone().try_acquire_many_owned(bytes).ok());
        let more = more.ok_or(Problem::Busy)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

/// The place of a large body; dropping it lets the next one in.
#[derive(Debug)]
pub(crate) struct Admission {
    _admitted: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn strangers_use_up_their_own_room_and_places_and_no_others() {
        let limits = Limits::default();
        let strangers = limits.of_strangers();
        let mut room = strangers.room();
        room.grow(ROOM_FOR_STRANGERS).unwrap();
        assert!(strangers.room().grow(1).is_err());
        assert!(limits.room().grow(ROOM).is_ok());
        let _places = [strangers.place().await.unwrap(), strangers.place().await.unwrap()];
        assert!(limits.place().await.is_ok());
    }
}
