//! The catalog of a data folder that has events: remembered, and compared with the next one.

use std::fs;

use crate::harness::{Value, Weir, json};

/// A folder with one event type.
fn catalog(name: &str, properties: &Value, count_by: Option<&str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut schema =
        json!({"type": "object", "properties": properties, "x-weir": {"route": format!("/shop/{name}")}});
    if let Some(field) = count_by {
        schema["x-weir"]["count_by"] = json!(field);
    }
    fs::write(folder.path().join(format!("{name}.json")), schema.to_string()).unwrap();
    folder
}

fn serve(catalog: &tempfile::TempDir) -> Weir {
    Weir::start_with(&["--flush-every", "50ms", "--catalog", catalog.path().to_str().unwrap()])
}

/// Starts the server again, with another catalog or with none; gives what it warned of.
fn serve_with(weir: &mut Weir, catalog: Option<&tempfile::TempDir>, flush: &str) -> Vec<String> {
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.options = vec!["--flush-every".to_owned(), flush.to_owned()];
    if let Some(catalog) = catalog {
        weir.options.extend(["--catalog".to_owned(), catalog.path().to_str().unwrap().to_owned()]);
    }
    let before = weir.log().len();
    weir.restart();
    // Its log is read to the end once it has stopped; the next start has nothing more to say.
    assert_eq!(weir.stop("-TERM"), Some(0));
    let text = |line: &str| Some(line.split_once("the catalog changed: ")?.1.to_owned());
    let said = weir.log()[before..].lines().filter_map(text).collect();
    weir.restart();
    said
}

fn keys(weir: &Weir, event_type: &str) -> Value {
    weir.get(&format!("/counts/{event_type}")).json()["keys"].clone()
}

fn text() -> Value {
    json!({"type": "string"})
}

