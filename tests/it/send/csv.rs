//! CSV that is not what it should be: `weir send` says so, names the row, and guesses nothing.

use std::{io::Write, process::Stdio};

use super::{Files, assert_ended, command, count, printed, said, send};
use crate::harness::{Value, Weir, json};

/// The buttons of the clicks that are stored, in order.
fn buttons(weir: &Weir) -> Vec<String> {
    weir.wait_until_filed();
    let clicks = weir.lines("lake/username=demo/button_click");
    let mut buttons: Vec<_> =
        clicks.iter().map(|click| click["button_id"].as_str().unwrap().to_owned()).collect();
    buttons.sort();
    buttons
}

const TYPE: [&str; 2] = ["--type", "button_click"];

#[test]
fn a_file_with_a_misplaced_quote_is_refused_before_anything_is_sent_and_the_row_is_named() {
    let (weir, files) = (Weir::start(), Files::new());
    let head = "session_id,button_id\n";
    for (rows, expected) in [
        ("s1,\"unclosed\ns2,b2\ns3,b3\n", "the row at line 2 opens a quote that is never closed"),
        ("s1,b1\ns2,\"unclosed\ns3,\"b3\"\n", "the row at line 3 has text after a closing quote"),
        ("s1,b1\n\ns2,\"b\" x\ns3,b3\n", "the row at line 4 has text after a closing quote"),
        ("s1,\"over\nlines\"\ns2,\"b", "the row at line 4 opens a quote that is never closed"),
    ] {
        files.write("a.csv", format!("{head}{rows}"));
        files.write("a.csv.gz", super::gzip(format!("{head}{rows}").as_bytes()));
        for file in ["a.csv", "a.csv.gz"] {
            let sent = send(&weir, &files, &[&TYPE[..], &[file]].concat());
            assert_eq!((sent.status.code(), printed(&sent)), (Some(1), String::new()), "{rows:?}");
            assert!(
                said(&sent).contains(expected) && said(&sent).contains("nothing was sent"),
                "{}",
                said(&sent)
            );
        }
    }
    files.write("a.csv", "session_id,\"button_id\ns1,b1\n");
    let sent = send(&weir, &files, &[&TYPE[..], &["a.csv"]].concat());
    assert!(said(&sent).contains("the row at line 1 opens a quote"), "{}", said(&sent));
    assert_eq!(count(&weir), 0);

    // A pipe cannot be read twice: what stands before the row was sent.
    let mut child =
        command(&files, &weir.url(), &weir.credentials, &["--format", "csv", TYPE[0], TYPE[1], "-"]);
    let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{head}s1,b1\ns2,\"b2\ns3,b3\n").as_bytes()).unwrap();
    let sent = child.wait_with_output().unwrap();
    assert_eq!(sent.status.code(), Some(1));
    assert!(said(&sent).contains("the row at line 3 opens a quote that is never closed"), "{}", said(&sent));
    assert_eq!(buttons(&weir), ["b1"]);
}

#[test]
fn a_row_of_which_it_is_certain_where_it_ends_is_rejected_by_itself() {
    let (weir, files) = (Weir::start(), Files::new());
    let rows = "session_id,button_id\ns1,b1\ns2\ns3,b3,more\ns4,5\" screen\ns5,\"5\"\" screen\"\ns6,b6\n";
    files.write("a.csv", rows);
    let sent = send(&weir, &files, &[&TYPE[..], &["a.csv"]].concat());
    assert_ended(&sent, 3, "a.csv: 3 sent, 0 duplicates, 3 rejected (see a.csv.rejected.ndjson) in ");
    let rejected = files.rejected("a.csv.rejected.ndjson");
    let short: Vec<_> = rejected.iter().map(|line| (line["line"].clone(), line["body"].clone())).collect();
    let expected =
        [(3, "s2"), (4, "s3,b3,more"), (5, "s4,5\" screen")].map(|(n, row)| (json!(n), json!(row)));
    assert_eq!(short, expected);
    assert!(rejected[2].to_string().contains("a quote within a cell that is not quoted"), "{rejected:?}");
    assert_eq!(buttons(&weir), ["5\" screen", "b1", "b6"]);
}

