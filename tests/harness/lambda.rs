//! Lambdas on a local AWS, for `weir map`.

use std::{path::Path, process::Command};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{json, try_request};

/// The account of a local AWS.
const ACCOUNT: &str = "000000000000";

/// The ARN of a Lambda that the stack `weir` may map over objects.
pub fn mapped(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:weir-map-{name}")
}

/// Makes such a Lambda from a program in Python. It reads and writes the S3 of the same local AWS.
pub fn make_mapped(endpoint: &str, name: &str, program: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("function.py"), program).unwrap();
    let zipped = Command::new("python3")
        .args(["-m", "zipfile", "-c", "function.zip", "function.py"])
        .current_dir(folder.path())
        .status();
    assert!(zipped.unwrap().success());
    let zip = BASE64_STANDARD.encode(std::fs::read(folder.path().join("function.zip")).unwrap());
    let function = json!({
        "FunctionName": format!("weir-map-{name}"), "Runtime": "python3.12", "Handler": "function.handler",
        "Role": format!("arn:aws:iam::{ACCOUNT}:role/function"), "Code": {"ZipFile": zip}, "Timeout": 60,
        "Environment": {"Variables": {"AWS_ENDPOINT_URL": endpoint}},
    });
    let headers = [("content-type", "application/json")];
    let body = function.to_string();
    let made = try_request(endpoint, "POST", None, "/2015-03-31/functions", &headers, body.as_bytes());
    let made = made.expect("the local AWS answers");
    assert_eq!(made.status, 201, "{}", made.text());
}

/// The Lambda of the guide.
pub fn of_the_guide() -> String {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/MAP.md")).unwrap();
    guide.split("```python\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}
