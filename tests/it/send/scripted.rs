//! A server that gives the answers of a script, and remembers what it was sent.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use crate::harness::Value;

type Requests = Arc<Mutex<Vec<Vec<Value>>>>;

pub struct Scripted {
    url: String,
    requests: Requests,
}

impl Scripted {
    /// Gives these answers, one a request: a status, and the status of each event in letters (s, d, r, n), or anything
    /// else as the body. Then it says that everything was stored.
    pub fn start(answers: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Requests::default();
        let answers: Vec<(u16, String)> =
            answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let answers = Arc::new(Mutex::new(answers.into_iter()));
            for client in listener.incoming().map_while(Result::ok) {
                let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
                std::thread::spawn(move || {
                    while let Some(events) = request(&client) {
                        let all = "s".repeat(events.len());
                        seen.lock().unwrap().push(events);
                        let (status, body) = answers.lock().unwrap().next().unwrap_or((200, all));
                        answer(&client, status, &body);
                    }
                });
            }
        });
        Self { url, requests }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The events of each request so far.
    pub fn requests(&self) -> Vec<Vec<Value>> {
        self.requests.lock().unwrap().clone()
    }
}

fn request(client: &TcpStream) -> Option<Vec<Value>> {
    let mut reader = BufReader::new(client);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Some(lines.map(|line| serde_json::from_slice(line).unwrap_or(Value::Null)).collect())
}

fn answer(mut client: &TcpStream, status: u16, body: &str) {
    let outcome = |letter: char| match letter {
        's' => r#"{"status":"stored","event_id":"x"}"#,
        'd' => r#"{"status":"duplicate","event_id":"x"}"#,
        'r' => r#"{"status":"rejected","errors":[{"path":"/a","message":"is wrong"}]}"#,
        _ => r#"{"status":"not_stored"}"#,
    };
    let body = if body.chars().all(|letter| "sdrn".contains(letter)) && !body.is_empty() {
        let outcomes: Vec<&str> = body.chars().map(outcome).collect();
        format!(r#"{{"outcomes":[{}]}}"#, outcomes.join(","))
    } else {
        body.to_owned()
    };
    let length = body.len();
    let _ = write!(
        client,
        "HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nretry-after: 1\r\nlocation: /elsewhere\r\n\r\n{body}"
    );
}
