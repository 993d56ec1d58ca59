//! Prints what a command did on standard output. A reader that closes the pipe early (`| head`) misses the rest, and the command
//! goes on: its work does not depend on who reads of it.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
};

/// Prints a line.
pub(crate) fn line(text: impl Display) {
    print(&format!("{text}\n"));
}

/// Prints a text that has its own line ends.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("weir: it cannot be printed: {error}");
        }
        _ => {}
    }
}
