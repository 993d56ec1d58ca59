//! The real `weir` on a local AWS.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread::JoinHandle,
};

use super::emulator::{COUNTS, IDS, LAKE, LATEST, Process, RAW, STREAM, USERS};
use crate::harness::{Answer, PATIENCE, Value, eventually, json, path_with_venv, try_request};

pub const WORKGROUP: &str = "weir";
pub const DATABASE: &str = "weir";

/// A local AWS, and the shell of a user of `weir` on it.
pub struct OnAws {
    pub emulator: Process,
    home: tempfile::TempDir,
}

impl OnAws {
    pub fn start() -> Self {
        let on_aws = Self { emulator: Process::start(), home: tempfile::tempdir().unwrap() };
        let results = json!({"OutputLocation": format!("s3://{RAW}/athena-results/")});
        let workgroup = json!({"Name": WORKGROUP, "Configuration": {"ResultConfiguration": results}});
        on_aws.emulator.call("AmazonAthena.CreateWorkGroup", &workgroup);
        on_aws
    }

    /// `weir` with the variables that the stack's output `Environment` exports, and credentials.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = weir(&self.emulator.endpoint, arguments);
        command.current_dir(self.home.path()).env("HOME", self.home.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub fn output(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a user, and gives the credentials.
    pub fn user(&self, name: &str) -> String {
        self.output(&["user", "add", name]).trim_end().to_owned()
    }

    /// A server with these variables instead of the usual ones.
    pub fn serve(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command(&["serve", "--listen", "127.0.0.1:0"]).envs(variables.iter().copied()))
    }

    /// What lies in a bucket, below a prefix.
    pub fn objects(&self, bucket: &str, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let endpoint = &self.emulator.endpoint;
        let list = get(&format!("{endpoint}/{bucket}?list-type=2&prefix={prefix}"));
        let list = String::from_utf8(list).unwrap();
        assert!(!list.contains("<IsTruncated>true"), "too many objects for a test");
        let keys = list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.map(|key| (key.clone(), get(&format!("{endpoint}/{bucket}/{key}")))).collect()
    }

    /// Makes the table of clicks: as the template does, but for one user's folder, as the local Athena looks below the location
    /// only.
    pub fn make_button_clicks_of(&self, user: &str) {
        self.emulator.call("AWSGlue.CreateDatabase", &json!({"DatabaseInput": {"Name": DATABASE}}));
        let column = |(name, of): (&str, &str)| json!({"Name": name, "Type": of});
        let columns: Value =
            [("event_id", "string"), ("button_id", "string")].map(column).into_iter().collect();
        let keys = [("year", "int"), ("month", "int"), ("day", "int"), ("hour", "int")];
        let location = format!("s3://{LAKE}/username={user}/button_click/");
        let table = json!({"Name": "button_click", "Parameters": {"classification": "json"},
            "PartitionKeys": keys.map(column).into_iter().collect::<Value>(),
            "StorageDescriptor": {"Location": location, "Columns": columns}});
        self.emulator.call("AWSGlue.CreateTable", &json!({"DatabaseName": DATABASE, "TableInput": table}));
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        ureq::put(format!("{}/{bucket}/{key}", self.emulator.endpoint)).send(bytes).unwrap();
    }

    /// The queries that Athena knows: their identity, and how they are doing.
    pub fn queries(&self) -> Vec<(String, String)> {
        let known = self.emulator.call("AmazonAthena.ListQueryExecutions", &json!({"WorkGroup": WORKGROUP}));
        let ids = known["QueryExecutionIds"].as_array().unwrap().clone();
        let state = |id: Value| {
            let query =
                self.emulator.call("AmazonAthena.GetQueryExecution", &json!({"QueryExecutionId": id}));
            let state = query["QueryExecution"]["Status"]["State"].as_str().unwrap().to_owned();
            (id.as_str().unwrap().to_owned(), state)
        };
        ids.into_iter().map(state).collect()
    }
}

/// `weir` on whatever answers there.
pub fn weir(endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = crate::harness::with_default_signals(env!("CARGO_BIN_EXE_weir"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", path_with_venv())
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("WEIR_ENGINE", "aws")
        .env("WEIR_USERS_TABLE", USERS)
        .env("WEIR_COUNTS_TABLE", COUNTS)
        .env("WEIR_IDS_TABLE", IDS)
        .env("WEIR_LATEST_TABLE", LATEST)
        .env("WEIR_COUNTER_SHARDS", "2")
        .env("WEIR_STREAM", STREAM)
        .env("WEIR_RAW_BUCKET", RAW)
        .env("WEIR_LAKE_BUCKET", LAKE)
        .env("WEIR_BUCKET_PER_USER", "false")
        .env("WEIR_WORKGROUP", WORKGROUP)
        .env("WEIR_GLUE_DATABASE", DATABASE)
        .env("WEIR_MAP_MACHINE", "arn:aws:states:us-east-1:000000000000:stateMachine:weir-map")
        .stdin(Stdio::null());
    command
}

/// The same command on a terminal of its own; what it prints and says comes together on standard output.
pub fn on_a_terminal(command: &Command) -> Command {
    const PROGRAM: &str = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut terminal = Command::new("python3");
    terminal.args(["-c", PROGRAM]).arg(command.get_program()).args(command.get_args()).env_clear();
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    terminal.env("PATH", path_with_venv()).env("TERM", "xterm").stdin(Stdio::null());
    terminal
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    ended(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Waits for the end of a process, but not for ever: it has no exit code if it had to be killed.
pub fn ended(child: Child) -> Output {
    let (done, watched) = mpsc::channel::<()>();
    let id = child.id().to_string();
    let watchdog = std::thread::spawn(move || {
        if watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &id]).status();
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    watchdog.join().unwrap();
    output
}

/// What a command said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Ends a process with a signal that it can handle.
pub fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

fn get(url: &str) -> Vec<u8> {
    ureq::get(url).call().unwrap().into_body().with_config().limit(64 << 20).read_to_vec().unwrap()
}

/// A running server; dropping it ends it.
pub struct Server {
    child: Child,
    url: String,
    log: Option<JoinHandle<String>>,
}

impl Server {
    /// Starts `weir serve`, and waits until it listens.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut told = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
        let url = told.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("the server did not start: {told:?}")).to_owned();
        Self { child, url, log: Some(log) }
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn post(&self, who: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", Some(who), path, &[], body.as_ref())
    }

    pub fn get(&self, who: &str, path: &str) -> Answer {
        self.request("GET", Some(who), path, &[], b"")
    }

    pub fn request(
        &self,
        method: &str,
        who: Option<&str>,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        try_request(&self.url, method, who, path, headers, body).expect("the server answers")
    }

    /// Ends it with a signal that it can handle; gives its exit code and its log.
    pub fn stop(mut self, by: &str) -> (Option<i32>, String) {
        signal(&self.child, by);
        let mut ended = None;
        eventually("the server has ended", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        (ended.unwrap().code(), self.log.take().unwrap().join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            // It is shown where a test fails.
            eprint!("{}", log.join().unwrap_or_default());
        }
    }
}
