//! Load: connections that send one request after the other, each as soon as the one before is answered, or at a rate.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What is sent, and by how many.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: u32,
    pub(crate) lasting: Duration,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) took: Duration,
    /// How long each answer took, shortest first.
    times: Vec<Duration>,
}

impl Outcome {
    /// How long the answers took that are slower than this share of all.
    pub(crate) fn slower_than(&self, percent: usize) -> Duration {
        let index = (self.times.len() * percent / 100).min(self.times.len().saturating_sub(1));
        self.times.get(index).copied().unwrap_or_default()
    }
}

impl Load {
    /// Sends requests with this head until time is over; `body` makes the next body of a connection, by the connection's
    /// number and how many it has sent. Every answer must be a 200.
    pub(crate) fn run(&self, body: impl Fn(u32, u64) -> Vec<u8>, head: &str) -> anyhow::Result<Outcome> {
        self.run_whole(|connection, number| whole(head, &body(connection, number)))
    }

    /// Works like [`Self::run`]; `request` makes whole requests.
    pub(crate) fn run_whole(&self, request: impl Fn(u32, u64) -> Vec<u8>) -> anyhow::Result<Outcome> {
        self.run_paced(f64::INFINITY, request)
    }

    /// Works like [`Self::run_whole`], with at most this many requests a second on all connections together. A connection whose
    /// answer comes late sends its next request at once, until it has caught up.
    pub(crate) fn run_paced(
        &self,
        rate: f64,
        request: impl Fn(u32, u64) -> Vec<u8>,
    ) -> anyhow::Result<Outcome> {
        // One thread: the server needs the others.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let began = Instant::now();
            let until = began + self.lasting;
            let between = Duration::from_secs_f64(f64::from(self.connections) / rate);
            let sending = (0..self.connections).map(|number| {
                let first = began + between * number / self.connections;
                keep_sending(self.address, number, &request, Pace { next: first, between, until })
            });
            let times = try_join_all(sending).await?;
            let mut times = times.concat();
            let took = began.elapsed();
            times.sort_unstable();
            Ok(Outcome { answered: times.len() as u64, took, times })
        })
    }
}

/// A request of a head and its body.
pub(crate) fn whole(head: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), length.as_bytes(), body].concat()
}

/// When a connection sends.
struct Pace {
    next: Instant,
    between: Duration,
    until: Instant,
}

async fn keep_sending(
    address: SocketAddr,
    number: u32,
    request: impl Fn(u32, u64) -> Vec<u8>,
    mut pace: Pace,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
    stream.set_nodelay(true)?;
    let (mut times, mut read) = (Vec::new(), Vec::new());
    while pace.next.max(Instant::now()) < pace.until {
        if pace.next > Instant::now() {
            tokio::time::sleep_until(pace.next.into()).await;
        }
        pace.next += pace.between;
        let bytes = request(number, times.len() as u64);
        let sent = Instant::now();
        stream.write_all(&bytes).await?;
        answer(&mut stream, &mut read).await?;
        times.push(sent.elapsed());
    }
    Ok(times)
}

/// Reads one answer, which must be a 200 and say its length.
async fn answer(stream: &mut TcpStream, read: &mut Vec<u8>) -> anyhow::Result<()> {
    read.clear();
    loop {
        ensure!(stream.read_buf(read).await? > 0, "the server closed the connection");
        let Some(end) = memchr::memmem::find(read, b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&read[..end])?;
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("the server answered {}", head.lines().next().unwrap_or_default());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = end + 4 + length.context("an answer says its length")?.parse::<usize>()?;
        while read.len() < whole {
            ensure!(stream.read_buf(read).await? > 0, "an answer breaks off");
        }
        ensure!(read.len() == whole, "more than one answer");
        return Ok(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_are_those_at_the_end() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let outcome = Outcome { answered: 200, took: Duration::from_secs(1), times };
        assert_eq!(outcome.slower_than(50), Duration::from_millis(101));
        assert_eq!(outcome.slower_than(99), Duration::from_millis(199));
        let none = Outcome { answered: 0, took: Duration::ZERO, times: Vec::new() };
        assert_eq!(none.slower_than(99), Duration::ZERO);
    }
}
