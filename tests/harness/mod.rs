//! Runs the real `weir` on a folder of its own, and talks to it as its users do.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part of the harness")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

pub mod browser;
pub mod followed;
pub mod lambda;
pub mod wire;

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use serde_json::{Value, json};

/// How long one thing is waited for. It only ends tests that hang: one thing takes seconds at the most on a machine that
/// is busy. What takes longer by its nature has a patience of its own ([`request_within`]).
pub const PATIENCE: Duration = Duration::from_mins(5);

/// A data folder, and perhaps a server on it. Dropping it ends the server and removes the folder.
pub struct Weir {
    folder: tempfile::TempDir,
    server: Option<Server>,
    pub credentials: String,
    pub options: Vec<String>,
    /// What `weir` is run by: a program and its arguments.
    pub run_by: Vec<String>,
    /// Where the data folder is seen from here, if `weir` runs where it has another path.
    pub data_from_here: Option<PathBuf>,
    /// What all servers so far have logged.
    log: Arc<Mutex<String>>,
}

struct Server {
    child: Child,
    url: String,
    /// What it printed at its start.
    welcome: String,
    /// Ends once the last line of its log was read.
    log_reader: JoinHandle<()>,
}

/// An answer: status, headers, body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Asserts that it is this problem, in the form of RFC 9457, and gives its body.
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:weir:problem:{kind}"), "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

impl Weir {
    /// A server on a new folder, with the user that the first start makes. It files events after 100 ms.
    pub fn start() -> Self {
        Self::start_with(&["--flush-every", "100ms"])
    }

