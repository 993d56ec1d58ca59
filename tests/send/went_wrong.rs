//! What goes wrong: servers that are killed, answers that refuse, runs that are interrupted, and words that make no sense.

use std::{fs, process::Command};

use super::{
    Files, Weir, assert_ended, clicks, command, count, eventually, forwarder::Forwarder, gzip, json, once,
    printed, said, scripted::Scripted, send, stored,
};

#[test]
fn everything_is_there_once_although_the_server_was_killed_in_the_middle() {
    let (mut weir, files) = (Weir::start(), Files::new());
    let forwarder = Forwarder::to(&weir.url());
    files.write("many.ndjson", clicks(0..20_000));
    let sending =
        command(&files, forwarder.url(), &weir.credentials, &["--batch", "100", "many.ndjson"]).spawn();
    let sending = sending.unwrap();
    for events in [1_000, 6_000, 11_000] {
        eventually("some of it is there", || count(&weir).as_u64().unwrap() >= events);
        weir.kill();
        weir.restart();
        forwarder.turn_to(&weir.url());
    }
    let sent = sending.wait_with_output().unwrap();
    assert_ended(&sent, 0, "many.ndjson: ");
    assert_eq!(stored(&weir), once(0..20_000));
}

#[test]
fn an_interrupted_run_says_how_to_go_on_and_goes_on_there() {
    let (weir, files) = (Weir::start(), Files::new());
    let text = "{}\n".to_owned() + &clicks(0..100_000);
    files.write("many.ndjson.gz", gzip(text.as_bytes()));
    let state = files.path("many.ndjson.gz.weir-sent");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let done = || -> u64 {
            let text = fs::read(&state).unwrap_or_default();
            serde_json::from_slice::<super::Value>(&text).map_or(0, |state| state["lines"].as_u64().unwrap())
        };
        let (before, arguments) = (done(), ["--batch", "5", "many.ndjson.gz"]);
        let child = command(&files, &weir.url(), &weir.credentials, &arguments).spawn().unwrap();
        eventually("some of it is done", || done() > before);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let stopped = child.wait_with_output().unwrap();
        assert_eq!(stopped.status.code(), Some(code), "{}", said(&stopped));
        assert!(
            said(&stopped).starts_with("weir: interrupted; the same command goes on"),
            "{}",
            said(&stopped)
        );
        assert!(done() > before && done() < 100_001, "{} lines", done());
    }
    let sent = send(&weir, &files, &["many.ndjson.gz"]);
    assert_ended(&sent, 3, "many.ndjson.gz: ");
    assert!(
        printed(&sent).contains(", 0 duplicates, 1 rejected")
            && printed(&sent).contains("lines were done before")
    );
    assert_eq!(files.rejected("many.ndjson.gz.rejected.ndjson").len(), 1);
    assert_eq!(stored(&weir), once(0..100_000));
    assert_eq!(files.names(), ["many.ndjson.gz", "many.ndjson.gz.rejected.ndjson"]);
}

#[test]
fn a_state_that_does_not_fit_any_more_is_not_believed() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("few.ndjson", clicks(0..3));
    files.write("few.ndjson.weir-sent", "{");
    let sent = send(&weir, &files, &["few.ndjson"]);
    assert_eq!(sent.status.code(), Some(0));
    assert!(
        said(&sent).starts_with("weir: few.ndjson.weir-sent is of no use, it is damaged: "),
        "{}",
        said(&sent)
    );
    assert_eq!((stored(&weir), files.names().len()), (once(0..3), 1));
}

#[test]
fn what_was_not_stored_is_sent_again_with_its_id_and_nothing_else_is() {
    let server = Scripted::start(&[
        (207, "sdrn"),
        (503, "{\"title\":\"Not now\"}"),
        (503, "n"),
        (429, "{}"),
        (200, "s"),
    ]);
    let files = Files::new();
    files.write("four.ndjson", clicks(0..4));
    let sent = command(&files, server.url(), "u:s", &["four.ndjson"]).output().unwrap();
    assert_ended(
        &sent,
        3,
        "four.ndjson: 2 sent, 1 duplicates, 1 rejected (see four.ndjson.rejected.ndjson) in ",
    );
    let requests = server.requests();
    assert_eq!(requests.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1, 1, 1, 1]);
    for request in &requests[1..] {
        assert_eq!(request[0], requests[0][3]);
    }
    let rejected = &files.rejected("four.ndjson.rejected.ndjson")[0];
    assert_eq!((&rejected["line"], &rejected["errors"][0]["path"]), (&json!(3), &json!("/a")));
    assert_eq!(rejected["body"], clicks(2..3).trim());
}

#[test]
fn a_body_that_is_too_large_is_sent_in_parts_and_an_event_that_is_is_rejected() {
    let large = (413, r#"{"title":"Too large"}"#);
    let server = Scripted::start(&[large, large, large, (200, "s"), (200, "ss")]);
    let files = Files::new();
    files.write("four.ndjson", clicks(0..4));
    let sent = command(&files, server.url(), "u:s", &["four.ndjson"]).output().unwrap();
    assert_ended(&sent, 3, "four.ndjson: 3 sent, 0 duplicates, 1 rejected");
    assert_eq!(server.requests().iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 1, 1, 2]);
    assert_eq!(files.rejected("four.ndjson.rejected.ndjson")[0]["errors"][0]["message"], "Too large");
}