#[test]
fn commands_beside_a_data_folder_use_the_catalog_that_it_was_served_with() {
    let mine = catalog("signup", &json!({"email": text(), "seats": {"type": "integer"}}), Some("email"));
    let mut weir = serve(&mine);
    assert_eq!(weir.query("SELECT seats FROM signup"), Vec::<Value>::new());
    assert_eq!(weir.post("/shop/signup", r#"{"email":"a","seats":3}"#).status, 200);
    let seats = [json!({"seats": 3, "email": "a"})];
    assert_eq!(weir.query("SELECT seats, email FROM signup"), seats);
    assert!(
        !weir.run(&["query", "SELECT * FROM page_view"]).status.success(),
        "it is no type of this catalog"
    );
    weir.output(&["audit"]);
    assert!(weir.output(&["counts", "--keys", "1"]).contains("signup"));
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert_eq!(weir.query("SELECT seats, email FROM signup"), seats, "without a server, too");
    weir.output(&["audit", "--repair"]);
    assert!(weir.run(&["replay"]).status.success());
    assert_eq!(weir.query("SELECT seats, email FROM signup"), seats);
    // A copy has it, too.
    let (backup, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (backup, restored) = (backup.path().join("b"), restored.path().join("r"));
    let [backup, restored] = [&backup, &restored].map(|path| path.to_str().unwrap());
    weir.output(&["backup", backup]);
    weir.output(&["restore", backup, "--data", restored]);
    let sql = ["query", "--data", restored, "--format", "csv", "SELECT seats FROM signup"];
    assert_eq!(weir.output(&sql), "seats\n3\n");
    weir.restart();
}

#[test]
fn a_type_that_only_the_lake_knows_has_a_table_with_its_fields_or_with_whole_events() {
    let old = catalog("signup", &json!({"email": text()}), None);
    let mut weir = serve(&old);
    assert_eq!(weir.post("/shop/signup", r#"{"email":"a"}"#).status, 200);
    weir.wait_until_filed();
    // Renamed: its fields are remembered.
    let new = catalog("registration", &json!({"email": text()}), None);
    let said = serve_with(&mut weir, Some(&new), "50ms");
    assert_eq!(
        said,
        [
            "signup: the type is gone: its events are refused from now on, and stored ones stay in its table. Is --catalog missing?"
        ]
    );
    assert_eq!(weir.post("/shop/registration", r#"{"email":"b"}"#).status, 200);
    let both = "SELECT email FROM signup UNION ALL SELECT email FROM registration ORDER BY 1";
    assert_eq!(weir.query(both), [json!({"email": "a"}), json!({"email": "b"})]);
    // The store forgot it, or never knew it: the lake has it.
    assert_eq!(weir.stop("-TERM"), Some(0));
    let lake = weir.data().join("lake/username=demo");
    fs::rename(lake.join("signup"), lake.join("forgotten")).unwrap();
    let rows = weir.query("SELECT username, received_at > 0 AS received, event_id IS NOT NULL AS id, event->>'email' AS email FROM forgotten");
    assert_eq!(rows, [json!({"username": "demo", "received": true, "id": true, "email": "a"})]);
    assert_eq!(weir.query("SELECT email FROM signup"), Vec::<Value>::new());
    weir.restart();
}

#[test]
fn counts_by_key_belong_to_the_field_that_they_were_made_by() {
    let fields = json!({"plan": text(), "source": text()});
    let by_plan = catalog("signup", &fields, Some("plan"));
    let by_source = catalog("signup", &fields, Some("source"));
    let by_none = catalog("signup", &fields, None);
    let mut weir = serve(&by_plan);
    let signup = |weir: &Weir, plan: &str| {
        let event = json!({"plan": plan, "source": "web"}).to_string();
        assert_eq!(weir.post("/shop/signup", event).status, 200);
    };
    signup(&weir, "free");
    weir.wait_until_filed();
    // These are in the journal at the next start, as their batch is not cut before.
    assert!(serve_with(&mut weir, Some(&by_plan), "1h").is_empty());
    signup(&weir, "free");
    signup(&weir, "paid");
    weir.kill();
    weir.restart();
    assert_eq!(keys(&weir, "signup"), json!([{"key": "free", "count": 2}, {"key": "paid", "count": 1}]));
    signup(&weir, "paid");
    weir.kill();
    weir.options =
        vec!["--flush-every".into(), "1h".into(), "--catalog".into(), by_source.path().display().to_string()];
    weir.restart();
    assert_eq!(keys(&weir, "signup"), json!([]), "those in the journal are by the old field, too");
    signup(&weir, "free");
    assert_eq!(keys(&weir, "signup"), json!([{"key": "web", "count": 1}]));
    assert_eq!(weir.get("/counts/signup").json()["total"], 5);
    let told = "signup: counts by plan are set aside, and only events to come are added to counts by source; to count stored \
                events too, stop the server and run weir audit --repair --type signup";
    assert!(weir.log().contains(told), "{}", weir.log());

    // What the message says works.
    assert_eq!(weir.stop("-TERM"), Some(0));
    assert_eq!(weir.run(&["audit"]).status.code(), Some(3));
    assert!(weir.run(&["audit", "--repair", "--type", "signup"]).status.success());
    assert!(weir.run(&["audit"]).status.success());
    weir.restart();
    assert_eq!(keys(&weir, "signup"), json!([{"key": "web", "count": 5}]));

    // Without a field and back: counts by plan are those that were made by it.
    assert!(
        serve_with(&mut weir, Some(&by_none), "50ms")[0]
            .starts_with("signup: it is not counted by source any more")
    );
    assert_eq!(keys(&weir, "signup"), json!([]));
    serve_with(&mut weir, Some(&by_plan), "50ms");
    assert_eq!(keys(&weir, "signup"), json!([{"key": "free", "count": 2}, {"key": "paid", "count": 2}]));
    signup(&weir, "paid");
    assert_eq!(keys(&weir, "signup"), json!([{"key": "paid", "count": 3}, {"key": "free", "count": 2}]));
    // A catalog that is named to a repair is the one whose keys are made.
    assert_eq!(weir.stop("-TERM"), Some(0));
    let named = by_source.path().display().to_string();
    weir.output(&["audit", "--repair", "--catalog", &named]);
    weir.options = vec!["--catalog".to_owned(), named];
    weir.restart();
    assert!(serve_with(&mut weir, Some(&by_source), "50ms").is_empty(), "the repair said it");
    assert_eq!(keys(&weir, "signup"), json!([{"key": "web", "count": 6}]));
}

#[test]
fn a_field_that_is_renamed_or_has_another_type_is_reported_at_the_start_once() {
    let old = catalog("signup", &json!({"email": text(), "seats": text()}), None);
    let mut weir = serve(&old);
    assert_eq!(weir.post("/shop/signup", r#"{"email":"a","seats":"many"}"#).status, 200);
    let new = catalog("signup", &json!({"mail": text(), "seats": {"type": "integer"}}), None);
    let said = serve_with(&mut weir, Some(&new), "50ms");
    assert!(
        matches!(&said[..], [gone, changed]
        if gone.starts_with("signup: the field email is gone (if it is mail now, old events do not have that): stored events \
            keep it, and SQL reads it from the table events, as event->>'email'")
        && changed.starts_with("signup: the field seats had the type string and now has integer")),
        "{said:#?}"
    );
    let rows = weir.query("SELECT mail, seats FROM signup");
    assert_eq!(rows, [json!({"mail": null, "seats": null})]);
    let rows = weir.query("SELECT event->>'email' AS email FROM events");
    assert_eq!(rows, [json!({"email": "a"})]);
    assert_eq!(serve_with(&mut weir, Some(&new), "50ms"), Vec::<String>::new());
}
