//! The forms of files that `weir send` reads: other delimiters, arrays, folders, other names; and what it does without sending.

use super::{
    BTreeMap, Files, Stdio, assert_ended, clicks, command, count, fs, json, once, printed, said, send, stored,
};
use crate::harness::{Value, Weir};

#[test]
fn tabs_semicolons_and_other_names_are_read_where_they_are_named() {
    let (weir, files) = (Weir::start(), Files::new());
    let kind = ["--type", "button_click"];
    let sent = |options: &[&str]| send(&weir, &files, &[&kind[..], options].concat());
    files.write("a.tsv", "session_id\tbutton_id\ns\t\"a,\tb\"\n");
    assert_ended(&sent(&["a.tsv"]), 0, "a.tsv: 1 sent");
    files.write("b.csv", "Session;Button;n\ns;\"x;y\";1\n");
    let maps = ["--map", "Session=session_id", "--map", "Button=button_id"];
    // The delimiter is not guessed, and what to write is said.
    let guessed = sent(&["b.csv"]);
    assert_eq!(guessed.status.code(), Some(1));
    assert!(
        said(&guessed).contains("separated by semicolons, it seems: say so with --delimiter ';'"),
        "{}",
        said(&guessed)
    );
    let mistyped = sent(&["b.csv", "--delimiter", ";", "--map", "Sesion=session_id"]);
    assert_eq!(mistyped.status.code(), Some(1));
    assert!(
        said(&mistyped).contains("no column is named Sesion")
            && said(&mistyped).contains("did you mean Session?")
    );
    assert_ended(&sent(&[&["b.csv", "--delimiter", ";"][..], &maps].concat()), 0, "b.csv: 1 sent");
    files.write("c.ndjson", r#"{"Session": "s", "Button": "c", "price": 1.10}"#);
    assert_ended(&sent(&[&["c.ndjson"][..], &maps].concat()), 0, "c.ndjson: 1 sent");
    weir.wait_until_filed();
    let mut lines = weir.lines("lake/username=demo/button_click");
    lines.sort_by_key(|line| line["button_id"].to_string());
    let buttons: Vec<&Value> = lines.iter().map(|line| &line["button_id"]).collect();
    assert_eq!(buttons, [&json!("a,\tb"), &json!("c"), &json!("x;y")]);
    for wrong in [&["--delimiter", "ab"][..], &["--map", "a"]] {
        assert_eq!(sent(&[wrong, &["b.csv"]].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn arrays_and_folders_are_sent_event_by_event_and_again_count_once() {
    let (weir, files) = (Weir::start(), Files::new());
    let folder = files.path("export");
    fs::create_dir(&folder).unwrap();
    let events: Vec<String> = clicks(0..700).lines().map(str::to_owned).collect();
    fs::write(folder.join("a.json"), format!("[\n{}\n]\n", events.join(",\n"))).unwrap();
    fs::write(folder.join("b.ndjson"), clicks(700..701)).unwrap();
    for no_events in ["notes.txt", "old.rejected.ndjson", "a.json.weir-sent.new"] {
        fs::write(folder.join(no_events), "{").unwrap();
    }
    let sent = send(&weir, &files, &["export"]);
    assert_eq!((sent.status.code(), said(&sent).as_str()), (Some(0), ""));
    assert!(
        printed(&sent).starts_with("export/a.json: 700 sent")
            && printed(&sent).contains("\nexport/b.ndjson: 1 sent")
    );
    assert_ended(&send(&weir, &files, &["export/a.json"]), 0, "export/a.json: 0 sent, 700 duplicates");
    assert_eq!(stored(&weir), once(0..701));
}

#[test]
fn an_array_that_is_cut_off_is_refused_before_anything_is_sent_and_so_is_more_after_it() {
    let (weir, files) = (Weir::start(), Files::new());
    let events = clicks(0..600).lines().collect::<Vec<_>>().join(",");
    fs::create_dir(files.path("export")).unwrap();
    for (text, why) in [
        (format!("[{events}"), "the array is not closed after its element 599: is the file whole?"),
        (format!("[{events}] x"), "there is more after the array"),
    ] {
        files.write("cut.json.gz", super::gzip(text.as_bytes()));
        fs::write(files.path("export/a.json"), &text).unwrap();
        fs::write(files.path("export/b.ndjson"), clicks(0..1)).unwrap();
        for path in ["cut.json.gz", "export"] {
            let sent = send(&weir, &files, &[path]);
            let said = said(&sent);
            assert_eq!((sent.status.code(), printed(&sent)), (Some(1), String::new()), "{said}");
            assert!(said.contains("nothing was sent") && said.contains(why), "{said}");
            assert_eq!(said.contains("1 file was not sent, after export/a.json"), path == "export", "{said}");
        }
    }
    assert_eq!(count(&weir), 0);
    // A pipe cannot be read twice: what stands before the end was sent.
    let mut child =
        command(&files, &weir.url(), &weir.credentials, &["-"]).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("[{events}").as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(count(&weir), 599);
}

#[test]
fn a_dry_run_prints_what_would_be_sent_and_too_many_rejected_lines_end_a_run() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("clicks.csv", "id,session_id,button_id\n7,s,b\n8,s\n");
    let dry = ["clicks.csv", "--type", "button_click", "--map", "id=event_id", "--dry-run"];
    let output = send(&weir, &files, &dry);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let event: Value = serde_json::from_str(&printed(&output)).unwrap();
    assert_eq!(
        event,
        json!({"event_type": "button_click", "event_id": "7", "session_id": "s", "button_id": "b"})
    );
    assert!(said(&output).contains("line 3: the row has 2 cells, and the header 3"), "{}", said(&output));
    assert_eq!((count(&weir), files.names()), (json!(0), vec!["clicks.csv".to_owned()]));

    // Different reasons, so that the beginning is no reason to stop.
    let bad = |n: usize| {
        format!(
            "{{\"event_type\":\"button_click\",\"session_id\":{}}}\n",
            if n.is_multiple_of(2) { "1" } else { "\"s\"" }
        )
    };
    files.write("bad.ndjson", (0..40).map(bad).collect::<String>() + &clicks(0..10));
    let limited = ["bad.ndjson", "--batch", "10", "--concurrency", "1", "--max-rejected", "15"];
    let output = send(&weir, &files, &limited);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains(
            "20 lines were rejected, more than --max-rejected 15: what is left of the file is not sent"
        ),
        "{}",
        said(&output)
    );
    assert_eq!(stored(&weir), BTreeMap::new());
    // The same command again finds as many, and sends nothing more.
    let again = send(&weir, &files, &limited);
    assert_eq!((again.status.code(), stored(&weir)), (Some(1), BTreeMap::new()), "{}", said(&again));
    for words in ["more than --max-rejected 15", "a higher --max-rejected goes on after what is done"] {
        assert!(said(&again).contains(words), "{}", said(&again));
    }
    // Where all was sent, nothing is left to go on with: each run says the same.
    files.write("small.ndjson", (0..4).map(bad).collect::<String>());
    for _ in 0..2 {
        let output = send(&weir, &files, &["small.ndjson", "--max-rejected", "2"]);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("4 lines were rejected, more than --max-rejected 2"),
            "{}",
            said(&output)
        );
        assert!(!files.names().contains(&"small.ndjson.weir-sent".to_owned()), "{:?}", files.names());
    }
    let output = send(&weir, &files, &["bad.ndjson", "--max-rejected", "40"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert_eq!(stored(&weir), once(0..10));
}

#[test]
fn a_json_object_over_several_lines_is_refused_before_anything_is_sent() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("one.json", "\u{feff}{\r\n  \"event_type\": \"button_click\",\n  \"session_id\": \"s\"\n}\n");
    let output = send(&weir, &files, &["one.json"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("one.json: it has a JSON object over several lines"), "{}", said(&output));
    assert_eq!(weir.get("/rejected").json()["rejected"], json!([]));
    assert_eq!(stored(&weir), BTreeMap::new());
}