#[test]
fn it_gives_up_where_no_answer_comes_and_says_how_to_go_on() {
    let files = Files::new();
    files.write("four.ndjson", clicks(0..4));
    let busy = (503, r#"{"title":"Not now"}"#);
    let server = Scripted::start(&[(200, "ss"), busy, busy, busy, busy, busy, busy, busy, busy]);
    let arguments = ["--batch", "2", "--retry-for", "1s", "four.ndjson"];
    let sent = command(&files, server.url(), "u:s", &arguments).output().unwrap();
    assert_eq!(sent.status.code(), Some(1));
    assert!(printed(&sent).starts_with("four.ndjson: 2 sent"), "{}", printed(&sent));
    let message = said(&sent);
    assert!(message.contains("weir: the same command goes on behind what is done"), "{message}");
    assert!(
        message.contains("weir: four.ndjson: gave up after trying for ") && message.contains("503 Not now"),
        "{message}"
    );
    assert!(files.path("four.ndjson.weir-sent").exists());
}

#[test]
fn a_limit_of_requests_slows_it_down_and_loses_nothing() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--requests-per-second", "10"]);
    let files = Files::new();
    files.write("few.ndjson", clicks(0..40));
    assert_ended(
        &send(&weir, &files, &["--batch", "1", "few.ndjson"]),
        0,
        "few.ndjson: 40 sent, 0 duplicates",
    );
    assert_eq!(stored(&weir), once(0..40));
}

#[test]
fn what_cannot_work_is_said_at_once_and_clearly() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("a.ndjson", clicks(0..3));
    files.write("a.csv", "session_id,button_id\ns,b\n");
    files.write("array.json", "[{}]");
    files.write("twice.csv", "event_type,a,a\n");
    files.write("what", "a,b\n");
    files.write("secret", "demo:wrong\n");
    files.write("empty", "\n");
    let (url, who) = (weir.url(), weir.credentials.clone());
    let reader = weir.output(&["user", "add", "reader", "--scope", "read"]);
    let nobody = Scripted::start(&[(404, "{}")]);
    let moved = Scripted::start(&[(301, "{}")]);
    let cases: &[(&str, &str, &[&str], i32, &str)] = &[
        (&url, "demo:wrong", &["a.ndjson"], 1, "does not accept the credentials of demo"),
        (
            &url,
            &who,
            &["--credentials-file", "secret", "a.ndjson"],
            1,
            "does not accept the credentials of demo",
        ),
        (
            &url,
            &who,
            &["--credentials-file", "empty", "a.ndjson"],
            1,
            "empty has no credentials: they are USER:SECRET",
        ),
        (&url, reader.trim(), &["a.ndjson"], 1, "needs the scope write"),
        (&url, "", &["a.ndjson"], 1, "Set the variable WEIR_CREDENTIALS to USER:SECRET"),
        (&url, "demo", &["a.ndjson"], 1, "WEIR_CREDENTIALS has no credentials"),
        ("http://127.0.0.1:1", &who, &["a.ndjson"], 1, "cannot reach http://127.0.0.1:1: "),
        ("127.0.0.1:1", &who, &["--type", "button_click", "a.csv"], 1, "cannot reach http://127.0.0.1:1: "),
        ("ftp://x", &who, &["a.ndjson"], 1, "Weir speaks http and https"),
        (nobody.url(), &who, &["a.ndjson"], 1, "there is no Weir at "),
        (moved.url(), &who, &["a.ndjson"], 1, "redirects to /elsewhere"),
        (&url, &who, &["missing"], 1, "cannot read missing: "),
        (&url, &who, &["a.ndjson", "."], 1, "cannot read .: it is a folder"),
        (&url, &who, &["array.json"], 1, "it is a JSON array"),
        (&url, &who, &["a.csv"], 1, "of which type are the rows?"),
        (&url, &who, &["twice.csv"], 1, "has \"a\" twice"),
        (&url, &who, &["what"], 1, "is what NDJSON or CSV? Say it with --format"),
        (
            &url,
            &who,
            &["--rejected", "r", "a.ndjson", "a.ndjson"],
            1,
            "--rejected names the file for one FILE",
        ),
        (&url, &who, &[], 2, "required"),
        (&url, &who, &["--batch", "0", "a.ndjson"], 2, "--batch"),
        (&url, &who, &["--type", "No", "a.ndjson"], 2, "--type"),
    ];
    for (to, who, arguments, code, expected) in cases {
        let sent = command(&files, to, who, arguments).output().unwrap();
        assert_eq!(sent.status.code(), Some(*code), "{arguments:?}: {}", said(&sent));
        assert!(said(&sent).contains(expected), "{arguments:?}: {}", said(&sent));
        assert!(!said(&sent).contains("wrong ") && !said(&sent).contains("panicked"), "{}", said(&sent));
        // Where nothing was done, the error says all there is.
        let summary = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert!(!summary.contains(": 0 sent, 0 duplicates, 0 rejected"), "{arguments:?}: {summary}");
    }
    // The folder came behind a file that could be sent.
    assert_eq!(stored(&weir), once(0..3));
    assert!(!files.names().iter().any(|name| name.contains("weir-sent")), "{:?}", files.names());
}
