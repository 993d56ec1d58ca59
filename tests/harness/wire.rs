//! A client that does on its connection what it likes, and as slowly.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
};

use crate::harness::{Answer, PATIENCE, Weir, basic};

/// A connection to the server.
pub struct Wire(TcpStream);

impl Wire {
    pub fn to(weir: &Weir) -> Self {
        let stream = TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// Ends the client's side: it sends nothing more, and still reads.
    pub fn end_sending(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether the server still takes bytes.
    pub fn takes(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).is_ok()
    }

    /// The next answer: its head, and as many bytes as it announces.
    pub fn answer(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            let read = self.0.read(&mut byte).unwrap();
            assert_eq!(read, 1, "the connection ended after {:?}", String::from_utf8_lossy(&head));
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    /// Waits until the server ends the connection, saying nothing.
    pub fn wait_for_the_end(&mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("the connection goes on: {other:?}"),
        }
    }

    /// Whether the connection is there, with nothing to read on it.
    pub fn is_open(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let peeked = self.0.peek(&mut [0]);
        self.0.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Sends the head of a POST with a body of so many bytes, and waits until the server wants it: from then on, a
    /// request is under way.
    pub fn begin(weir: &Weir, length: usize) -> Self {
        let mut wire = Self::to(weir);
        wire.send(head(weir, "POST", &format!("content-length: {length}\r\nexpect: 100-continue\r\n")));
        assert_eq!(wire.answer().status, 100);
        wire
    }
}

/// The head of a request about clicks.
pub fn head(weir: &Weir, method: &str, headers: &str) -> String {
    let path = if method == "GET" { "/counts" } else { "/button/click" };
    let who = basic(&weir.credentials);
    format!("{method} {path} HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\n{headers}\r\n")
}
