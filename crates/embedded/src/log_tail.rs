//! The tail of SQLite's write-ahead log. SQLite silently drops any incomplete end of it. After a crash, that is a transaction
//! being written, whose events were never acknowledged; but it looks the same as a log that was cut or damaged in another
//! way. So the operator has to know.
//!
//! The format is <https://sqlite.org/fileformat2.html#the_write_ahead_log>: a header, then frames of one page each, whose
//! checksums go on from each other's; a frame that ends a transaction is marked as such.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Returns the path of a database's log.
pub(crate) fn path_of(database: &Path) -> OsString {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path
}

/// Returns how many bytes at the end of a database's log are no whole transaction.
pub(crate) fn torn_bytes(database: &Path) -> io::Result<u64> {
    let file = match File::open(path_of(database)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    let whole = whole_bytes(&mut BufReader::with_capacity(1 << 16, file), length)?;
    Ok(length.saturating_sub(whole))
}

/// Returns how far the log is whole. Frames of an earlier round behind its end, which are not used any more, count as whole.
fn whole_bytes(log: &mut impl Read, length: u64) -> io::Result<u64> {
    let mut header = [0; HEADER];
    if read_up_to(log, &mut header)? < HEADER {
        // A log that was just begun has no frames.
        return Ok(length);
    }
    let Some((mut sum, page)) = Checksum::begin(&header) else {
        return Ok(if length > HEADER as u64 { 0 } else { length });
    };
    let salts = &header[16..24];
    let mut whole = HEADER as u64;
    let mut at = whole;
    let mut frame = vec![0; FRAME_HEADER + page];
    loop {
        let read = read_up_to(log, &mut frame)?;
        if read >= 16 && frame[8..16] != *salts {
            // The frame is of an earlier round if all that follow are; and the transaction before it must have ended.
            let ended = at == whole && !is_taken_up_again(log, &mut frame, salts)?;
            return Ok(if ended { length } else { whole });
        }
        if read < frame.len() {
            return Ok(if read == 0 && at == whole { length } else { whole });
        }
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        if !sum.is(&frame[16..24]) {
            return Ok(whole);
        }
        at += frame.len() as u64;
        if frame[4..8] != [0; 4] {
            whole = at;
        }
    }
}

/// Returns whether any of the following frames is of this round: then the one before them is damaged.
fn is_taken_up_again(log: &mut impl Read, frame: &mut [u8], salts: &[u8]) -> io::Result<bool> {
    while read_up_to(log, frame)? >= 16 {
        if frame[8..16] == *salts {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Fills `into` as far as the log goes.
fn read_up_to(log: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < into.len() {
        match log.read(&mut into[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// The running checksum of the log.
struct Checksum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Checksum {
    /// Begins with a header, and returns the size of a page; `None` if it is no header.
    fn begin(header: &[u8; HEADER]) -> Option<(Self, usize)> {
        let magic = word(&header[..4], true);
        if magic & !1 != 0x377f_0682 {
            return None;
        }
        let page = word(&header[8..12], true) as usize;
        let mut sum = Self { big_endian: magic & 1 == 1, sums: (0, 0) };
        sum.add(&header[..24]);
        (sum.is(&header[24..]) && (512..=65536).contains(&page)).then_some((sum, page))
    }

    fn add(&mut self, bytes: &[u8]) {
        let (mut one, mut two) = self.sums;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4], self.big_endian)).wrapping_add(two);
            two = two.wrapping_add(word(&pair[4..], self.big_endian)).wrapping_add(one);
        }
        self.sums = (one, two);
    }

    fn is(&self, stored: &[u8]) -> bool {
        self.sums == (word(&stored[..4], true), word(&stored[4..8], true))
    }
}

fn word(bytes: &[u8], big_endian: bool) -> u32 {
    let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A log of some transactions, with the earlier round's frames behind their end.
    fn log() -> (tempfile::TempDir, Vec<u8>) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.execute_batch("CREATE TABLE t (b BLOB)").unwrap();
        for _ in 0..20 {
            db.execute_batch("INSERT INTO t VALUES (zeroblob(9000))").unwrap();
        }
        db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        for _ in 0..3 {
            db.execute_batch("INSERT INTO t VALUES (zeroblob(9000))").unwrap();
        }
        let log = fs::read(path_of(&path)).unwrap();
        (place, log)
    }

    fn torn(log: &[u8]) -> u64 {
        log.len() as u64 - whole_bytes(&mut &*log, log.len() as u64).unwrap()
    }

    /// Returns the bytes of the log that are in use: up to the first frame of the earlier round.
    fn used(log: &[u8]) -> usize {
        let frames = (HEADER..log.len()).step_by(FRAME_HEADER + 4096);
        frames.into_iter().find(|at| log[at + 8..at + 16] != log[16..24]).unwrap()
    }

    #[test]
    fn a_whole_log_is_not_torn_whatever_an_earlier_round_left_behind_it() {
        let (_place, log) = log();
        assert_eq!(torn(&log), 0);
        assert_eq!(torn(&log[..used(&log)]), 0);
        for begun in [0, 10, HEADER] {
            assert_eq!(torn(&log[..begun]), 0);
        }
    }

    #[test]
    fn a_log_that_breaks_off_inside_a_transaction_is_torn_wherever_it_is() {
        let (_place, log) = log();
        let used = used(&log);
        // The last transaction has several frames.
        for cut in [1, 100, 4119, 4120, 4121, 5000] {
            assert!(torn(&log[..used - cut]) > 0, "{cut}");
        }
    }

    #[test]
    fn a_flipped_bit_tears_all_that_is_behind_it() {
        let (_place, log) = log();
        let used = used(&log);
        for at in [0, 17, HEADER + 5, HEADER + 9, HEADER + 50, used - 5000, used - 1] {
            let mut log = log[..used].to_vec();
            log[at] ^= 1;
            assert!(torn(&log) > 0, "{at}");
        }
    }
}
