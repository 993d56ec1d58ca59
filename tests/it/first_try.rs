//! What a newcomer pastes works as it is printed.

use std::process::Command;

use crate::harness::{Weir, click, json, path_with_venv};

/// Runs a line as a shell would.
fn shell(weir: &Weir, line: &str) -> String {
    let output = Command::new("sh")
        .args(["-euc", line])
        .env("WEIR_DATA", weir.data())
        .env("PATH", path_with_venv())
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_three_lines_of_the_first_start_post_count_and_query_an_event() {
    let weir = Weir::start();
    let welcome = weir.welcome();
    let lines: Vec<&str> = welcome
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("curl") || line.contains(" query "))
        .collect();
    let [post, count, query] = lines[..] else { panic!("{welcome}") };
    assert_eq!(shell(&weir, post), r#"{"message":"Received"}"#);
    assert_eq!(shell(&weir, count), r#"{"count":1}"#);
    let table = shell(&weir, query);
    assert!(table.contains("abc") && table.contains("button_id") && table.contains('1'), "{table}");
}

#[test]
fn the_first_start_names_the_dashboard_before_all_else_and_how_to_sign_in_there() {
    let weir = Weir::start();
    let welcome = weir.welcome();
    let dashboard = welcome.find(&format!("    {}/\n", weir.url())).unwrap();
    assert!(welcome.contains("Open the dashboard") && dashboard < welcome.find("curl").unwrap(), "{welcome}");
    // A speed that is measured with this program is not Weir's.
    assert_eq!(welcome.contains("cargo build --profile serve"), cfg!(debug_assertions), "{welcome}");
    let page = weir.request("GET", None, "/", &[("accept", "text/html")], b"");
    let (_, secret) = weir.credentials.split_once(':').unwrap();
    // The words of the page's own form.
    for word in ["Username", "Secret"] {
        assert!(page.text().contains(word) && welcome.contains(&word.to_lowercase()), "{welcome}");
    }
    assert!(
        welcome.contains("the username is demo") && welcome.contains(&format!("demo:{secret}\n")),
        "{welcome}"
    );
    assert_eq!(weir.get_as(&format!("demo:{secret}"), "/counts").status, 200);
}

#[test]
fn curl_needs_no_content_type_and_gets_the_documented_answers() {
    let weir = Weir::start();
    let (url, who) = (weir.url(), &weir.credentials);
    let posted = shell(
        &weir,
        &format!(
            r#"curl -s -w ' %{{http_code}}' -u '{who}' -d '{{"url":"https://a.example/?x=1&y","session_id":"s1"}}' {url}/web/page_view"#
        ),
    );
    assert_eq!(posted, r#"{"message":"Received"} 200"#);
    let counted = shell(
        &weir,
        &format!(
            "curl -s -u '{who}' -G --data-urlencode 'url=https://a.example/?x=1&y' {url}/web/page_view/count"
        ),
    );
    assert_eq!(counted, r#"{"count":1}"#);
}

#[test]
fn python_requests_works_as_it_is() {
    let weir = Weir::start();
    let (name, secret) = weir.credentials.split_once(':').unwrap();
    let program = format!(
        r#"
import requests
url, who = "{url}", ("{name}", "{secret}")
for _ in range(3):
    answer = requests.post(url + "/button/click", json={{"session_id": "s1", "button_id": "ä b"}}, auth=who)
    assert answer.status_code == 200 and answer.json() == {{"message": "Received"}}, answer.text
answer = requests.get(url + "/button/click/count", params={{"button_id": "ä b"}}, auth=who)
print(answer.json())
"#,
        url = weir.url()
    );
    let output =
        Command::new("python3").args(["-c", &program]).env("PATH", path_with_venv()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "{'count': 3}");
}

#[test]
fn a_count_is_there_at_once_and_zero_before() {
    let weir = Weir::start();
    assert_eq!(weir.get("/button/click/count?button_id=abc").json(), json!({"count": 0}));
    for n in 1..=5 {
        assert_eq!(weir.post("/button/click", click("s1", "abc")).json(), json!({"message": "Received"}));
        assert_eq!(weir.get("/button/click/count?button_id=abc").json(), json!({"count": n}));
    }
    assert_eq!(weir.get("/button/click/count?button_id=other").json(), json!({"count": 0}));
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": 5}));
}

#[test]
fn an_address_is_read_in_one_way_wherever_one_is_typed() {
    let weir = Weir::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("a.ndjson"),
        r#"{"event_type":"button_click","session_id":"s","button_id":"b"}"#,
    )
    .unwrap();
    let port = weir.url().rsplit_once(':').unwrap().1.to_owned();
    for begin in ["", ":", "localhost:", "127.0.0.1:", "http://localhost:", "http://127.0.0.1:"] {
        for end in ["", "/"] {
            let address = format!("{begin}{port}{end}");
            let run = |arguments: &[&str]| {
                let mut command = weir.command();
                command.args(arguments).current_dir(folder.path()).env("WEIR_CREDENTIALS", &weir.credentials);
                let output = command.output().unwrap();
                (output.status.code(), String::from_utf8(output.stderr).unwrap())
            };
            assert_eq!(run(&["health", "--to", &address]), (Some(0), String::new()), "{address}");
            assert_eq!(run(&["send", "a.ndjson", "--to", &address]), (Some(0), String::new()), "{address}");
            // It is the running server's, so that nothing else can listen there.
            let taken = |option: &str| {
                format!("cannot listen on 127.0.0.1:{port}: choose another address with {option}")
            };
            let (code, said) = run(&["serve", "--data", "new", "--listen", &address]);
            assert_eq!(code, Some(1), "{address}: {said}");
            assert!(said.contains(&taken("--listen")), "{address}: {said}");
            let (code, said) =
                run(&["serve", "--data", "new", "--listen", "0", "--metrics-listen", &address]);
            assert_eq!(code, Some(1), "{address}: {said}");
            assert!(said.contains(&taken("--metrics-listen")), "{address}: {said}");
        }
    }
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": 1}));
}

#[test]
fn a_first_start_that_cannot_listen_makes_nothing() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["--listen", &taken.local_addr().unwrap().to_string(), "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("choose another address with --listen"), "{said}");
    assert!(!data.exists(), "the next start would not be the first");
}

/// Only `weir serve` makes a data folder: users that were added to a folder which no server reads are refused by all.
#[test]
fn a_folder_that_was_mistyped_is_named_and_not_made_by_any_command_but_serve() {
    let place = tempfile::tempdir().unwrap();
    let (typo, empty) = (place.path().join("typo"), place.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let new = place.path().join("new");
    let commands: &[&[&str]] = &[
        &["user", "add", "ann"],
        &["user", "add", "ann", "--password-stdin"],
        &["user", "list"],
        &["user", "remove", "ann"],
        &["user", "rotate", "ann"],
        &["query", "SELECT 1"],
        &["replay"],
        &["audit"],
        &["audit", "--repair"],
        &["counts"],
        &["tail"],
        &["backup", new.to_str().unwrap()],
    ];
    for arguments in commands {
        for data in [&typo, &empty] {
            let command = Command::new(env!("CARGO_BIN_EXE_weir"))
                .args(*arguments)
                .arg("--data")
                .arg(data)
                .env("PATH", path_with_venv())
                .stdin(std::process::Stdio::null())
                .output();
            let output = command.unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let expected =
                format!("there are no data in {}: name the server's folder with --data", data.display());
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(
                said.contains(&expected) && said.contains("The first `weir serve` makes it"),
                "{arguments:?}: {said}"
            );
            assert!(!typo.exists() && std::fs::read_dir(&empty).unwrap().count() == 0, "{arguments:?}");
        }
    }
}

#[test]
fn the_first_start_makes_a_user_who_adds_others_while_it_runs() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    assert_eq!(weir.get_as(&ann, "/counts").status, 200);
    let users = weir.output(&["user", "list"]);
    assert!(users.contains("demo") && users.contains("ann"), "{users}");
}

#[test]
fn filing_again_by_command_changes_nothing_and_says_what_it_did() {
    let mut weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s1", "abc")).status, 200);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let before = weir.lines("lake");
    let said = weir.output(&["replay"]);
    assert_eq!(
        said,
        "1 batch filed again with 1 event; 0 had not been settled before; 0 lines are in quarantine; 0 batches failed\n"
    );
    assert!(weir.output(&["replay", "--to", "2000"]).starts_with("0 batches"));
    assert_eq!(weir.lines("lake"), before);
}
