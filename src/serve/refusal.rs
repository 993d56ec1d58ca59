//! The answer to bytes that are not a request. hyper's own answer has neither a body nor an id; this one replaces it on the
//! connection.

use std::fmt::Write;

use axum::http::StatusCode;
use collector::Unreadable;

/// An answer being written.
pub(super) struct Refusal {
    bytes: Vec<u8>,
    written: usize,
    shut: bool,
}

impl Refusal {
    /// Takes the status and the date from hyper's answer.
    pub(super) fn new(unreadable: &Unreadable, parsers_answer: &[u8]) -> Self {
        let theirs = String::from_utf8_lossy(parsers_answer);
        let mut lines = theirs.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse::<StatusCode>().ok());
        let answer = unreadable.answer(status.unwrap_or(StatusCode::BAD_REQUEST));
        let date = lines.find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("date:")));
        let mut head = format!("HTTP/1.1 {}\r\n", answer.status());
        // Writing to a string cannot fail.
        for (name, value) in answer.headers() {
            let _ = write!(head, "{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
        }
        if let Some(date) = date {
            let _ = write!(head, "{date}\r\n");
        }
        let body = answer.body();
        let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        Self { bytes: head.into_bytes(), written: 0, shut: false }
    }

    /// Returns the part that is not written yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes;
    }

    /// Returns whether the server's side of the connection is shut down.
    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    pub(super) fn shut(&mut self) {
        self.shut = true;
    }
}
