//! A local AWS: its process, and how its services are asked.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    time::Instant,
};

use super::port::Port;
use crate::harness::{Answer, PATIENCE, Value, json, try_request};

/// A running local AWS. It ends with this process, however this process ends.
pub struct LocalAws {
    pub endpoint: String,
    log: PathBuf,
    _port: Port,
    /// Nothing is written to it: its end is what the keeper waits for.
    _lifeline: ChildStdin,
}

/// Runs the emulator until standard input ends, and removes its folder. Tests share it, so it is never dropped, and a test
/// that is killed drops nothing; but the pipe that it holds is closed in any case.
const KEEPER: &str = r#"
trap '' INT
"$1" > "$2/log" 2>&1 &
read -r _
kill $!
wait $!
rm -rf "$2"
"#;

impl LocalAws {
    /// Starts one on a free port, with nothing in it.
    pub fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/emulator/bin/ministack");
        assert!(program.exists(), "the local AWS is not installed: run ./check once");
        let port = Port::free();
        let endpoint = format!("http://127.0.0.1:{}", port.number);
        let folder = tempfile::tempdir().unwrap().keep();
        // Its log and everything that it unpacks lie in the folder. Of this process's environment it gets nothing, as
        // the functions would get it too.
        #[expect(clippy::zombie_processes, reason = "it outlives the test, and ends with its standard input")]
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "sh"])
            .args([&program, &folder])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .env("GATEWAY_PORT", port.number.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lifeline = keeper.stdin.take().unwrap();
        let aws = Self { endpoint, log: folder.join("log"), _port: port, _lifeline: lifeline };
        aws.eventually("it answers", || aws.try_get("/_ministack/health"));
        aws
    }

    /// Calls an operation of a service that speaks JSON, such as `AmazonSQS.SendMessage`. It must succeed.
    pub fn call(&self, operation: &str, body: &Value) -> Value {
        let headers = [("x-amz-target", operation), ("content-type", "application/x-amz-json-1.1")];
        let answer = try_request(&self.endpoint, "POST", None, "/", &headers, body.to_string().as_bytes());
        match answer {
            Some(answer) if answer.status == 200 && answer.body.is_empty() => Value::Null,
            Some(answer) if answer.status == 200 => answer.json(),
            other => panic!("{operation}: {other:?}\n{}", self.last_words()),
        }
    }

    /// A request to a service that has paths. It must succeed.
    pub fn request(&self, service: &str, method: &str, path: &str, body: &Value) -> Value {
        // By the name in the signature's scope it knows which service is meant; signatures are not checked.
        let scope = format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request");
        let headers = [("authorization", scope.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        match try_request(&self.endpoint, method, None, path, &headers, body.as_bytes()) {
            Some(answer) if answer.status < 300 => answer.json(),
            other => panic!("{method} {path}: {other:?}\n{}", self.last_words()),
        }
    }

    /// The keys of a bucket's objects below a prefix.
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let list = self.get(&format!("/{bucket}?list-type=2&prefix={prefix}"));
        assert!(!list.text().contains("<IsTruncated>true"), "more objects than a test has");
        let text = list.text();
        text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned()).collect()
    }

    pub fn object(&self, bucket: &str, key: &str) -> Vec<u8> {
        self.get(&format!("/{bucket}/{key}")).body
    }

    pub fn put_object(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let answer = try_request(&self.endpoint, "PUT", None, &format!("/{bucket}/{key}"), &[], bytes);
        assert_eq!(answer.map(|answer| answer.status), Some(200), "{key}\n{}", self.last_words());
    }

    pub fn remove_object(&self, bucket: &str, key: &str) {
        let answer = try_request(&self.endpoint, "DELETE", None, &format!("/{bucket}/{key}"), &[], b"");
        assert_eq!(answer.map(|answer| answer.status), Some(204), "{key}\n{}", self.last_words());
    }

    /// The lines that a function has logged.
    pub fn function_log(&self, group: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut query = json!({"logGroupName": group});
        loop {
            let page = self.call("Logs_20140328.FilterLogEvents", &query);
            let messages = page["events"].as_array().unwrap().iter();
            lines.extend(messages.map(|event| event["message"].as_str().unwrap().to_owned()));
            match page.get("nextToken") {
                Some(token) if !token.is_null() => query["nextToken"] = token.clone(),
                _ => return lines,
            }
        }
    }

    /// Waits until there is something to see.
    pub fn eventually<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.last_words());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// The end of its log, for those who look for the reason of a failure.
    pub fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        format!("---- the end of the local AWS's log:\n{}\n----", last.join("\n"))
    }

    fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("GET {path}: no answer\n{}", self.last_words()))
    }

    fn try_get(&self, path: &str) -> Option<Answer> {
        let answer = try_request(&self.endpoint, "GET", None, path, &[], b"")?;
        (answer.status == 200).then_some(answer)
    }
}
