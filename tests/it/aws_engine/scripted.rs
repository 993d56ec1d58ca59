//! An Athena that answers by a script: for what the local AWS never does, such as a limit that is reached.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::harness::{Value, json};

/// What the script says to a call.
pub enum Scripted {
    /// A status and a body.
    Answer(u16, Value),
    /// Nothing, ever.
    Silence,
}

type Script = dyn Fn(&str, usize) -> Scripted + Send + Sync;

/// A running one; dropping it ends it.
pub struct Athena {
    pub endpoint: String,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    stopped: Arc<AtomicBool>,
}

impl Athena {
    /// The script is asked for the answer to an operation, and told how often that was called before.
    pub fn start(script: impl Fn(&str, usize) -> Scripted + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let athena = Self { endpoint, calls: Arc::default(), stopped: Arc::default() };
        let (calls, stopped) = (athena.calls.clone(), athena.stopped.clone());
        let script: Arc<Script> = Arc::new(script);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (calls, script) = (calls.clone(), script.clone());
                thread::spawn(move || converse(connection.unwrap(), &calls, &*script));
            }
        });
        athena
    }

    /// The bodies of the calls of an operation, in order.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == operation).map(|(_, body)| body.clone()).collect()
    }
}

impl Drop for Athena {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
    }
}

/// Answers the requests of a connection until the other side closes it.
fn converse(connection: TcpStream, calls: &Mutex<Vec<(String, Value)>>, script: &Script) -> Option<()> {
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut writer = connection;
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => value.rsplit('.').next().unwrap().clone_into(&mut operation),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = serde_json::from_slice(&body).unwrap();
        let before = {
            let mut calls = calls.lock().unwrap();
            calls.push((operation.clone(), body));
            calls.iter().filter(|(name, _)| *name == operation).count() - 1
        };
        // Without an answer the connection stays open, until the other side has enough.
        let Scripted::Answer(status, body) = script(&operation, before) else { continue };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Scripted\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all((head + &body).as_bytes()).ok()?;
    }
}

/// How a query is doing.
pub fn execution(state: &str, reason: &str, scanned: u64) -> Scripted {
    let status = json!({"State": state, "StateChangeReason": reason});
    let statistics = json!({"DataScannedInBytes": scanned});
    let query = json!({"Status": status, "Statistics": statistics, "StatementType": "DML"});
    Scripted::Answer(200, json!({"QueryExecution": query}))
}

/// A page of an answer with the columns `n`, a number, and `s`, a text.
pub fn page(rows: &[[Option<&str>; 2]], next: Option<&str>) -> Scripted {
    let cell = |cell: Option<&str>| cell.map_or(json!({}), |cell| json!({"VarCharValue": cell}));
    let row = |row: &[Option<&str>; 2]| json!({"Data": row.map(cell)});
    let columns = json!([{"Name": "n", "Type": "bigint"}, {"Name": "s", "Type": "varchar"}]);
    let set = json!({"Rows": rows.iter().map(row).collect::<Value>(), "ResultSetMetadata": {"ColumnInfo": columns}});
    Scripted::Answer(200, json!({"ResultSet": set, "NextToken": next}))
}

pub fn started() -> Scripted {
    Scripted::Answer(200, json!({"QueryExecutionId": "the-query"}))
}

/// What a service answers that does not do what it was asked.
pub fn refusal(status: u16, code: &str, message: &str) -> Scripted {
    Scripted::Answer(status, json!({"__type": code, "Message": message}))
}
