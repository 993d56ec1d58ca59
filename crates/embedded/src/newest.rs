//! [`NewestEvents`] from the journal and raw, which have every event in the order of its number: an event is listed as soon as
//! it is acknowledged, and nothing more is written for it.
//!
//! Both are read backwards, a row or a batch at a time, until a page is full or enough was read. So a page costs the same for a
//! user with a million events and for one without any.

use std::{io::BufRead, sync::Arc};

use async_trait::async_trait;
use rusqlite::Connection;
use weir_core::{
    Username,
    newest::{Gathering, NewestEvent, NewestPage, NewestRequest, Position},
    ports::{NewestEvents, PortError},
};

use crate::{
    engine::{Embedded, Inner},
    folder::gzip,
    objects::batches,
};

const WHAT: &str = "reading the newest events";

/// The bytes of lines after which a page ends with what was found. A part is always read whole.
const ENOUGH: usize = 32 << 20;

/// A page that is being made.
struct Search {
    username: Username,
    request: NewestRequest,
    events: Vec<NewestEvent>,
    /// All events of this number and later ones were looked at.
    down_to: u64,
    read: usize,
    is_done: bool,
}

impl Search {
    /// Looks through a part of the sequence that begins with the event `first`; its lines come in order.
    fn look<E>(
        &mut self,
        inner: &Inner,
        first: u64,
        each_line: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut gathering = Gathering::beside(&self.events, &self.username, &self.request, &inner.gone);
        let (mut number, mut read) = (first, 0);
        each_line(&mut |line| {
            if number < self.down_to {
                gathering.take(number, line);
            }
            number += 1;
            read += line.len();
        })?;
        let (found, is_full) = gathering.newest_first();
        self.read += read;
        self.is_done = is_full || self.read >= ENOUGH;
        self.down_to = match found.last() {
            Some((oldest, _)) if is_full => *oldest,
            _ => first.min(self.down_to),
        };
        self.events.extend(found.into_iter().map(|(_, event)| event));
        Ok(())
    }

    fn in_journal(&mut self, inner: &Inner, db: &Connection) -> rusqlite::Result<()> {
        let mut rows =
            db.prepare_cached("SELECT first, lines FROM journal WHERE first < ?1 ORDER BY first DESC")?;
        let mut rows = rows.query([self.down_to])?;
        while !self.is_done
            && let Some(row) = rows.next()?
        {
            let lines = row.get_ref(1)?.as_blob()?;
            self.look(inner, row.get(0)?, |take| {
                lines.split_inclusive(|&byte| byte == b'\n').for_each(take);
                Ok::<_, rusqlite::Error>(())
            })?;
        }
        Ok(())
    }

    fn in_raw(&mut self, inner: &Inner) -> std::io::Result<()> {
        batches::before(inner.raw.path(), self.down_to, &mut |first, _, raw_key| {
            let looked = self.look(inner, first, |take| {
                let mut lines = gzip::lines_of(inner.raw.file(raw_key)?);
                let mut line = Vec::new();
                while lines.read_until(b'\n', &mut line)? > 0 {
                    take(&line);
                    line.clear();
                }
                Ok::<_, std::io::Error>(())
            });
            // A batch that is damaged, or was just removed, has nothing to list; filing reports it.
            if looked.is_err() {
                self.down_to = first;
            }
            Ok(!self.is_done)
        })
    }

    fn page(self) -> NewestPage {
        let next =
            (self.is_done && self.down_to > 1).then_some(Position { number: self.down_to, event_id: None });
        NewestPage { events: self.events, next, live: true }
    }
}

