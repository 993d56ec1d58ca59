//! A local AWS as a process, with the resources that Weir needs. It is spoken to without an SDK, so that tests of
//! programs can have it too.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "port.rs"]
pub mod port;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use port::Port;
use serde_json::{Value, json};

/// A running emulator; dropping it ends it.
pub struct Process {
    child: Child,
    pub endpoint: String,
    _port: Port,
    _folder: tempfile::TempDir,
}

pub const STREAM: &str = "weir-events";
pub const COUNTS: &str = "weir-counts";
pub const USERS: &str = "weir-users";
pub const IDS: &str = "weir-recent-ids";
pub const LATEST: &str = "weir-latest";
pub const RAW: &str = "weir-raw";
pub const LAKE: &str = "weir-lake";

impl Process {
    /// Starts one on a free port, with the stream, the tables and the buckets.
    pub fn start() -> Self {
        let port = Port::free();
        let endpoint = format!("http://127.0.0.1:{}", port.number);
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(program())
            .env("GATEWAY_PORT", port.number.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self { child, endpoint, _port: port, _folder: folder };
        process.wait_until_ready();
        process.make_resources();
        process
    }

    fn wait_until_ready(&mut self) {
        let health = format!("{}/_ministack/health", self.endpoint);
        // A machine may be busy.
        for _ in 0..3000 {
            assert!(self.child.try_wait().unwrap().is_none(), "the emulator has ended");
            if ureq::get(&health).call().is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("the emulator did not start");
    }

    fn make_resources(&self) {
        for (table, keys) in [
            (COUNTS, &[("pk", "HASH"), ("sk", "RANGE")][..]),
            (USERS, &[("username", "HASH")]),
            (IDS, &[("id", "HASH")]),
            (LATEST, &[("pk", "HASH"), ("sk", "RANGE")]),
        ] {
            let attribute = |name| json!({"AttributeName": name, "AttributeType": "S"});
            let attributes: Value = keys.iter().map(|(name, _)| attribute(*name)).collect();
            let key = |name, kind| json!({"AttributeName": name, "KeyType": kind});
            let keys: Value = keys.iter().map(|(name, kind)| key(*name, *kind)).collect();
            let table = json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": attributes, "KeySchema": keys});
            self.call("DynamoDB_20120810.CreateTable", &table);
        }
        for bucket in [RAW, LAKE] {
            ureq::put(format!("{}/{bucket}", self.endpoint)).send_empty().unwrap();
        }
        let destination = json!({"RoleARN": "arn:aws:iam::000000000000:role/firehose",
            "BucketARN": format!("arn:aws:s3:::{RAW}"), "Prefix": "raw/"});
        let stream = json!({"DeliveryStreamName": STREAM, "ExtendedS3DestinationConfiguration": destination});
        self.call("Firehose_20150804.CreateDeliveryStream", &stream);
    }

    /// A call of a service that speaks JSON, such as `AmazonAthena.GetQueryExecution`. It must succeed.
    pub fn call(&self, operation: &str, body: &Value) -> Value {
        let request = ureq::post(&self.endpoint)
            .header("x-amz-target", operation)
            .header("content-type", "application/x-amz-json-1.1");
        let answer = request.send(body.to_string()).unwrap_or_else(|error| panic!("{operation}: {error}"));
        let answer = answer.into_body().read_to_vec().unwrap();
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The emulator, below the `target` of the workspace.
fn program() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let installed = package.ancestors().map(|folder| folder.join("target/emulator/bin/ministack"));
    installed.into_iter().find(|path| path.exists()).expect("the emulator is not installed: run ./check once")
}
