//! What docs/SECURITY.md claims and no other test checks: hostile texts have no effect in a terminal, log, SQL or header.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use crate::harness::{self, PATIENCE, Weir, basic, click, json};

/// Clears the screen, colours, sets the title, in both forms; turns the text around.
const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\r\u{8}\u{7f}\u{202e}z";

/// Whether a terminal would print it and no more.
fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
}

#[test]
fn no_event_reaches_the_terminal_that_shows_it() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", HOSTILE)).status, 200);
    let rejected = json!({"event_type": "button_click", HOSTILE: HOSTILE}).to_string();
    assert_eq!(weir.post("/events", rejected).status, 422);
    for sql in ["SELECT * FROM button_click", "SELECT * FROM rejected", "SELECT * FROM events"] {
        let table = weir.output(&["query", sql]);
        assert!(table.contains("demo") && is_harmless(&table), "{table:?}");
    }
    assert!(weir.output(&["query", "SELECT button_id FROM button_click"]).contains(r"│ a\u{1b}[2J"));
    // DuckDB's errors quote values.
    let output = weir.run(&["query", "SELECT button_id::INTEGER FROM button_click"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains(r"a\u{1b}[2J") && is_harmless(&said), "{said:?}");
    // Programs get every byte.
    assert_eq!(weir.query("SELECT button_id FROM button_click"), [json!({"button_id": HOSTILE})]);
}