#[async_trait]
impl NewestEvents for Embedded {
    async fn newest(&self, username: &Username, request: &NewestRequest) -> Result<NewestPage, PortError> {
        let _turn = self.inner.searches.acquire().await;
        let down_to = request.after.as_ref().map_or(i64::MAX as u64, |after| after.number);
        let mut search = Search {
            username: username.clone(),
            request: request.clone(),
            events: Vec::new(),
            down_to,
            read: 0,
            is_done: false,
        };
        let inner = Arc::clone(&self.inner);
        let in_journal = move |db: &Connection| {
            search.in_journal(&inner, db)?;
            Ok(search)
        };
        let mut search = self.inner.readers.read(WHAT, in_journal).await?;
        if search.is_done {
            return Ok(search.page());
        }
        // A batch's file is in raw before its rows leave the journal, so no event is missed in between.
        let inner = Arc::clone(&self.inner);
        let in_raw = move || search.in_raw(&inner).map(|()| search);
        match tokio::task::spawn_blocking(in_raw).await {
            Ok(search) => search.map(Search::page).map_err(|error| PortError::unavailable(WHAT, error)),
            Err(panicked_or_stopped) => Err(PortError::unavailable(WHAT, panicked_or_stopped)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use weir_core::{SystemClock, conformance::dedup::event, newest::NewestFate, ports::Stream};

    use super::*;
    use crate::Flush;

    fn open(folder: &std::path::Path) -> Embedded {
        let flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
        Embedded::open(folder, flush, Arc::new(SystemClock)).unwrap().0
    }

    async fn page(engine: &Embedded, user: &str, after: Option<Position>) -> NewestPage {
        let request = NewestRequest { event_type: None, after, limit: 3 };
        engine.newest(&user.parse().unwrap(), &request).await.unwrap()
    }

    fn ids(page: &NewestPage) -> Vec<&str> {
        page.events.iter().map(|event| event.event_id.as_str()).collect()
    }

    /// However much another user sends, a page reads so much and says where to go on.
    #[tokio::test(flavor = "multi_thread")]
    async fn the_work_for_a_page_is_bounded_and_the_next_pages_find_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
        engine.append(vec![event(&ann, "early", "")]).await;
        for part in 0..5 {
            let large = "x".repeat(200_000);
            let events = (0..80).map(|n| event(&bob, &format!("e-{part}-{n}"), &large));
            engine.append(events.collect()).await;
            engine.flush().await.unwrap();
        }
        engine.append(vec![event(&ann, "late", "")]).await;
        let first = page(&engine, "ann", None).await;
        assert_eq!(ids(&first), ["late"]);
        let (mut next, mut found, mut pages) = (first.next, Vec::new(), 0);
        assert!(next.is_some(), "a page looked through 80 MB");
        while let Some(after) = next {
            let more = page(&engine, "ann", Some(after)).await;
            found.extend(ids(&more).into_iter().map(str::to_owned));
            next = more.next;
            pages += 1;
        }
        assert_eq!(found, ["early"]);
        assert!(pages <= 3, "{pages}");
        let without_events = page(&engine, "cy", None).await;
        assert!(without_events.events.is_empty() && without_events.next.is_some());
    }

    /// A batch that is gone or damaged hides its own events only.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_batches_that_cannot_be_read_nothing_is_listed_and_the_others_are() {
        let folder = tempfile::tempdir().unwrap();
        let engine = open(folder.path());
        let ann = "ann".parse().unwrap();
        for part in 0..4 {
            engine.append(vec![event(&ann, &format!("e-{part}"), "")]).await;
            engine.flush().await.unwrap();
        }
        let batches = batches::after(&folder.path().join("raw"), 0, batches::Hours::All).unwrap();
        std::fs::remove_file(folder.path().join("raw").join(&batches[1].2)).unwrap();
        std::fs::write(folder.path().join("raw").join(&batches[2].2), "no gzip").unwrap();
        let first = page(&engine, "ann", None).await;
        assert_eq!(ids(&first), ["e-3", "e-0"]);
        assert!(first.events.iter().all(|event| matches!(event.fate, NewestFate::Accepted { .. })));
        assert_eq!(first.next, None);
    }
}
