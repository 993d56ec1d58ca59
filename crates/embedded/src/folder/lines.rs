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

/// Returns whether a file has a line that is gone.
pub(crate) fn has_any(file: &Path, is_gone: &dyn Fn(&[u8]) -> bool) -> io::Result<bool> {
    let (mut lines, mut line) = (gzip::lines(file)?, Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(false);
        }
        if is_gone(&line) {
            return Ok(true);
        }
    }
}

/// Replaces a file by one without these lines, or removes it if no line is left.
pub(crate) fn without(folder: &Folder, name: &str, is_gone: &dyn Fn(&[u8]) -> bool) -> io::Result<()> {
    let file = folder.path.join(name);
    let (mut lines, mut line, mut left) = (gzip::lines(&file)?, Vec::new(), false);
    let mut draft = folder.draft()?;
    let mut encoder = GzBuilder::new().write(io::BufWriter::new(draft.as_file_mut()), COMPRESSION);
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if !is_gone(&line) {
            left = true;
            encoder.write_all(&line)?;
        }
    }
    encoder.finish()?.flush()?;
    if left {
        return folder.keep(draft, name, Earlier::IsReplaced);
    }
    drop(draft);
    fs::remove_file(&file)?;
    sync_folder(file.parent().unwrap_or(&folder.path))
}