#[test]
fn an_audit_spells_out_the_keys_it_finds() {
    let mut weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", HOSTILE)).status, 200);
    weir.wait_until_filed();
    assert_eq!(weir.stop("-TERM"), Some(0));
    fs::remove_dir_all(weir.data().join("lake/username=demo")).unwrap();
    let output = weir.run(&["audit"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("live key") && is_harmless(&said), "{said:?}");
}

#[test]
fn no_log_holds_a_secret_or_what_a_client_sent() {
    const MARK: &str = "mark-of-a-stranger";
    let mut weir = Weir::start_with(&["--failed-sign-ins", "3", "--flush-every", "100ms"]);
    weir.stop("-TERM");
    weir.run_by = ["env", "WEIR_LOG=trace"].map(str::to_owned).into();
    weir.restart();
    let secret = weir.credentials.split_once(':').unwrap().1.to_owned();
    assert_eq!(weir.post("/button/click", click("s", MARK)).status, 200);
    assert_eq!(weir.post("/events", format!(r#"{{"event_type":"{MARK}","x":"{MARK}"}}"#)).status, 422);
    weir.post_with(
        "/events",
        MARK,
        &[("x-header", MARK), ("content-encoding", MARK), ("content-type", MARK)],
    );
    weir.get(&format!("/{MARK}?{MARK}={MARK}"));
    weir.get(&format!("/counts/{MARK}?after={MARK}"));
    for guess in 0..5 {
        weir.get_as(&format!("demo:{MARK}-{guess}"), "/counts");
        weir.get_as(&format!("{MARK}:weir_{MARK}"), "/counts");
    }
    weir.wait_until_filed();
    weir.stop("-TERM");
    let log = weir.log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "everything is logged: {log}");
    assert!(!log.contains(MARK), "{}", log.lines().find(|line| line.contains(MARK)).unwrap());
    assert!(!log.contains(&secret), "the secret is in the log");
    assert!(!log.contains(&basic(&weir.credentials)), "the header is in the log");
}

#[test]
fn nothing_that_is_sent_comes_back_in_a_header_or_as_a_page() {
    const MARK: &str = "<script>mark</script>%0d%0ax-mark:1";
    for origins in ["*", "https://a.example"] {
        let weir = Weir::start_with(&["--allow-origins", origins]);
        let escaped = "%3Cscript%3Emark%3C/script%3E%0d%0ax-mark:1";
        let headers = [("origin", "https://mark.example"), ("x-mark", MARK), ("accept", "text/html")];
        for (method, path) in [
            ("GET", format!("/{escaped}")),
            ("GET", format!("/counts/{escaped}")),
            ("GET", format!("/button/click/count?button_id=a&button_id={escaped}")),
            ("GET", format!("/counts/button_click?limit={escaped}&limit%20={escaped}")),
            ("POST", "/events".to_owned()),
            ("OPTIONS", "/events".to_owned()),
            ("MARK", "/counts".to_owned()),
        ] {
            let body = json!({"event_type": MARK, MARK: MARK}).to_string();
            let answer = weir.request(method, Some(&weir.credentials), &path, &headers, body.as_bytes());
            for (name, value) in &answer.headers {
                assert!(!format!("{name}: {value}").contains("mark"), "{method} {path}: {name}: {value}");
            }
            let content_type = answer.header("content-type").unwrap_or("none");
            let expected = if method == "OPTIONS" { "none" } else { "application/problem+json" };
            assert_eq!(content_type, expected, "{method} {path}: {}", answer.text());
        }
        let event = json!({"event_type": MARK, MARK: MARK}).to_string();
        let answer = weir.post("/events", &event);
        assert_eq!((answer.status, answer.header("content-type")), (422, Some("application/problem+json")));
        // Where it is asked for, it comes as the text of a JSON string.
        let answer = weir.request("GET", Some(&weir.credentials), "/rejected", &headers, b"");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(!format!("{:?}", answer.headers).contains("mark"), "{:?}", answer.headers);
        assert_eq!(answer.json()["rejected"][0]["event"], event);
    }
}

/// Sends bytes on a connection of their own, and gives all that comes until the server ends it.
fn raw(weir: &Weir, bytes: &str) -> String {
    let mut stream = TcpStream::connect(weir.url().strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut said = Vec::new();
    // A server that has refused a request may reset the connection instead of ending it.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

/// A proxy in front that reads the end of a request elsewhere would hand on a second one as a part of its body.
#[test]
fn a_request_with_two_ends_never_becomes_two_requests() {
    let weir = Weir::start_with(&["--client-timeout", "3s", "--idle-timeout", "3s"]);
    let hidden =
        format!("GET /counts HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n", basic(&weir.credentials));
    // Two requests that are two are answered as such: what follows would be seen.
    let two = raw(&weir, &format!("GET /health HTTP/1.1\r\nhost: x\r\n\r\n{hidden}"));
    assert_eq!(two.matches("HTTP/1.1 200").count(), 2, "{two}");
    assert!(two.contains("\"counts\""), "{two}");
    let framings = [
        "content-length: 5\r\ncontent-length: 6\r\n".to_owned(),
        "content-length: +5\r\n".to_owned(),
        "content-length: 5, 6\r\n".to_owned(),
        "transfer-encoding: chunked, identity\r\n".to_owned(),
        "transfer-encoding: xchunked\r\n".to_owned(),
        "content-length : 5\r\n".to_owned(),
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", hidden.len() + 5),
    ];
    thread::scope(|scope| {
        let (weir, hidden) = (&weir, &hidden);
        for framing in &framings {
            scope.spawn(move || {
                let head = format!("POST /events HTTP/1.1\r\nhost: x\r\n{framing}\r\n");
                let said = raw(weir, &format!("{head}0\r\n\r\n{hidden}"));
                let answers = said.matches("HTTP/1.1 ").count();
                assert!(answers <= 1 && !said.contains("\"counts\""), "{framing}: {said}");
            });
        }
    });
    assert_eq!(weir.get("/counts").status, 200);
}

#[cfg(unix)]
#[test]
fn the_data_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let weir = Weir::start();
    assert_eq!(fs::metadata(weir.data()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_data_folder_that_others_could_read_is_closed_with_all_its_files() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut weir = Weir::start();
    assert_eq!(weir.stop("-TERM"), Some(0));
    let data = weir.data();
    // As earlier versions left them, or another program; what is missing is made in the open folder.
    fs::remove_file(data.join("events.db")).unwrap();
    for (name, open) in [("users.db", 0o644), ("lock", 0o664), ("", 0o755)] {
        fs::set_permissions(data.join(name), fs::Permissions::from_mode(open)).unwrap();
    }
    weir.restart();
    assert!(weir.log().contains("it is its owner's alone now"), "{}", weir.log());
    weir.user("ann");
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    weir.wait_until_filed();
    // While it is served, the logs of the databases are there too.
    for name in ["events.db", "events.db-wal", "events.db-shm", "users.db", "users.db-wal", "lock"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    weir.kill();
    let mut below = vec![data];
    while let Some(path) = below.pop() {
        assert_eq!(mode(&path) & 0o077, 0, "{}", path.display());
        if path.is_dir() {
            below.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn no_name_of_a_field_or_folder_becomes_sql() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog");
    fs::create_dir(&catalog).unwrap();
    let names = ["a\"b", "a'b", "x\", (SELECT 1) AS \"y", "'); DROP VIEW odd; --", "a;b", "{c}", "$$", "\\'"];
    let properties: serde_json::Map<_, _> =
        names.iter().map(|&name| (name.to_owned(), json!({"type": "string"}))).collect();
    let schema = json!({"type": "object", "properties": properties, "x-weir": {"route": "/odd"}});
    fs::write(catalog.join("odd.json"), schema.to_string()).unwrap();
    let weir = Weir::start_with(&["--catalog", catalog.to_str().unwrap(), "--flush-every", "100ms"]);
    let event: serde_json::Map<_, _> = names.iter().map(|&name| (name.to_owned(), json!(name))).collect();
    assert_eq!(weir.post("/odd", json!(event).to_string()).status, 200);
    weir.wait_until_filed();

    let odd = folder.path().join("it's \"odd\"; [*]?");
    copy(&weir.data(), &odd);
    for data in [&weir.data(), &odd] {
        let output = weir
            .command()
            .args(["query", "--format", "json", "--catalog", catalog.to_str().unwrap(), "--data"])
            .arg(data)
            .arg("SELECT * FROM odd")
            .output()
            .unwrap();
        let rows: Vec<harness::Value> = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(rows.len(), 1, "{}", data.display());
        for name in names {
            assert_eq!(rows[0][name], *name, "{name} in {}", data.display());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[test]
fn every_package_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    let mut packages = vec![root.to_owned(), root.join("benches")];
    for folder in ["crates", "functions"] {
        packages.extend(fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    let manifests: Vec<PathBuf> =
        packages.into_iter().map(|package| package.join("Cargo.toml")).filter(|path| path.exists()).collect();
    assert!(manifests.len() >= 8, "{manifests:?}");
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("[lints]\nworkspace = true\n"), "{}", manifest.display());
    }
}
