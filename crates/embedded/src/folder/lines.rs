//! Takes lines out of gzip files.

use std::{
    fs,
    io::{self, BufRead, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder};

use super::{Earlier, Folder, gzip, sync_folder};

/// Level 6, as other files of the lake have it.
const COMPRESSION: Compression = Compression::new(6);

/// What stays in a file in the place of a line that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InItsPlace {
    /// Nothing. A file without lines is removed.
    Nothing,
    /// An empty line, so that the later events of a batch keep their numbers, which count from its first line.
    EmptyLine,
    /// An empty line, as long as the file has any other.
    EmptyLineBesideOthers,
}

/// Returns whether a file has a line that is gone. Empty lines do not count.
pub(crate) fn has_any(file: &Path, is_gone: &dyn Fn(&[u8]) -> bool) -> io::Result<bool> {
    let (mut lines, mut line) = (gzip::lines(file)?, Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if !is_empty(&line) && is_gone(&line) {
            return Ok(true);
        }
    }
}

/// Replaces a file by one without these lines, or removes it if nothing is left.
pub(crate) fn without(
    folder: &Folder,
    name: &str,
    is_gone: &dyn Fn(&[u8]) -> bool,
    in_its_place: InItsPlace,
) -> io::Result<()> {
    let file = folder.path.join(name);
    let (mut lines, mut line, mut is_left) = (gzip::lines(&file)?, Vec::new(), false);
    let mut draft = folder.draft()?;
    let mut encoder = GzBuilder::new().write(io::BufWriter::new(draft.as_file_mut()), COMPRESSION);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if is_empty(&line) || is_gone(&line) {
            if in_its_place != InItsPlace::Nothing {
                is_left |= in_its_place == InItsPlace::EmptyLine;
                encoder.write_all(b"\n")?;
            }
        } else {
            is_left = true;
            encoder.write_all(&line)?;
        }
    }
    encoder.finish()?.flush()?;
    if is_left {
        return folder.keep(draft, name, Earlier::IsReplaced);
    }
    drop(draft);
    fs::remove_file(&file)?;
    sync_folder(file.parent().unwrap_or(&folder.path))
}

/// Returns whether a line is the place of one that was taken out.
pub(crate) fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"")
}

/// Returns the first line that was not taken out; `None` if all were.
pub(crate) fn first(lines: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        if !is_empty(&line) {
            return Ok(Some(line));
        }
        line.clear();
    }
    Ok(None)
}
