//! A client of a stream of server-sent events.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

use super::{PATIENCE, Value, Weir, basic};

/// An item of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// Its name; empty for a heartbeat.
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// An open stream.
pub struct Followed {
    items: Receiver<Item>,
    stream: TcpStream,
}

impl Followed {
    /// Opens a stream, which must succeed.
    pub fn open(weir: &Weir, who: &str, query: &str, after: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
        let after = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        // In HTTP/1.0, the answer is not chunked, and ends with the connection.
        let head = format!(
            "GET /events/stream{query} HTTP/1.0\r\nhost: weir\r\nauthorization: {}\r\n{after}\r\n",
            basic(who)
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let status = lines.next().unwrap();
        assert!(status.contains(" 200 "), "{status}");
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        assert!(head.iter().any(|line| line == "cache-control: private, no-cache, no-transform"), "{head:?}");
        let (send, items) = channel();
        std::thread::spawn(move || {
            let mut item = Item::default();
            for line in lines {
                if line.is_empty() {
                    if send.send(std::mem::take(&mut item)).is_err() {
                        return;
                    }
                    continue;
                }
                match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
                    Some(("event", name)) => name.clone_into(&mut item.name),
                    Some(("id", id)) => id.clone_into(&mut item.id),
                    Some(("data", data)) => item.data = serde_json::from_str(data).unwrap(),
                    Some(("retry" | "", _)) => {}
                    _ => panic!("{line:?} in a stream of events"),
                }
            }
        });
        Self { items, stream }
    }

    /// The next item, heartbeats included; `None` at the end.
    pub fn item(&self) -> Option<Item> {
        match self.items.recv_timeout(PATIENCE) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the stream says nothing"),
        }
    }

    /// The next item that is not a heartbeat; `None` at the end.
    pub fn next(&self) -> Option<Item> {
        std::iter::from_fn(|| self.item()).find(|item| !item.name.is_empty())
    }

    /// The next items, up to the first for which `is_last` holds.
    pub fn until(&self, is_last: impl Fn(&Item) -> bool) -> Vec<Item> {
        let mut found = Vec::new();
        loop {
            let item = self.next().expect("the stream goes on");
            let is_over = is_last(&item);
            found.push(item);
            if is_over {
                return found;
            }
        }
    }

    /// The items that come within a moment.
    pub fn come(&self) -> Vec<Item> {
        let came = std::iter::from_fn(|| self.items.recv_timeout(Duration::from_millis(1)).ok());
        came.filter(|item| !item.name.is_empty()).collect()
    }

    /// Ends the connection.
    pub fn close(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
