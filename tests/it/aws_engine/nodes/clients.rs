//! Many clients that keep their connections to the proxy, and send their requests at the same time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinSet,
};

use crate::harness::{Answer, basic, eventually};

pub struct Clients {
    runtime: Runtime,
    rounds: watch::Sender<usize>,
    answered: Arc<AtomicUsize>,
    reading: JoinSet<()>,
    number: usize,
}

impl Clients {
    /// Connects them. In each round, each sends a read of one of so many counters.
    pub fn connect(proxy: SocketAddr, credentials: &str, number: usize, counters: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (rounds, _) = watch::channel(0);
        let answered: Arc<AtomicUsize> = Arc::default();
        let mut reading = JoinSet::new();
        for client in 0..number {
            let button = client % counters;
            let request = format!(
                "GET /button/click/count?button_id=button-{button} HTTP/1.1\r\nhost: weir\r\nauthorization: {}\r\n\r\n",
                basic(credentials)
            );
            let (mut begun, answered) = (rounds.subscribe(), answered.clone());
            let client = async move {
                let mut connection = TcpStream::connect(proxy).await.unwrap();
                connection.set_nodelay(true).unwrap();
                while begun.changed().await.is_ok() {
                    connection.write_all(request.as_bytes()).await.unwrap();
                    let answer = answer(&mut connection).await;
                    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"count":3}"#));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            };
            reading.spawn_on(client, runtime.handle());
        }
        Self { runtime, rounds, answered, reading, number }
    }

    /// Has each client send a request; `meanwhile` is done before the answers are waited for.
    pub fn round(&mut self, meanwhile: impl FnOnce()) {
        self.rounds.send_modify(|round| *round += 1);
        meanwhile();
        let expected = self.number * *self.rounds.borrow();
        eventually("each client has its answer", || {
            if let Some(ended) = self.runtime.block_on(async { self.reading.try_join_next() }) {
                ended.expect("no client sees an error");
            }
            self.answered.load(Ordering::SeqCst) == expected
        });
    }
}

/// Sends a request in one packet, from this address of the machine.
pub fn request_from(from: [u8; 4], proxy: SocketAddr, request: &str) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut connection = socket.connect(proxy).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        answer(&mut connection).await
    })
}

/// The answer that comes.
async fn answer(connection: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = connection.read(&mut piece).await.unwrap();
        assert!(length > 0, "the connection was closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_ascii_lowercase(), value.to_owned())
        };
        let mut answer = Answer { status, headers: lines.map(header).collect(), body: Vec::new() };
        let length: usize = answer.header("content-length").expect("a length").parse().unwrap();
        if let Some(body) = bytes.get(end + 4..end + 4 + length) {
            answer.body = body.to_vec();
            return answer;
        }
    }
}
