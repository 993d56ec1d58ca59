//! [`FollowEvents`] from the journal and raw. An open stream of events is notified that something was stored, and reads the
//! new rows like any other reader. So however slow its client is, it costs intake nothing, and keeps only a page in memory.

use std::{io, sync::Arc};

use async_trait::async_trait;
use weir_core::{
    Username,
    following::{FollowRequest, FollowedPage, Page},
    newest::Position,
    ports::{FollowEvents, PortError},
};

use crate::{
    engine::Embedded,
    journal::follow::{FollowError, Followed, Sequence, look},
};

const WHAT: &str = "following events";

/// The bytes of rows that are read in one transaction, exceeded by one row at the most.
const ROWS: usize = 1 << 20;

/// The bytes of read lines after which a page ends, however few events were found.
const ENOUGH: usize = 32 << 20;

#[async_trait]
impl FollowEvents for Embedded {
    fn last(&self) -> Option<Position> {
        Some(position(*self.inner.journal.stored.borrow()))
    }

    async fn stored_after(&self, position: &Position) {
        let mut stored = self.inner.journal.stored.clone();
        if stored.wait_for(|last| *last > position.number).await.is_err() {
            // The journal has ended: nothing more is stored.
            std::future::pending::<()>().await;
        }
    }

    async fn page(&self, username: &Username, request: &FollowRequest) -> Result<FollowedPage, PortError> {
        let _turn = self.inner.followers.acquire().await;
        let after = request.after.number;
        let next = after.saturating_add(1);
        let look = self.inner.readers.read(WHAT, move |db| look(db, next, true, ROWS)).await?;
        if look.is_at_the_end(next) {
            // A position after the end was given before the store was restored from a backup.
            let (up_to, has_gap) = (look.end(), after > look.end());
            let up_to = position(up_to);
            return Ok(FollowedPage { events: Vec::new(), up_to, has_gap, has_more: false });
        }
        let (username, event_type) = (username.clone(), request.event_type.clone());
        let inner = Arc::clone(&self.inner);
        let read = move || {
            let mut sequence = Sequence { raw: inner.raw.path().to_owned(), next };
            let mut page = Page::of(&username, event_type.as_ref(), &inner.gone);
            let (mut has_gap, mut read) = (false, 0);
            let end = look.end();
            let passed_on = sequence.pass_on(look, &mut |number, followed| {
                let Followed::Line(line) = followed else {
                    has_gap = true;
                    return Ok(());
                };
                if page.is_full() || read >= ENOUGH {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                read += line.len();
                page.take(number, line);
                Ok(())
            });
            match passed_on {
                Ok(()) | Err(FollowError::Taker(_)) => {}
                Err(error) => return Err(PortError::unavailable(WHAT, error)),
            }
            let up_to = sequence.next - 1;
            let (events, has_more) = (page.into_events(), up_to < end);
            Ok(FollowedPage { events, up_to: position(up_to), has_gap, has_more })
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(page) => page,
            Err(panicked_or_stopped) => Err(PortError::unavailable(WHAT, panicked_or_stopped)),
        }
    }
}

fn position(number: u64) -> Position {
    Position { number, event_id: None }
}
