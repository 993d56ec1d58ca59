//! The stream of events comes through a proxy as it is sent.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
};

use super::{Proxy, block, free_port, page, serve, stop};
use crate::harness::{PATIENCE, Weir, eventually};

/// An open stream, as curl prints it with the head of the answer. Dropping it closes the connection.
struct Stream {
    curl: Child,
    lines: Receiver<String>,
    has_http2: bool,
    is_compressed: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

impl Stream {
    /// Opens a stream. There is room for it once the server has noticed that the clients of earlier ones have gone.
    fn open(proxy: &Proxy, credentials: &str, options: &[&str]) -> Self {
        let mut stream = None;
        eventually("there is room for the stream", || {
            stream = Self::try_open(proxy, credentials, options);
            stream.is_some()
        });
        stream.unwrap()
    }

    /// Opens a stream and waits for the first heartbeat, from which on each event comes; `None` if there are too many.
    fn try_open(proxy: &Proxy, credentials: &str, options: &[&str]) -> Option<Self> {
        // curl ends it if nothing else does.
        let options =
            [&["-u", credentials, "--include", "--no-buffer", "--max-time", "280"], options].concat();
        let mut curl = proxy.curl("/events/stream", &options).stdin(Stdio::null()).spawn().unwrap();
        let (send, lines) = channel();
        let out = BufReader::new(curl.stdout.take().unwrap());
        std::thread::spawn(move || {
            // Whether curl is read on does not depend on whether the test still listens.
            out.lines().map_while(Result::ok).for_each(|line| drop(send.send(line)));
        });
        let mut stream = Self { curl, lines, has_http2: false, is_compressed: false };
        let status = stream.line("HTTP/");
        if status.contains(" 503") {
            return None;
        }
        assert!(status.contains(" 200"), "{status}");
        stream.has_http2 = status.starts_with("HTTP/2");
        loop {
            let line = stream.next().unwrap();
            stream.is_compressed |= line.trim_end().eq_ignore_ascii_case("content-encoding: gzip");
            if line.starts_with("id: ") {
                return Some(stream);
            }
        }
    }

    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("curl does not end"),
        }
    }

    /// The next line that has this text.
    fn line(&self, text: &str) -> String {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("the stream ends without {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

/// Sends an event; its text is longer than what a proxy may hold back as too short to be compressed.
fn send(proxy: &Proxy, credentials: &str, button: &str, length: usize) {
    let event = format!(r#"{{"session_id":"{}","button_id":"{button}"}}"#, "s".repeat(length));
    assert!(proxy.answer("/button/click", &["-u", credentials, "-d", &event]).ends_with(" 200"));
}

/// What holds behind any proxy. A proxy that holds something back fails it: nothing else is sent that would fill its buffer.
pub(super) fn come_at_once(proxy: &Proxy, credentials: &str, compresses: bool) {
    // A stream that goes on after an early event begins with more than a proxy leaves uncompressed.
    let options: [&[&str]; 6] = [
        &["--http1.1"],
        &["--http2"],
        &["--http1.1", "--compressed"],
        &["--http2", "--compressed"],
        &["--http1.1", "--compressed", "--header", "last-event-id: 0"],
        &["--http2", "--compressed", "--header", "last-event-id: 0"],
    ];
    for (round, options) in options.into_iter().enumerate() {
        let stream = Stream::open(proxy, credentials, options);
        assert_eq!(stream.has_http2, options.contains(&"--http2"), "{options:?}");
        assert_eq!(stream.is_compressed, compresses && options.contains(&"--compressed"), "{options:?}");
        for (size, length) in [("small", 1), ("large", 3000)] {
            let button = format!("{}-{round}-{size}", proxy.port);
            send(proxy, credentials, &button, length);
            stream.line(&format!(r#""button_id":"{button}""#));
        }
    }

    // The server learns that a client has gone, and its place is free again.
    let open: Vec<Stream> = (0..8).map(|_| Stream::open(proxy, credentials, &[])).collect();
    let ninth = || proxy.answer("/events/stream", &["-u", credentials, "--head"]);
    assert!(ninth().ends_with(" 503"));
    // Heartbeats come through where nothing happens.
    for _ in 0..2 {
        open[0].line("id: ");
    }
    drop(open);
    eventually("there is room again", || ninth().ends_with(" 200"));
}

/// Stops the server; a stream through the proxy says so and ends.
fn end_with_the_server(proxy: &Proxy, credentials: &str, stop: impl FnOnce()) {
    let stream = Stream::open(proxy, credentials, &[]);
    stop();
    stream.line(r#"{"reason":"stopping"}"#);
    while stream.next().is_some() {}
}

#[test]
fn a_stream_comes_at_once_through_nginx_compressed_or_not_and_outlives_its_timeout() {
    let mut weir = Weir::start_with(&["--trust-forwarded-for"]);
    let port = weir.url().rsplit_once(':').unwrap().1.parse().unwrap();
    // Debian compresses HTML only. The timeout is 60 seconds, and here little more than the time between two heartbeats.
    let more = "gzip on; gzip_types *; gzip_proxied any; proxy_read_timeout 7s;";
    let (proxy, credentials) = (Proxy::start_with("nginx", port, more), weir.credentials.clone());
    come_at_once(&proxy, &credentials, true);
    end_with_the_server(&proxy, &credentials, || assert_eq!(weir.stop("-TERM"), Some(0)));
}

#[test]
fn a_stream_comes_at_once_through_caddy_also_where_it_compresses_other_answers_as_the_page_says() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let (mut server, printed) = serve(port, &folder.path().join("data"), " query '");
    let credentials = printed.lines().map(str::trim).find(|line| line.starts_with("demo:")).unwrap();
    come_at_once(&Proxy::start("caddy", port), credentials, false);

    let page = page();
    let lines = ["@rest not path /events/stream", "encode @rest gzip"];
    assert!(lines.iter().all(|line| page.contains(&format!("`{line}`")) && !block("caddy").contains(line)));
    let proxy = Proxy::start_with("caddy", port, &format!("\t{}\n", lines.join("\n\t")));
    let compressed = proxy.answer("/openapi.json", &["--compressed", "--include"]);
    assert!(compressed.contains("content-encoding: gzip"), "{}", &compressed[..500]);
    come_at_once(&proxy, credentials, false);
    end_with_the_server(&proxy, credentials, || stop(&mut server));
}
