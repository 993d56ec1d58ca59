//! The API does what its own description says, whatever is sent: Schemathesis makes requests from `/openapi.json`, good
//! ones and bad ones, and looks at each answer.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use crate::harness::{Weir, eventually, json, path_with_venv};

/// No fault of the server's; no status, content type or body that is not described; nothing refused that the description
/// allows, or taken that it does not; no answer without credentials. The requests are the same in each run.
#[test]
fn every_answer_is_one_that_the_description_has() {
    // Wrong credentials are tried too, more often than a client may by mistake. Queries are not answered here: hardly any
    // text is SQL.
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
    // All but the stream, which has no end to wait for: `event_streams` tests it.
    let all = format!("{} selected / {operations} total", operations - 1);
    assert!(said.contains(&all) && said.contains("No issues found"), "{said}");
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
}

/// Each described operation is served with its own example, at its limits too, and no other method of its path.
#[test]
fn every_described_route_is_served_within_its_limits_and_no_other_method_of_its_path() {
    let weir = Weir::start_with(&["--queries", "2"]);
    let answers = tempfile::tempdir().unwrap();
    for (name, head) in [("all", ""), ("below", "-- path: a\n")] {
        let sql = format!("-- public: true\n{head}SELECT 1 AS a");
        std::fs::write(answers.path().join(name).with_extension("sql"), sql).unwrap();
    }
    weir.output(&["publish", "--answers", answers.path().to_str().unwrap()]);
    weir.output(&["function", "add", "cat", "--", "cat"]);
    let run = weir.post("/map/cat?type=button_click", "").json()["run"].as_str().unwrap().to_owned();
    eventually("the run is done", || weir.get(&format!("/map/runs/{run}")).json()["state"] == "done");
    let event = json!({"event_type": "button_click", "event_id": "e-1", "session_id": "s", "button_id": "b"});
    assert_eq!(weir.post("/events", event.to_string()).status, 200);
    let document = weir.request("GET", None, "/openapi.json", &[], b"").json();
    let (mut operations, mut limits) = (0, 0);
    for (path, described) in document["paths"].as_object().unwrap() {
        let at = path.replace("{event_type}", "button_click").replace("{answer}/{path}", "below/1");
        let at = at.replace("{answer}", "all").replace("{run}", &run).replace("{event_id}", "e-1");
        let (at, required) = match at.strip_suffix("{function}") {
            Some(above) => (format!("{above}cat"), "?type=button_click"),
            None => (at, ""),
        };
        let ask = |method: &str, query: &str, body: &str| {
            weir.request(method, Some(&weir.credentials), &format!("{at}{query}"), &[], body.as_bytes())
        };
        let sent = &described["post"]["requestBody"]["content"]["application/json"];
        let example = sent.get("example").unwrap_or(&sent["examples"]["many"]["value"]).to_string();
        let sql = described["post"]["requestBody"]["content"]["text/plain"]["example"].as_str();
        let example = sql.map_or(example, str::to_owned);
        let mut allowed: BTreeSet<String> =
            described.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        // A stream has no end, so only its head is requested.
        let get = if path == "/events/stream" { "HEAD" } else { "GET" };
        for method in [get, "POST", "PUT", "PATCH", "DELETE"] {
            let answer = ask(method, required, &example);
            if allowed.contains(method) {
                // One machine answers queries at once, so none is there to be asked for.
                let good = match (required, path.as_str()) {
                    (_, "/query/{query}") => 404,
                    ("", _) => 200,
                    _ => 202,
                };
                assert_eq!(answer.status, good, "{method} {path}: {}", answer.text());
                operations += 1;
            } else {
                assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
                let allow: BTreeSet<String> = answer
                    .header("allow")
                    .unwrap()
                    .split(',')
                    .map(|method| method.trim().to_owned())
                    .collect();
                assert_eq!(allow, allowed, "{path}");
            }
        }
        let parameters = described["get"]["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["schema"]["type"] == "integer") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let [least, usual, most] =
                ["minimum", "default", "maximum"].map(|bound| schema[bound].as_u64().unwrap());
            for (value, status) in
                [(least - 1, 422), (least, 200), (usual, 200), (most, 200), (most + 1, 422)]
            {
                assert_eq!(
                    ask("GET", &format!("?{name}={value}"), "").status,
                    status,
                    "{path} {name} {value}"
                );
            }
            limits += 1;
        }
    }
    assert!(operations > 15 && limits == 4, "{operations} operations, {limits} limits");
}
