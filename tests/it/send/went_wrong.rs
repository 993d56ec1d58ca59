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
    // A file that was corrected in the middle of a run is another file, and its events have other ids.
    files.write("most.ndjson", clicks(3..5) + "oops\n" + &clicks(5..9));
    let most = ["most.ndjson", "--batch", "2", "--concurrency", "1", "--max-rejected", "0"];
    assert_eq!(send(&weir, &files, &most).status.code(), Some(1));
    files.write("most.ndjson", clicks(3..9));
    let sent = send(&weir, &files, &most);
    assert_eq!(sent.status.code(), Some(0));
    let expected = "lines were done before. Events without an event_id of their own have other ids now";
    assert!(said(&sent).contains(expected), "{}", said(&sent));
}

/// The state of a run by a version that made ids from the first 64 KiB of a file, and from `--type` in any case.
#[test]
fn a_run_that_an_older_version_left_half_done_goes_on_with_the_ids_that_it_began_with() {
    use sha2::{Digest, Sha256};

    let server = Scripted::start(&[]);
    let files = Files::new();
    let text = clicks(0..3);
    files.write("three.ndjson", &text);
    let metadata = fs::metadata(files.path("three.ndjson")).unwrap();
    let changed = metadata.modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let seed = Sha256::new().chain_update(b"weir send, a file\0").chain_update(&text).finalize();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let of = json!({"bytes": text.len(), "changed": changed.to_string(), "seed": hex(&seed), "to": server.url(), "user": "u",
        "event_type": "page_view", "rejected": "three.ndjson.rejected.ndjson"});
    let state = json!({"of": of, "lines": 2, "rejected": 0, "rejected_bytes": 0});
    files.write("three.ndjson.weir-sent", state.to_string());
    let sent =
        command(&files, server.url(), "u:s", &["--type", "page_view", "three.ndjson"]).output().unwrap();
    assert_ended(&sent, 0, "three.ndjson: 1 sent");
    let line = text.lines().nth(2).unwrap();
    let id = Sha256::new().chain_update(seed).chain_update(b"page_view\0").chain_update(3_u64.to_le_bytes());
    let id = format!("weir-send-{}", hex(&id.chain_update(line).finalize()[..16]));
    // It has asked for the server's types before.
    assert_eq!(server.requests()[1][0]["event_id"], id);
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
        "four.ndjson: 2 sent, 1 duplicate, 1 rejected (see four.ndjson.rejected.ndjson) in ",
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
    assert!(message.contains("weir: the same command goes on after what is done"), "{message}");
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
    files.write("twice.csv", "event_type,a,a\n");
    files.write("what", "a,b\n");
    fs::create_dir(files.path("folder")).unwrap();
    files.write("secret", "demo:wrong\n");
    files.write("empty", "\n");
    let (url, who) = (weir.url(), weir.credentials.clone());
    let reader = weir.output(&["user", "add", "reader", "--scope", "read"]);
    let other = Scripted::start(&[(404, "{}")]);
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
        ("ftp://x", &who, &["a.ndjson"], 2, "Weir speaks http and https"),
        ("http://u:hidden@x", &who, &["a.ndjson"], 2, "credentials do not belong into an address"),
        (other.url(), &who, &["a.ndjson"], 1, "there is no Weir at "),
        (moved.url(), &who, &["a.ndjson"], 1, "redirects to /elsewhere"),
        (&url, &who, &["missing"], 1, "cannot read missing: "),
        (&url, &who, &["a.ndjson", "folder"], 1, "folder has no files of NDJSON, JSON, CSV, TSV or Parquet"),
        (&url, &who, &["a.csv", "--format", "ndjson", "--delimiter", ";"], 1, "--delimiter is for CSV"),
        (&url, &who, &["a.csv"], 1, "of which type are the rows?"),
        (&url, &who, &["twice.csv"], 1, "has \"a\" twice"),
        (&url, &who, &["what"], 1, "what: is it NDJSON or CSV? Say it with --format"),
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
        assert!(!said(&sent).contains("hidden"), "{}", said(&sent));
        // A summary of noughts says nothing.
        assert!(!printed(&sent).contains(": 0 sent"), "{}", printed(&sent));
        assert!(!said(&sent).contains("wrong ") && !said(&sent).contains("panicked"), "{}", said(&sent));
        // Where nothing was done, the error says all there is.
        let summary = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert!(!summary.contains(": 0 sent, 0 duplicates, 0 rejected"), "{arguments:?}: {summary}");
    }
    // The folder came after a file that could be sent, and was looked at before.
    assert_eq!(stored(&weir), once([]));
    assert!(!files.names().iter().any(|name| name.contains("weir-sent")), "{:?}", files.names());
}

