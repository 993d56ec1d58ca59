//! Delivery from the journal into raw: writes each batch's file, then applies its counts and removes its events.

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use flate2::{Compression, GzBuilder};
use rusqlite::Connection;
use tokio::sync::mpsc as async_mpsc;
use weir_core::{BatchKey, ports::PortError};

use super::{
    batches::{Batch, Delivery},
    commands::WriterHandle,
    overlay::{Overlay, Slice},
};
use crate::{counts::stored, error::OpenError, latest, objects::RawFolder, store};

/// The batches that are in raw and not in the lake yet: those that an earlier process left, then new ones.
pub struct Deliveries(async_mpsc::UnboundedReceiver<BatchKey>);

impl Deliveries {
    /// Returns the next batch to file; `None` once the engine was stopped and all were handed out.
    pub async fn next(&mut self) -> Option<BatchKey> {
        self.0.recv().await
    }
}

/// The wait between tries after a failure. The cause is a full or broken disk, which frequent retries do not help.
const RETRY: Duration = Duration::from_secs(1);

/// Level 1: the fastest, as the file is read once, soon.
const COMPRESSION: Compression = Compression::new(1);

/// Starts the thread; it ends when the sender is dropped and all was delivered, or when the writer is gone.
pub(crate) fn start(
    writer: WriterHandle,
    overlay: Arc<Overlay>,
    raw: RawFolder,
    unfinished: Vec<Batch>,
    store: &Path,
) -> Result<(mpsc::Sender<Delivery>, Deliveries), OpenError> {
    let (outbox, inbox) = mpsc::channel();
    let (ready, deliveries) = async_mpsc::unbounded_channel();
    // One connection, kept: if another database is put under the name, its rows are not mistaken for these.
    let reader = store::open_reader(store).map_err(store::at(store))?;
    // SQLite opens the log at the first read: reading now lets batches be written even if it is removed later.
    reader.query_row("SELECT 1 FROM progress", [], |_| Ok(())).map_err(store::at(store))?;
    let courier = Courier { writer, overlay, raw, reader, ready };
    thread::Builder::new()
        .name("weir-delivery".to_owned())
        .spawn(move || {
            let unfinished = unfinished.into_iter().map(Delivery::Batch);
            for delivery in unfinished.chain(inbox) {
                match delivery {
                    Delivery::Batch(batch) => {
                        if courier.deliver(&batch).is_err() {
                            return;
                        }
                    }
                    // The waiting caller may be gone.
                    Delivery::Barrier(reply) => drop(reply.send(Ok(()))),
                }
            }
        })
        .map_err(|source| OpenError::Folder { path: store.to_owned(), source })?;
    Ok((outbox, Deliveries(deliveries)))
}

/// The writer's thread has ended: the process is about to.
struct WriterGone;