#[test]
fn where_quotes_are_letters_each_cell_is_sent_as_it_is() {
    let (weir, files) = (Weir::start(), Files::new());
    files.write("a.tsv", "session_id\tbutton_id\ns1\t5\" screen\ns2\t\"so\ns3\t\"x\"\"y\"\n");
    let refused = send(&weir, &files, &[&TYPE[..], &["a.tsv"]].concat());
    let why = said(&refused);
    assert!(why.contains("line 3 has text after a closing quote") && why.contains("--no-quotes"), "{why}");
    let sent = send(&weir, &files, &[&TYPE[..], &["a.tsv", "--no-quotes"]].concat());
    assert_ended(&sent, 0, "a.tsv: 3 sent, 0 duplicates, 0 rejected in ");
    assert_eq!(buttons(&weir), ["\"so", "\"x\"\"y\"", "5\" screen"]);
    files.write("a.ndjson", "{}\n");
    let refused = send(&weir, &files, &["a.ndjson", "--no-quotes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("--no-quotes is for CSV and TSV"), "{}", said(&refused));
}

#[test]
fn csv_from_a_pipe_is_asked_about_and_its_byte_order_mark_is_no_part_of_a_name() {
    let (weir, files) = (Weir::start(), Files::new());
    let piped = |options: &[&str], text: &str| {
        let arguments = [&TYPE[..], options, &["-"]].concat();
        let mut child = command(&files, &weir.url(), &weir.credentials, &arguments);
        let mut child = child.stdin(Stdio::piped()).spawn().unwrap();
        // It may have ended before it has read all of it.
        let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
        child.wait_with_output().unwrap()
    };
    let rows = "session_id,button_id\ns1,b1\n";
    for text in [rows, &format!("\u{feff}{rows}")] {
        let asked = piped(&[], text);
        assert_eq!(asked.status.code(), Some(1), "{}", printed(&asked));
        assert!(said(&asked).contains("standard input: is it NDJSON or CSV?"), "{}", said(&asked));
    }
    assert_eq!(weir.get("/counts").json()["rejected"]["total"], 0);
    assert_ended(&piped(&["--format", "csv"], &format!("\u{feff}{rows}")), 0, "standard input: 1 sent");
    assert_ended(
        &piped(&["--format", "csv"], "\u{feff}\"session_id\",button_id\ns2,b2\n"),
        0,
        "standard input: 1 sent",
    );
    let event = "{\"session_id\":\"s\",\"button_id\":\"b3\"}";
    assert_ended(&piped(&[], &format!("\u{feff}{event}")), 0, "standard input: 1 sent");
    assert_eq!(buttons(&weir), ["b1", "b2", "b3"]);
}

#[test]
fn a_file_without_an_event_is_named() {
    let (weir, files) = (Weir::start(), Files::new());
    for (name, text) in
        [("a.csv", ""), ("b.csv", "session_id,button_id\n"), ("c.ndjson", "\n"), ("d.json", "[]")]
    {
        files.write(name, text);
        let sent = send(&weir, &files, &[&TYPE[..], &[name]].concat());
        assert_eq!(sent.status.code(), Some(0), "{name}");
        assert!(printed(&sent).starts_with(&format!("{name}: 0 sent")), "{}", printed(&sent));
        assert!(said(&sent).contains(&format!("weir: {name}: there is no event in it")), "{}", said(&sent));
    }
    files.write("e.csv", "session_id,button_id\ns,b\n");
    let sent = send(&weir, &files, &[&TYPE[..], &["e.csv"]].concat());
    assert!(!said(&sent).contains("no event"), "{}", said(&sent));
}

#[test]
fn a_header_that_names_no_field_stops_before_the_first_request_with_the_likely_reason() {
    let (weir, files) = (Weir::start(), Files::new());
    let types = [&TYPE[..], &[]];
    for (text, event_type, expected) in [
        ("session_id;button_id\ns1;b1\n", types[0], "separated by semicolons"),
        ("session_id\tbutton_id\ns1\tb1\n", types[0], "separated by tabs"),
        ("event_type;session_id;button_id\nbutton_click;s1;b1\n", types[1], "separated by semicolons"),
        ("Session_Id,Button_Id\ns1,b1\n", types[0], "\"Session_Id\" is not \"session_id\""),
        ("session_id,Button_Id\ns1,b1\n", types[0], "\"Button_Id\" is not \"button_id\""),
        ("button_id\nb1\n", types[0], "button_click requires session_id"),
        ("event_type,a\nbutton_click,s1\n", types[1], "no column is a field of any event type"),
        ("s1,b1\ns2,b2\n", types[0], "its fields are button_id, session_id"),
    ] {
        files.write("a.csv", text);
        let sent = send(&weir, &files, &[event_type, &["a.csv"]].concat());
        assert_eq!(sent.status.code(), Some(1), "{text:?}: {}{}", printed(&sent), said(&sent));
        assert!(said(&sent).contains(expected), "{text:?}: {}", said(&sent));
    }
    let metrics = weir.get("/metrics").text();
    let posts = metrics.lines().any(|line| line.starts_with("weir_requests_total{") && line.contains("POST"));
    assert!(!posts, "{metrics}");
    assert_eq!(weir.get("/counts").json()["rejected"]["total"], 0);
    // A file for Excel is UTF-16, and its columns are separated by tabs.
    let excel: Vec<u8> =
        "\u{feff}session_id\tbutton_id\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    files.write("a.csv", excel);
    let sent = send(&weir, &files, &[&TYPE[..], &["a.csv"]].concat());
    assert_eq!(sent.status.code(), Some(1), "{}", said(&sent));
    assert!(said(&sent).contains("looks like UTF-16"), "{}", said(&sent));
}

#[test]
fn a_cell_of_an_integer_is_one_by_the_rules_of_json_schema_as_in_json() {
    let (weir, files) = (Weir::start(), Files::new());
    let schema = r#"{"type":"object","x-weir":{"route":"/n"},"properties":{"n":{"type":"integer"}}}"#;
    let folder = files.path("catalog");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("number.json"), schema).unwrap();
    let own = Weir::start_with(&["--flush-every", "100ms", "--catalog", folder.to_str().unwrap()]);
    drop(weir);
    let whole = ["5", "5.0", "1e3", "-2E+1", "12345678901234567890"];
    let not_whole = ["5.5", "1e-3", "05", "five"];
    let rows = |numbers: &[&str]| numbers.iter().map(|n| format!("{n}\n")).collect::<String>();
    files.write("n.csv", format!("n\n{}{}", rows(&whole), rows(&not_whole)));
    let sent = send(&own, &files, &["--type", "number", "n.csv"]);
    assert_ended(&sent, 3, "n.csv: 5 sent, 0 duplicates, 4 rejected (see n.csv.rejected.ndjson) in ");
    for number in whole {
        assert_eq!(own.post("/n", format!("{{\"n\":{number}}}")).status, 200, "{number}");
    }
    assert_eq!(own.post("/n", "{\"n\":5.5}").status, 422);
    own.wait_until_filed();
    let sql = "SELECT count(*) AS n FROM number WHERE n = 1000";
    let found = own.output(&["query", "--format", "json", "--catalog", folder.to_str().unwrap(), sql]);
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), json!([{"n": 2}]));
}