#[test]
fn a_type_that_the_server_does_not_have_is_refused_before_anything_is_sent() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("views.csv", "url,session_id\nhttps://a.example,s\n");
    files.write("views.ndjson", "{\"url\":\"https://a.example\",\"session_id\":\"s\"}\n");
    files.write("clicks.ndjson", clicks(0..1));
    for name in ["views.csv", "views.ndjson", "clicks.ndjson"] {
        let sent = send(&weir, &files, &[name, "--type", "page_vew"]);
        assert_eq!((sent.status.code(), printed(&sent).as_str()), (Some(1), ""), "{}", said(&sent));
        let types = "there is no event type page_vew; there are alias, button_click, group, identify, outcome, page, \
            page_view, prediction, screen and track: did you mean page_view?";
        assert!(said(&sent).contains(types), "{}", said(&sent));
    }
    weir.wait_until_filed();
    assert_eq!(weir.files("raw").len(), 0);
    assert_eq!(files.names(), ["clicks.ndjson", "views.csv", "views.ndjson"]);
    for name in ["views.csv", "views.ndjson"] {
        let sent = send(&weir, &files, &[name, "--type", "page_view"]);
        assert_ended(&sent, 0, &format!("{name}: 1 sent"));
    }
}

#[test]
fn a_file_whose_first_request_is_rejected_whole_for_one_reason_is_sent_on_only_if_that_is_asked_for() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("unknown.ndjson", "{\"event_type\":\"page_vew\"}\n".repeat(20_000));
    files.write("lacks.ndjson", "{\"session_id\":\"s\"}\n".repeat(20_000));
    let rejected = || weir.get("/counts/rejected").json()["total"].as_u64().unwrap_or_default();
    let mut before = 0;
    for (arguments, reason) in [
        (&["unknown.ndjson"][..], "/event_type the catalog has no event type page_vew"),
        (&["lacks.ndjson", "--type", "button_click"], "/button_id is required"),
    ] {
        let sent = send(&weir, &files, arguments);
        assert_eq!(sent.status.code(), Some(1), "{}", said(&sent));
        let expected = format!(
            "the first 500 lines were all rejected for the same reason: {reason}. The rest was not sent"
        );
        assert!(said(&sent).contains(&expected), "{}", said(&sent));
        before += 500;
        assert_eq!(rejected(), before);
        // Nothing of it is taken for done.
        assert!(!files.path(&format!("{}.weir-sent", arguments[0])).exists());
    }
    let all = send(&weir, &files, &["--keep-going", "unknown.ndjson"]);
    assert_ended(&all, 3, "unknown.ndjson: 0 sent, 0 duplicates, 20000 rejected");
    assert_eq!(
        (rejected(), files.rejected("unknown.ndjson.rejected.ndjson").len()),
        (before + 20_000, 20_000)
    );
    // A file that is sent whole by then is done, whatever became of it.
    files.write("few.ndjson", "{\"event_type\":\"page_vew\"}\n".repeat(300));
    assert_ended(&send(&weir, &files, &["few.ndjson"]), 3, "few.ndjson: 0 sent, 0 duplicates, 300 rejected");
}
