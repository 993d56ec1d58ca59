//! Latest values in the deployed table. No type of the built-in catalog has any, and a function's catalog is compiled in. So
//! the events come through `weir serve` with a catalog of its own, set up by the stack's output `Environment`.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::stack::Stack;
use crate::harness::{Answer, json, try_request};

/// `weir serve` on the stack; dropping it ends it.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(weir: &Stack, catalog: &Path) -> Self {
        let script =
            format!("{}\nexec \"$0\" serve --engine aws --listen 127.0.0.1:0", weir.output("Environment"));
        let mut child = Command::new("sh")
            .args(["-euc", &script, env!("CARGO_BIN_EXE_weir")])
            .env_clear()
            .env("AWS_ENDPOINT_URL", &weir.aws.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("WEIR_CATALOG", catalog)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut told).unwrap();
        let url = told.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("the server did not start: {told:?}")).to_owned();
        Self { child, url }
    }

    fn request(&self, method: &str, who: &str, path: &str, body: &str) -> Answer {
        try_request(&self.url, method, Some(who), path, &[], body.as_bytes()).expect("the server answers")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_newest_event_of_a_resource_is_read_from_the_deployed_table() {
    let weir = Stack::shared();
    let ann = weir.user("latest-ann");
    // A type of the built-in catalog keeps none.
    assert_eq!(weir.get(&ann, "/button/click/latest").status, 404);
    let catalog = tempfile::tempdir().unwrap();
    let schema = json!({
        "type": "object",
        "properties": {"sensor_id": {"type": "string"}},
        "required": ["sensor_id"],
        "x-weir": {"route": "/sensor/reading", "latest_by": "sensor_id"},
    });
    fs::write(catalog.path().join("reading.json"), schema.to_string()).unwrap();
    let server = Server::start(weir, catalog.path());
    for (id, occurred_at, text) in
        [("new", 1_795_000_002_000_u64, "x".repeat(10_000)), ("late", 1_795_000_001_000, String::new())]
    {
        let event =
            json!({"event_id": id, "sensor_id": "s-1", "occurred_at": occurred_at, "text": text}).to_string();
        assert_eq!(server.request("POST", &ann, "/sensor/reading", &event).status, 200);
        let latest = server.request("GET", &ann, "/sensor/reading/latest?sensor_id=s-1", "");
        assert_eq!((latest.status, &latest.json()["event_id"]), (200, &json!("new")));
    }
    let key = json!({"pk": {"S": "latest-ann#reading"}, "sk": {"S": "key#s-1"}});
    let kept = json!({"TableName": weir.output("LatestTable"), "Key": key});
    let kept = weir.aws.call("DynamoDB_20120810.GetItem", &kept)["Item"].take();
    assert_eq!(kept["time"]["N"], "1795000002000");
    let objects = weir.aws.keys(weir.output("LakeBucket"), "latest/latest-ann/");
    assert_eq!(kept["object"]["S"].as_str(), objects.first().map(String::as_str));
}
