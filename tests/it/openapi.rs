//! The API does what its own description says, whatever is sent: Schemathesis makes requests from `/openapi.json`, good
//! ones and bad ones, and looks at each answer.

use std::process::{Command, Stdio};

use crate::harness::{Weir, path_with_venv};

/// No fault of the server's; no status, content type or body that is not described; nothing refused that the description
/// allows, or taken that it does not; no answer without credentials. The requests are the same in each run.
#[test]
fn every_answer_is_one_that_the_description_has() {
    // Wrong credentials are tried too, more often than anybody may by mistake.
    let weir = Weir::start_with(&["--failed-sign-ins", "0", "--flush-every", "1s"]);
    let settings = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/openapi/schemathesis.toml");
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("schemathesis")
        .args(["--no-color", "--config-file", settings, "run", &format!("{}/openapi.json", weir.url())])
        .args(["--auth", &weir.credentials])
        .env("PATH", path_with_venv())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis runs: ./check installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    // A body may be a whole request of ten thousand events.
    let said: Vec<String> = said.lines().map(|line| line.chars().take(500).collect()).collect();
    let said = said.join("\n");
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let document = weir.request("GET", None, "/openapi.json", &[], b"").json();
    // All of them but the description itself, which it has read.
    let paths = document["paths"].as_object().unwrap().iter().filter(|(path, _)| *path != "/openapi.json");
    let operations: usize = paths.map(|(_, path)| path.as_object().unwrap().len()).sum();
    let all = format!("{operations} selected / {operations} total");
    assert!(said.contains(&all) && said.contains("No issues found"), "{said}");
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
}
