//! `weir catalog`: what a changed catalog does to the stored events is known before a server has it.

use std::{fs, path::Path, process::Command};

use crate::harness::{Value, Weir, json};

/// `weir catalog` with these words, in a folder: its exit code, and what it printed.
fn catalog(here: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("catalog")
        .args(words)
        .current_dir(here)
        .env_remove("WEIR_DATA")
        .env_remove("WEIR_CATALOG")
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn a_catalog_is_checked_without_a_server_for_mistakes_and_for_what_it_changes_for_stored_events() {
    let folder = tempfile::tempdir().unwrap();
    let write = |schema: &Value| fs::write(folder.path().join("signup.json"), schema.to_string()).unwrap();
    let mut schema = json!({
        "type": "object", "properties": {"plan": {"type": "string"}, "days": {"type": "integer"}},
        "x-weir": {"route": "/shop/signup", "count_by": "plan"}
    });
    write(&schema);
    let types = folder.path().to_str().unwrap();
    let weir = Weir::start_with(&["--catalog", types]);
    let data = weir.data();
    let check = |words: &[&str]| catalog(folder.path(), &[&["check", "--catalog", types], words].concat());
    let with_data = || check(&["--data", data.to_str().unwrap()]);
    let (code, printed) = with_data();
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.ends_with(": 0 findings\n"), "{printed}");

    schema["properties"] = json!({
        "plan": {"type": "string"}, "days": {"type": "string"}, "seats": {"type": "integer", "minimun": 1}
    });
    schema["required"] = json!(["seats"]);
    write(&schema);
    let (code, printed) = with_data();
    assert_eq!(code, Some(3), "{printed}");
    for found in ["minimun", "the field days had the type", "the field seats is now required"] {
        assert!(printed.contains(found), "{found} is not in {printed}");
    }
    assert!(printed.ends_with(": 3 findings\n"), "{printed}");
    // Nothing of it is noted: the server still has the first one, and the next check finds the same.
    assert_eq!(with_data().1, printed);
    // Without stored events, only the mistake is left.
    let (code, printed) = check(&[]);
    assert!(
        code == Some(3)
            && printed.contains("compared with no stored events")
            && printed.ends_with(": 1 finding\n")
    );

    fs::write(folder.path().join("broken.json"), "{").unwrap();
    let (code, printed) = check(&[]);
    assert!(code == Some(1) && printed.contains("broken.json"), "{printed}");
    let (code, printed) = check(&["--data", "typo"]);
    assert!(code == Some(1) && printed.contains("there are no data in typo"), "{printed}");
}

#[test]
fn the_types_are_listed_with_their_routes_and_fields() {
    let folder = tempfile::tempdir().unwrap();
    let (code, table) = catalog(folder.path(), &["list"]);
    assert!(code == Some(0) && table.contains("/button/click") && table.contains("count_by"), "{table}");
    let (_, listed) = catalog(folder.path(), &["list", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let click = listed.iter().find(|one| one["event_type"] == "button_click").unwrap();
    assert_eq!((&click["route"], &click["count_by"]), (&json!("/button/click"), &json!("button_id")));
    assert!(click["required"].as_str().unwrap().contains("session_id"), "{click}");
    assert_eq!(click["latest_by"], Value::Null);
}

#[test]
fn the_built_in_types_are_exported_as_a_beginning_of_a_catalog_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let (code, printed) = catalog(folder.path(), &["export", "my-types"]);
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("start the server with --catalog my-types"), "{printed}");
    let own = folder.path().join("my-types");
    let (_, built_in) = catalog(folder.path(), &["list", "--format", "json"]);
    let list = || catalog(folder.path(), &["list", "--format", "json", "--catalog", "my-types"]).1;
    assert_eq!(list(), built_in);
    fs::write(own.join("signup.json"), r#"{"type": "object", "x-weir": {"route": "/shop/signup"}}"#).unwrap();
    assert!(list().contains("signup") && !built_in.contains("signup"));

    // Nothing is overwritten.
    fs::write(own.join("button_click.json"), r#"{"type": "object", "x-weir": {"route": "/mine"}}"#).unwrap();
    let (code, printed) = catalog(folder.path(), &["export", "my-types"]);
    assert!(code == Some(1) && printed.contains("is there already: name another folder"), "{printed}");
    assert!(fs::read_to_string(own.join("button_click.json")).unwrap().contains("/mine"));
}
