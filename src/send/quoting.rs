//! Finds where a CSV file violates RFC 4180's quoting rules. A lenient reader would guess where its cells and rows end.

use std::io::{self, Read};

/// How the text of a row is cut into cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Whether a cell that begins with a quote ends with one, as RFC 4180 says. Otherwise a quote is a letter.
    pub(super) has_quotes: bool,
}

/// A quoting fault, in the row that begins at `line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misquoted {
    #[error(
        "the row at line {line} opens a quote that is never closed (if quotes are letters here: --no-quotes)"
    )]
    Unclosed { line: u64 },
    #[error(
        "the row at line {line} has text after a closing quote; a quote within a quoted cell is written twice (if quotes are \
         letters here: --no-quotes)"
    )]
    AfterClosing { line: u64 },
}

/// Tracks the quotes of a file, byte by byte.
#[derive(Debug)]
pub(super) struct Quoting {
    state: State,
    /// The current line, and the line at which its row begins.
    line: u64,
    row: u64,
    /// Whether the row has a quote within an unquoted cell: its cells are then uncertain, but only in this row.
    bare: bool,
    delimiter: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RowStart,
    CellStart,
    Plain,
    Quoted,
    /// After a quote in a quoted cell: either the second half of a pair follows, or the cell has ended.
    Closed,
}

impl Quoting {
    /// Starts at the row of this line; cells are separated by this byte.
    pub(super) fn at(line: u64, delimiter: u8) -> Self {
        Self { state: State::RowStart, line, row: line, bare: false, delimiter }
    }

    /// Takes the next part of the text.
    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), Misquoted> {
        for byte in text {
            if self.state == State::RowStart {
                self.row = self.line;
            }
            self.line += u64::from(*byte == b'\n');
            self.state = match (self.state, byte) {
                (State::Quoted, b'"') => State::Closed,
                (State::Quoted, _) | (State::RowStart | State::CellStart | State::Closed, b'"') => {
                    State::Quoted
                }
                (_, b'\n' | b'\r') => State::RowStart,
                (_, byte) if *byte == self.delimiter => State::CellStart,
                (State::Closed, _) => return Err(Misquoted::AfterClosing { line: self.row }),
                (_, byte) => {
                    self.bare |= *byte == b'"';
                    State::Plain
                }
            };
        }
        Ok(())
    }

    /// Ends the text.
    pub(super) fn end(&self) -> Result<(), Misquoted> {
        if self.state == State::Quoted { Err(Misquoted::Unclosed { line: self.row }) } else { Ok(()) }
    }
}

/// Checks a whole file's quotes. Read errors are left to the code that reads the rows.
pub(super) fn check(mut content: impl Read, dialect: Dialect) -> Result<(), Misquoted> {
    if !dialect.has_quotes {
        return Ok(());
    }
    let mut quoting = Quoting::at(1, dialect.delimiter);
    let mut piece = vec![0; 64 << 10];
    // A byte order mark stands before the first row, and may stand before its first quote.
    let mut is_first = true;
    loop {
        let count = match content.read(&mut piece) {
            Ok(0) => return quoting.end(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(()),
        };
        let text = &piece[..count];
        let text = if is_first { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        is_first = false;
        quoting.push(text)?;
    }
}

/// Checks one row as it is in the file; returns whether it has a quote within an unquoted cell.
pub(super) fn check_row(text: &[u8], line: u64, dialect: Dialect) -> Result<bool, Misquoted> {
    if !dialect.has_quotes {
        return Ok(false);
    }
    let mut quoting = Quoting::at(line, dialect.delimiter);
    quoting.push(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text))?;
    quoting.end()?;
    Ok(quoting.bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_quoting_is_found_in_the_row_that_has_it() {
        let quoted = |delimiter| Dialect { delimiter, has_quotes: true };
        for (text, found) in [
            ("", Ok(())),
            ("\u{feff}\"a\",b\r\n\"x\r\n\"\"y\"\"\",\"\"\n,\n", Ok(())),
            ("a,5\" screen\n", Ok(())),
            ("a,b\n1,\"2\"", Ok(())),
            ("a,b\n1,\"2\n3,4\n5,6\n", Err(Misquoted::Unclosed { line: 2 })),
            ("a,b\n\"1\n1\",2\n\r\n3,\"", Err(Misquoted::Unclosed { line: 5 })),
            ("a,b\n1,\"2\"x\n", Err(Misquoted::AfterClosing { line: 2 })),
            ("a,b\n1,\"2\" \n", Err(Misquoted::AfterClosing { line: 2 })),
            ("a,b\n1,\"open\n2,\"b\"\n", Err(Misquoted::AfterClosing { line: 2 })),
            ("a,\"b\"c\n", Err(Misquoted::AfterClosing { line: 1 })),
        ] {
            assert_eq!(check(text.as_bytes(), quoted(b',')), found, "{text:?}");
        }
        assert_eq!(check_row(b"a,5\" screen", 1, quoted(b',')), Ok(true));
        assert_eq!(check_row(b"a,\"5\"\" screen\"", 1, quoted(b',')), Ok(false));
        assert_eq!(check_row(b"a;\"5,\"", 1, quoted(b';')), Ok(false));
        let unquoted = Dialect { delimiter: b'\t', has_quotes: false };
        assert_eq!(check(b"\"a\tb\"c\n".as_slice(), unquoted), Ok(()));
        assert_eq!(check_row(b"5\" screen\t\"", 1, unquoted), Ok(false));
    }
}