    /// Like [`Self::start`], with these options of `weir serve`.
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut weir = Self {
            folder,
            server: None,
            credentials: String::new(),
            options,
            run_by: Vec::new(),
            data_from_here: None,
            log: Arc::default(),
        };
        weir.restart();
        let welcome = weir.welcome();
        let credentials = welcome.lines().map(str::trim).find(|line| line.starts_with("demo:"));
        credentials.expect("the first start prints credentials").clone_into(&mut weir.credentials);
        weir
    }

    /// A server on the folder `data` below `folder`, which knows these credentials.
    pub fn start_on(folder: tempfile::TempDir, credentials: &str, options: &[&str]) -> Self {
        let mut weir = Self {
            folder,
            server: None,
            credentials: credentials.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            run_by: Vec::new(),
            data_from_here: None,
            log: Arc::default(),
        };
        weir.restart();
        weir
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.data_from_here.clone().unwrap_or_else(|| self.data_of_weir())
    }

    /// The data folder, as `weir` gets it.
    pub fn data_of_weir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What all servers so far have logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Starts a server on the folder, which has none.
    pub fn restart(&mut self) {
        assert!(self.server.is_none(), "a server is running already");
        let mut child = self
            .command()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Its log is shown where a test fails.
        let log = Arc::clone(&self.log);
        let log_reader = std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("{line}");
                *log.lock().unwrap() += &format!("{line}\n");
            }
        });
        let mut welcome = String::new();
        // The last line to paste on the first start: a query, or what there is for a catalog without examples.
        let last: &[&str] =
            if self.credentials.is_empty() { &[" query '", "/counts\n"] } else { &["listening"] };
        while !last.iter().any(|last| welcome.contains(last)) {
            assert!(stdout.read_line(&mut welcome).unwrap() > 0, "the server did not start: {welcome:?}");
        }
        let url = welcome.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        self.server = Some(Server { child, url, welcome, log_reader });
    }

    pub fn welcome(&self) -> String {
        self.server().welcome.clone()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("a running server")
    }

    pub fn url(&self) -> String {
        self.server().url.clone()
    }

    /// Ends the server with SIGKILL.
    pub fn kill(&mut self) {
        let mut server = self.server.take().expect("a running server");
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        server.log_reader.join().unwrap();
    }

    /// Ends the server with a signal it can handle, waits for the last line of its log, and gives its exit code.
    pub fn stop(&mut self, signal: &str) -> Option<i32> {
        let mut server = self.server.take().expect("a running server");
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let code = server.child.wait().unwrap().code();
        server.log_reader.join().unwrap();
        code
    }

    pub fn process_id(&self) -> u32 {
        self.server().child.id()
    }

    /// The `weir` command, on this folder.
    pub fn command(&self) -> Command {
        let mut words = self.run_by.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_weir")]);
        let mut command = with_default_signals(words.next().unwrap());
        command.args(words);
        command.env("WEIR_DATA", self.data_of_weir()).env_remove("WEIR_LISTEN").env("PATH", path_with_venv());
        command
    }

    /// Runs a `weir` command on this folder.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a `weir` command that must succeed, and gives what it printed.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a user, and gives the credentials.
    pub fn user(&self, name: &str) -> String {
        self.output(&["user", "add", name]).trim_end().to_owned()
    }

    /// The rows of a query.
    pub fn query(&self, sql: &str) -> Vec<Value> {
        serde_json::from_str(&self.output(&["query", "--format", "json", sql])).unwrap()
    }

    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.post_as(&self.credentials, path, body, &[])
    }

    pub fn post_with(&self, path: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Answer {
        self.post_as(&self.credentials, path, body, headers)
    }

    pub fn post_as(&self, who: &str, path: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> Answer {
        self.request("POST", Some(who), path, headers, body.as_ref())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.get_as(&self.credentials, path)
    }

    pub fn get_as(&self, who: &str, path: &str) -> Answer {
        self.request("GET", Some(who), path, &[], b"")
    }

    /// Any request; `who` are the credentials, if there shall be any.
    pub fn request(
        &self,
        method: &str,
        who: Option<&str>,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        try_request(&self.url(), method, who, path, headers, body).expect("the server answers")
    }

    /// A whole metric without labels.
    pub fn metric(&self, name: &str) -> i64 {
        let text = self.request("GET", None, "/metrics", &[], b"").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until everything that was acknowledged is in the lake.
    pub fn wait_until_filed(&self) {
        eventually("everything is filed", || {
            weir_embedded::not_filed_yet(&self.data()).is_ok_and(|left| left.events == 0)
        });
    }

    /// Paths of the files below a part of the data folder, relative to it, in order.
    pub fn files(&self, below: &str) -> Vec<String> {
        let root = self.data().join(below);
        let mut found = Vec::new();
        visit(&root, &mut found);
        let relative = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let mut found: Vec<String> = found.iter().map(relative).collect();
        found.sort();
        found
    }

    /// All lines of the files below a part of the data folder.
    pub fn lines(&self, below: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        for name in self.files(below) {
            let text = gunzip(&std::fs::read(self.data().join(below).join(name)).unwrap());
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
    }
}

fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { visit(&path, found) } else { found.push(path) }
    }
}

/// One request on a connection of its own; none if the server did not answer it.
pub fn try_request(
    url: &str,
    method: &str,
    who: Option<&str>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    request_within(PATIENCE, url, method, who, path, headers, body)
}

/// Like [`try_request`], where the answer may take longer: many large requests at once, say.
pub fn request_within(
    patience: Duration,
    url: &str,
    method: &str,
    who: Option<&str>,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}"));
    if let Some(who) = who {
        request = request.header("authorization", basic(who));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(patience));
    let agent: ureq::Agent = config.allow_non_standard_methods(true).build().into();
    let mut answer = agent.run(request.body(body).unwrap()).ok()?;
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap_or_default().to_owned())
    };
    Some(Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(header).collect(),
        body: answer.body_mut().with_config().limit(64 << 20).read_to_vec().ok()?,
    })
}

/// The value of an `Authorization` header.
pub fn basic(credentials: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(credentials))
}

/// A command whose process does not ignore what this one does: a background job of a script ignores SIGINT, and nohup
/// SIGHUP, and a child would go on so.
pub fn with_default_signals(program: &str) -> Command {
    const HANG_UP_OR_INTERRUPT: u64 = 0b11;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.map_or(0, |mask| u64::from_str_radix(mask.trim(), 16).unwrap());
    if ignored & HANG_UP_OR_INTERRUPT == 0 {
        return Command::new(program);
    }
    // By its path: a test may give the program another PATH.
    let mut command = Command::new("/usr/bin/env");
    command.args(["--default-signal=HUP,INT", program]);
    command
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The path on which a test finds programs: `target/venv`, where the test command installs them, comes first.
pub fn path_with_venv() -> std::ffi::OsString {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(venv).chain(std::env::split_paths(&rest))).unwrap()
}

/// The files below a folder that hold these bytes, as they are or once they are decompressed.
pub fn files_that_hold(folder: &Path, marker: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_that_hold(&path, marker));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut text = Vec::new();
        // What can be read of a damaged file counts.
        let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text);
        let holds = |bytes: &[u8]| bytes.windows(marker.len()).any(|window| window == marker);
        if holds(&bytes) || holds(&text) {
            found.push(path);
        }
    }
    found
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// A click as clients send it.
pub fn click(session: &str, button: &str) -> String {
    json!({"session_id": session, "button_id": button}).to_string()
}