#[derive(Debug, thiserror::Error)]
enum DeliveryError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("reading the journal: {0}")]
    Store(#[from] rusqlite::Error),
    #[error("writing {1}: {0}")]
    File(#[source] io::Error, String),
}

struct Courier {
    writer: WriterHandle,
    overlay: Arc<Overlay>,
    raw: RawFolder,
    reader: Connection,
    ready: async_mpsc::UnboundedSender<BatchKey>,
}

impl Courier {
    /// Delivers a batch, and retries until it is done: its events stay in the journal until then.
    fn deliver(&self, batch: &Batch) -> Result<(), WriterGone> {
        let mut written = batch.written;
        // A failure that repeats is logged once.
        let mut logged = String::new();
        loop {
            match self.try_to_deliver(batch, &mut written)? {
                Ok(()) => break,
                Err(error) => {
                    let (waiting, error) = (batch.last - batch.first + 1, error.to_string());
                    if error != logged {
                        tracing::error!(
                            batch = batch.raw_key,
                            waiting,
                            error,
                            "a batch cannot be delivered yet"
                        );
                        logged = error;
                    }
                    thread::sleep(RETRY);
                }
            }
        }
        // The receiver may be gone; the batch is then handed out at the next start.
        let _ = self.ready.send(BatchKey::new(&batch.raw_key));
        Ok(())
    }

    fn try_to_deliver(
        &self,
        batch: &Batch,
        written: &mut bool,
    ) -> Result<Result<(), DeliveryError>, WriterGone> {
        if !*written {
            if let Err(error) = write(&self.raw, &self.reader, batch) {
                return Ok(Err(error));
            }
            *written = true;
        }
        while let Some(slice) = self.overlay.earliest_up_to(batch.last) {
            let applied = slice.last;
            let key = batch.raw_key.clone();
            let answer = self.writer.run("applying counts", move |db| apply(db, &slice, &key));
            match answer.blocking_recv() {
                Ok(Ok(())) => self.overlay.drop_applied(applied),
                Ok(Err(error)) => return Ok(Err(error.into())),
                Err(_) => return Err(WriterGone),
            }
        }
        Ok(Ok(()))
    }
}

/// Writes the batch's file. Idempotent: its bytes depend on its rows only. If reading them breaks off, there is no file: a
/// part of a batch under its name would never be replaced by the whole.
fn write(raw: &RawFolder, reader: &Connection, batch: &Batch) -> Result<(), DeliveryError> {
    let mut read = Ok(());
    let wrote = raw.write(&batch.raw_key, |file| {
        let mut gzip = GzBuilder::new().write(io::BufWriter::with_capacity(1 << 16, file), COMPRESSION);
        read = each_row(reader, batch, |lines| gzip.write_all(lines));
        if read.is_err() {
            return Err(io::Error::other("the batch could not be read"));
        }
        gzip.finish()?.flush()
    });
    read?;
    wrote.map_err(|error| DeliveryError::File(error, batch.raw_key.clone()))
}

/// Passes the lines of each of the batch's rows to a function.
fn each_row(
    reader: &Connection,
    batch: &Batch,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), DeliveryError> {
    let mut rows =
        reader.prepare("SELECT lines FROM journal WHERE first BETWEEN ?1 AND ?2 ORDER BY first")?;
    let mut rows = rows.query([batch.first, batch.last])?;
    while let Some(row) = rows.next()? {
        let lines = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
        take(lines).map_err(|error| DeliveryError::File(error, batch.raw_key.clone()))?;
    }
    Ok(())
}

/// Adds a slice's sums to the stored counts, raises its latest values and removes its events, whose file is in raw.
fn apply(db: &Connection, slice: &Slice, raw_key: &str) -> rusqlite::Result<()> {
    // A commit may have been reported as failed although it took effect: the retry finds it applied.
    let applied: u64 = db.prepare_cached("SELECT applied FROM progress")?.query_row([], |row| row.get(0))?;
    if applied >= slice.last {
        return Ok(());
    }
    // From here on the file must not be written again: the first slice removes rows.
    db.prepare_cached("UPDATE batches SET written = 1 WHERE raw_key = ?1")?.execute([raw_key])?;
    stored::raise(db, &slice.sums)?;
    latest::raise(db, &slice.latest)?;
    db.prepare_cached("DELETE FROM journal WHERE first <= ?1")?.execute([slice.last])?;
    db.prepare_cached("UPDATE progress SET applied = ?1")?.execute([slice.last])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read};

    use flate2::read::MultiGzDecoder;

    use super::*;
    use crate::folder::Folder;

    #[test]
    fn a_batch_whose_reading_breaks_off_leaves_no_file_and_is_written_whole_by_the_next_try() {
        let folder = tempfile::tempdir().unwrap();
        let raw = RawFolder::new(Folder::open(folder.path()).unwrap().sub("raw"));
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE journal (first INTEGER PRIMARY KEY, lines);
             INSERT INTO journal VALUES (1, CAST('one\n' AS BLOB)), (2, 'unreadable')",
        )
        .unwrap();
        let batch = Batch { first: 1, last: 2, raw_key: "batch.json.gz".to_owned(), written: false };
        let path = folder.path().join("raw").join(&batch.raw_key);
        assert!(matches!(write(&raw, &db, &batch), Err(DeliveryError::Store(_))));
        assert!(!path.exists());
        db.execute("UPDATE journal SET lines = CAST('two\n' AS BLOB) WHERE first = 2", []).unwrap();
        assert!(write(&raw, &db, &batch).is_ok());
        let mut text = String::new();
        MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }
}
