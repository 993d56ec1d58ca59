//! A stand-in for Athena as a process; `stand_in.py` says what it does.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "it is for tests")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The bucket of the answers' files, which is raw.
const ANSWERS: &str = "weir-raw";

/// A running stand-in; dropping it ends it.
pub struct StandIn {
    child: Child,
    pub endpoint: String,
}

impl StandIn {
    /// Starts one over the objects of a bucket of a local AWS.
    pub fn start(endpoint: &str, bucket: &str) -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = package.ancestors().find(|folder| folder.join("template.yaml").exists()).unwrap();
        let tools: PathBuf = root.join("target/venv/bin");
        let mut child = Command::new(tools.join("python"))
            .arg(root.join("crates/aws/tests/athena/stand_in.py"))
            .args([endpoint, bucket, ANSWERS])
            .args([root.join("template.yaml"), tools.join("duckdb")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the tools of the tests are not installed: run ./check once");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port: u16 = port.trim().parse().expect("it has ended");
        Self { child, endpoint: format!("http://127.0.0.1:{port}") }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
