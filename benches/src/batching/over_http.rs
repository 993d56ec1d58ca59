//! The same over HTTP: `weir serve --engine aws`, and clients that keep their connections.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Barrier,
    task::JoinSet,
};

use super::{COUNTERS, Options, Took, stub};
use crate::workload;

/// A running server; dropping it ends it.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, aws: &str) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(["serve", "--engine", "aws", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("AWS_ENDPOINT_URL", aws)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("WEIR_STREAM", stub::STREAM)
            .env("WEIR_COUNTS_TABLE", stub::COUNTS)
            .env("WEIR_USERS_TABLE", stub::USERS)
            .env("WEIR_IDS_TABLE", stub::IDS)
            .env("WEIR_LATEST_TABLE", stub::LATEST)
            .env("WEIR_RAW_BUCKET", "weir-raw")
            .env("WEIR_LAKE_BUCKET", stub::LAKE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        let mut server = Self { child, address: String::new() };
        let mut told = String::new();
        let output = server.child.stdout.take().context("its output is piped")?;
        BufReader::new(output).read_line(&mut told)?;
        let address = told.split_once("http://").and_then(|(_, rest)| rest.split_whitespace().next());
        address.context("the server did not start")?.clone_into(&mut server.address);
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads, and then events.
pub(super) async fn measure(program: &Path, options: &Options) -> anyhow::Result<(Took, Took)> {
    let (credentials, user) = workload::user();
    let aws = stub::start(options.latency(), user);
    let server = Server::start(program, &aws.url())?;
    let head =
        move |line: String| format!("{line} HTTP/1.1\r\nhost: weir\r\nauthorization: {credentials}\r\n");
    let head = Arc::new(head);

    let (of_read, count) = (head.clone(), json!({"count": stub::COUNT}));
    let read = move |number: usize| {
        let button = number % COUNTERS;
        of_read(format!("GET /button/click/count?button_id=button-{button}")) + "\r\n"
    };
    let (waits, all) = ask(&server, options, read, count).await?;
    let calls = vec![("calls of AWS", "requests a call", stub::calls(&aws, 0, "BatchGetItem"))];
    let reads = Took { waits, all, calls };

    let before = aws.calls().len();
    let event = move |number: usize| {
        let click = json!({
            "session_id": format!("session-{number}"), "button_id": format!("button-{}", number % COUNTERS),
        });
        let body = click.to_string();
        let length = body.len();
        head("POST /button/click".to_owned()) + &format!("content-length: {length}\r\n\r\n{body}")
    };
    let (waits, all) = ask(&server, options, event, json!({"message": "Received"})).await?;
    let calls = vec![
        ("calls of the stream", "requests a call of the stream", stub::calls(&aws, before, "PutRecordBatch")),
        ("calls of the counts", "requests a call of the counts", stub::calls(&aws, before, "UpdateItem")),
    ];
    Ok((reads, Took { waits, all, calls }))
}

/// Sends all requests over as many connections as there are to be, one after the other on each, and holds their answers
/// to what they are to be. Gives how long each waited, and how long all of them took.
async fn ask(
    server: &Server,
    options: &Options,
    request: impl Fn(usize) -> String + Send + Sync + 'static,
    answer: Value,
) -> anyhow::Result<(Vec<Duration>, Duration)> {
    let (connections, requests) = (options.connections as usize, options.requests as usize);
    let request = Arc::new(request);
    let ready = Arc::new(Barrier::new(connections + 1));
    let mut clients = JoinSet::new();
    for first in 0..connections {
        let mut connection = TcpStream::connect(&server.address).await?;
        connection.set_nodelay(true)?;
        let (request, ready, answer) = (request.clone(), ready.clone(), answer.clone());
        clients.spawn(async move {
            ready.wait().await;
            let mut waits = Vec::new();
            for number in (first..requests).step_by(connections) {
                let text = request(number);
                let begun = Instant::now();
                connection.write_all(text.as_bytes()).await?;
                let answered = answered(&mut connection).await?;
                waits.push(begun.elapsed());
                ensure!(answered == answer, "answered {answered}");
            }
            Ok(waits)
        });
    }
    ready.wait().await;
    let begun = Instant::now();
    let mut waits = Vec::with_capacity(requests);
    while let Some(client) = clients.join_next().await {
        waits.extend(client.context("a client panicked")??);
    }
    Ok((waits, begun.elapsed()))
}

/// The body of the answer that comes.
async fn answered(connection: &mut TcpStream) -> anyhow::Result<Value> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = connection.read(&mut piece).await?;
        ensure!(length > 0, "the connection was closed");
        bytes.extend_from_slice(&piece[..length]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "answered {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.context("an answer says how long it is")?.parse()?;
        if let Some(body) = bytes.get(end + 4..end + 4 + length) {
            return Ok(serde_json::from_slice(body)?);
        }
    }
}
