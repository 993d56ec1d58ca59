//! Compares two gzip files by their lines: two versions of a compressor may write the same lines in other bytes.

use std::{
    io::{self, BufRead},
    path::Path,
};

use super::gzip::lines;

/// How a new file differs from an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The same lines.
    Equal,
    /// All lines of the earlier file in their order, and more.
    Grown,
    /// The earlier file cannot be read to its end.
    Damaged,
    /// Some line of the earlier file is missing.
    Other,
}

/// Compares an earlier file with a new one, which is whole.
pub(crate) fn compare(earlier: &Path, new: &Path) -> io::Result<Comparison> {
    let (mut old_lines, mut new_lines) = (lines(earlier)?, lines(new)?);
    let (mut old, mut line) = (Vec::new(), Vec::new());
    // `grown`: the new file has lines that the earlier one lacks. `other`: the earlier file has lines that the new one lacks.
    let (mut grown, mut other) = (false, false);
    loop {
        old.clear();
        match old_lines.read_until(b'\n', &mut old) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if is_damage(&error) => return Ok(Comparison::Damaged),
            Err(error) => return Err(error),
        }
        // Missing lines do not end the comparison: the earlier file may turn out to be damaged further on.
        while !other {
            line.clear();
            if new_lines.read_until(b'\n', &mut line)? == 0 {
                other = true;
            } else if line == old {
                break;
            } else {
                grown = true;
            }
        }
    }
    if other {
        return Ok(Comparison::Other);
    }
    line.clear();
    grown |= new_lines.read_until(b'\n', &mut line)? > 0;
    Ok(if grown { Comparison::Grown } else { Comparison::Equal })
}

/// Returns whether a decoder's error is about the bytes read, and not about reading them.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &str, level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn compared(earlier: &[u8], new: &[u8]) -> Comparison {
        let place = tempfile::tempdir().unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        fs::write(&one, earlier).unwrap();
        fs::write(&two, new).unwrap();
        compare(&one, &two).unwrap()
    }

    #[test]
    fn files_are_compared_by_their_lines_and_not_by_their_bytes() {
        let text = "one\ntwo\nthree\n".repeat(100);
        assert_eq!(compared(&gzip(&text, 1), &gzip(&text, 1)), Comparison::Equal);
        assert_eq!(compared(&gzip(&text, 0), &gzip(&text, 9)), Comparison::Equal);
        for more in [format!("{text}four\n"), format!("zero\n{text}"), text.replacen("two\n", "two\nx\n", 1)]
        {
            assert_eq!(compared(&gzip(&text, 1), &gzip(&more, 1)), Comparison::Grown);
            assert_eq!(compared(&gzip(&more, 1), &gzip(&text, 1)), Comparison::Other);
        }
        assert_eq!(compared(&gzip("one\n", 1), &gzip("two\n", 1)), Comparison::Other);
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_damaged() {
        let whole = gzip(&"one\ntwo\nthree\n".repeat(100), 1);
        for cut in 1..whole.len() {
            assert_eq!(compared(&whole[..cut], &whole), Comparison::Damaged, "cut at {cut}");
        }
        for at in 10..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            assert_eq!(compared(&flipped, &whole), Comparison::Damaged, "changed at {at}");
        }
    }
}
