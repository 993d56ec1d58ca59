//! An event type is one file; a bad one stops the start, and a change that would break stored data is caught.

mod changed;
mod commands;

use std::{fs, path::Path};

use crate::harness::{Weir, json};
use weir_core::Catalog;

#[test]
fn one_file_adds_validation_route_counts_description_and_table() {
    let folder = tempfile::tempdir().unwrap();
    let schema = json!({
        "type": "object",
        "properties": {"email": {"type": "string"}, "plan": {"type": "string", "enum": ["free", "paid"]}, "seats": {"type": "integer"}},
        "required": ["email"],
        "x-weir": {"route": "/shop/signup", "count_by": "plan"},
    });
    fs::write(folder.path().join("signup.json"), schema.to_string()).unwrap();
    let weir = Weir::start_with(&["--catalog", folder.path().to_str().unwrap(), "--flush-every", "50ms"]);
    assert_eq!(weir.post("/shop/signup", r#"{"email":"a@b.c","plan":"paid","seats":3}"#).status, 200);
    assert_eq!(weir.post("/shop/signup", r#"{"email":"a@b.c"}"#).status, 200);
    weir.post("/shop/signup", r#"{"email":"a@b.c","plan":"huge"}"#).problem(422, "invalid-event");
    weir.post("/button/click", "{}").problem(404, "not-found");
    assert_eq!(weir.get("/shop/signup/count?plan=paid").json(), json!({"count": 1}));
    assert_eq!(weir.get("/counts/signup").json()["total"], 2);
    let document = weir.get("/openapi.json").json();
    assert!(document["paths"]["/shop/signup"]["post"].is_object());
    assert_eq!(document["components"]["schemas"]["signup"]["required"], json!(["email"]));
    let catalog = folder.path().to_str().unwrap();
    let rows = weir.output(&[
        "query",
        "--catalog",
        catalog,
        "--format",
        "csv",
        "SELECT sum(seats) AS seats FROM signup",
    ]);
    assert_eq!(rows, "seats\n3\n");
}

#[test]
fn a_bad_catalog_stops_the_start_and_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("bad.json"),
        "{\n  \"type\": \"object\",\n  \"x-weir\": {\n    \"route\": \"/Bad\"\n  }\n}\n",
    )
    .unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--data",
            data.path().to_str().unwrap(),
            "--catalog",
            folder.path().to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("bad.json:4: the route must be like /button/click"), "{said}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "nothing is made for a start that fails");
}

#[test]
fn fields_have_the_order_of_the_file_with_required_ones_first_wherever_they_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"type": "object", "x-weir": {"route": "/shop/visit", "count_by": "url"}, "properties": {
        "zone": {"type": "string"}, "url": {"type": "string"}, "agent": {"type": "object", "properties": {"z": {}, "a": {}}},
        "id": {"type": "integer"}, "addr": {"type": "string"}
    }, "required": ["id", "url"], "examples": [{"url": "u", "id": 1, "addr": "x"}]}"#;
    fs::write(folder.path().join("visit.json"), text).unwrap();
    let of_times = r#"{"type": "object", "x-weir": {"route": "/shop/trip"}, "properties": {
        "timestamp": {"type": "string"}, "Date": {"type": "integer"}, "timestamp_": {"type": "integer"}}}"#;
    fs::write(folder.path().join("trip.json"), of_times).unwrap();
    let weir = Weir::start_with(&["--catalog", folder.path().to_str().unwrap(), "--flush-every", "50ms"]);

    // The description, of which the dashboard's form and /docs are made.
    let document = weir.get("/openapi.json").text();
    let in_order = |what: &str, names: &[&str]| {
        let part = &document[document.find(what).unwrap_or_else(|| panic!("{what}"))..];
        let places: Vec<_> = names.iter().map(|name| part.find(&format!("\"{name}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{what}: {names:?} at {places:?}");
    };
    let fields = ["url", "id", "zone", "agent", "z", "a", "addr", "event_id", "occurred_at", "event_type"];
    in_order(r#""visit":{"type":"object","properties""#, &fields);
    assert!(document.contains(r#""example":{"url":"u","id":1,"addr":"x"}"#), "{document}");
    assert!(document.contains(r#""value":{"event_type":"visit","url":"u","id":1,"addr":"x"}"#), "{document}");
    assert!(
        document.contains(r#"{\"event_type\":\"visit\",\"url\":\"u\",\"id\":1,\"addr\":\"x\"}"#),
        "{document}"
    );

    // SQL, without events and with one, and what the first start prints.
    let header = "event_id,time,timestamp,date,received_at,occurred_at,bot,url,id,zone,agent,addr,username,year,month,day,hour";
    let columns = ["query", "--format", "csv", "SELECT * FROM visit"];
    let names = ["query", "--format", "csv", "SELECT column_name FROM (DESCRIBE visit)"];
    assert_eq!(weir.output(&names).lines().skip(1).collect::<Vec<_>>().join(","), header);
    assert_eq!(weir.post("/shop/visit", r#"{"addr":"x","id":1,"url":"u"}"#).status, 200);
    assert_eq!(weir.output(&columns).lines().next(), Some(header));
    assert!(weir.welcome().contains(r#"{"url":"u","id":1,"addr":"x"}"#), "{}", weir.welcome());

    // A type's own fields keep their names; the columns that Weir adds give way.
    let header = "event_id,time,timestamp__,date_,received_at,occurred_at,bot,timestamp,Date,timestamp_,username,year,month,day,hour";
    let columns = ["query", "--format", "csv", "SELECT * FROM trip"];
    assert_eq!(weir.output(&columns).lines().next(), Some(header));
    assert_eq!(weir.post("/shop/trip", r#"{"timestamp":"noon","Date":3,"timestamp_":4}"#).status, 200);
    let own = "SELECT timestamp AS a, \"Date\" AS d, timestamp_ AS b, typeof(timestamp__) AS t, date_ = timestamp__::DATE AS same FROM trip";
    let expected = json!({"a": "noon", "d": 3, "b": 4, "t": "TIMESTAMP", "same": true});
    assert_eq!(weir.query(own), [expected]);
}

/// What a start with this file says; it must fail and make nothing.
fn refusal(folder: &Path, name: &str, text: &str) -> String {
    fs::write(folder.join(name), text).unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap(), "--catalog"])
        .arg(folder)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{text}");
    assert_eq!(fs::read_dir(data.path()).unwrap().count(), 0, "nothing is made for a start that fails");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_field_that_no_query_could_survive_stops_the_start_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(256);
    for (names, reason) in [
        (&[""][..], "a field needs a name"),
        (&["plan", "Plan"], "plan and Plan would be one column in SQL"),
        (&["stra\u{df}e", "STRA\u{1e9e}E"], "would be one column in SQL"),
        (&["a\u{0}b"], "a\\0b has a control character"),
        (&["a\u{1b}[2J"], "has a control character"),
        (&["username"], "username is a column of Weir's own"),
        (&["HOUR"], "HOUR is a column of Weir's own"),
        (&[long.as_str()], "the name of a field has at most 255 bytes"),
    ] {
        let fields: Vec<String> = names.iter().map(|name| format!("{}: {{}}", json!(name))).collect();
        let fields = fields.join(", ");
        let text = format!(
            "{{\"type\": \"object\", \"x-weir\": {{\"route\": \"/a\"}},\n\"properties\": {{\n{fields}}}}}"
        );
        let said = refusal(folder.path(), "odd.json", &text);
        let place = format!("weir: {}/odd.json:3: ", folder.path().display());
        assert!(said.starts_with(&place) && said.contains(reason), "{names:?}: {said}");
    }
}

#[test]
fn every_field_that_a_catalog_may_have_can_be_queried() {
    let names = [
        " ", "a b", "a'b", "a\"b", "a\\b", "a.b", "a,b", "-- x", ";", "json", "event", "rowid", "filename",
        "select", "columns", "é", "漢字", "👍", "$x", "{}", "[0]", "%s",
    ];
    let kinds = ["string", "integer", "boolean", "object"];
    let mut fields: Vec<(String, &str)> =
        names.iter().zip(kinds.iter().cycle()).map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    // More than fits onto a command line.
    fields.extend((0..1500).map(|n| (format!("{n}_{}", "n".repeat(200)), "integer")));
    let properties: serde_json::Map<_, _> =
        fields.iter().map(|(name, kind)| (name.clone(), json!({"type": kind}))).collect();
    let folder = tempfile::tempdir().unwrap();
    let schema = json!({"type": "object", "properties": properties, "x-weir": {"route": "/odd"}});
    fs::write(folder.path().join("odd.json"), schema.to_string()).unwrap();
    let weir = Weir::start_with(&["--catalog", folder.path().to_str().unwrap(), "--flush-every", "50ms"]);
    for is_filled in [false, true] {
        if is_filled {
            let value = |kind: &str| match kind {
                "string" => json!("v"),
                "integer" => json!(1),
                "boolean" => json!(true),
                _ => json!({"x": 1}),
            };
            let event: serde_json::Map<_, _> =
                fields.iter().take(names.len() + 1).map(|(name, kind)| (name.clone(), value(kind))).collect();
            assert_eq!(weir.post("/odd", json!(event).to_string()).status, 200);
        }
        let sent = fields.iter().take(names.len() + 1).map(|(name, _)| name.replace('"', "\"\""));
        let counted: Vec<String> = sent.map(|name| format!("count(\"{name}\")")).collect();
        let sql = format!("SELECT count(*) AS n, [{}] AS found FROM odd", counted.join(", "));
        let n = u64::from(is_filled);
        assert_eq!(weir.query(&sql), [json!({"n": n, "found": vec![n; names.len() + 1]})]);
    }
}

#[test]
fn a_file_that_contradicts_itself_stops_the_start_with_file_and_line_and_says_them_once() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("catalog");
    fs::create_dir(&catalog).unwrap();
    let begin = "{\n\"type\": \"object\", \"x-weir\": {\"route\": \"/shop/signup\"},\n";
    for (rest, said) in [
        (
            "\"properties\": {\"email\": {}}, \"required\": [\"emial\"]}",
            "3: required names emial, which is not among the properties",
        ),
        (
            "\"properties\": {\"n\": {\"type\": \"integer\"}},\n\"examples\": [{\"n\": \"seven\"}]}",
            "4: the example is not valid: /n: value is not of type \"integer\"",
        ),
        (
            "\"properties\": {\"n\": {}},\n\"required\": [\"n\"],\n\"examples\": [{}]}",
            "5: the example is not valid: \"n\" is a required property",
        ),
        ("\"properties\": {\"n\": {},}}", "3: trailing comma"),
    ] {
        let refused = refusal(&catalog, "signup.json", &format!("{begin}{rest}"));
        assert_eq!(refused, format!("weir: {}/signup.json:{said}\n", catalog.display()));
    }
}

#[test]
fn a_word_that_json_schema_does_not_know_is_warned_of_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().to_str().unwrap().to_owned();
    let text =
        "{\"type\": \"object\", \"x-weir\": {\"route\": \"/a\"}, \"x-team\": 1,\n\"propertys\": {\"n\": {}}}";
    fs::write(folder.path().join("a.json"), text).unwrap();
    let mut weir = Weir::start_with(&["--catalog", &catalog]);
    assert_eq!(weir.stop("-TERM"), Some(0));
    let warned: Vec<String> =
        weir.log().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    let expected = format!(
        "{catalog}/a.json:2: JSON Schema does not know the word \"propertys\", so it checks nothing; properties may be meant"
    );
    assert!(matches!(&warned[..], [one] if one.contains(&expected)), "{warned:#?}");
}

/// `tests/stored_catalog/` is the catalog under which events have been stored. A change to `catalog/` that this test
/// refuses would break them: make a new event type instead. After a change that it allows, copy the catalog there.
#[test]
fn the_catalog_still_fits_the_events_that_are_stored() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored_catalog");
    let files: Vec<(String, String)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    assert!(files.len() >= 4);
    let stored = Catalog::read(files.iter().map(|(name, text)| (name.as_str(), text.as_str()))).unwrap();
    let breakages: Vec<String> =
        Catalog::built_in().unwrap().breakages(&stored).iter().map(ToString::to_string).collect();
    assert!(breakages.is_empty(), "{breakages:#?}");
}
