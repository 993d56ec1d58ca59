//! Reading gzip files by lines.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

/// Opens a gzip file to read its text by lines.
pub(crate) fn lines(path: &Path) -> io::Result<impl BufRead + use<>> {
    Ok(lines_of(File::open(path)?))
}

/// Reads an open gzip file by lines.
pub(crate) fn lines_of(file: File) -> impl BufRead + use<> {
    BufReader::with_capacity(1 << 16, MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file)))
}
