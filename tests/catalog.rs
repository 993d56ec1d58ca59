//! An event type is one file; a bad one stops the start, and a change that would break stored data is caught.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::{fs, path::Path};

use harness::{Weir, json};
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
