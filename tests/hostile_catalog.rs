//! A catalog with alternatives in it, and events made to keep the validator busy: each is answered, within bounded memory
//! and CPU. The server runs under a memory limit, as one such event once took 24 GB.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::fs;

use harness::{Value, Weir, json};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

/// The most address space that the server may take.
const MEMORY: u64 = 4 << 30;

/// The most CPU that one event may cost, in clock ticks of 10 ms. It is far above what an event of these costs, in an
/// unoptimised build on a busy machine, and far below what it cost once.
const TICKS: u64 = 2000;

fn serve(schemas: &[(&str, Value)]) -> (Weir, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, schema) in schemas {
        fs::write(folder.path().join(format!("{name}.json")), schema.to_string()).unwrap();
    }
    let weir = Weir::start_with(&["--catalog", folder.path().to_str().unwrap()]);
    let process = Pid::from_raw(i32::try_from(weir.process_id()).unwrap());
    prlimit(process, Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) }).unwrap();
    (weir, folder)
}

/// How much CPU the server has used, in clock ticks.
fn ticks(weir: &Weir) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", weir.process_id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A comment and its replies, of two kinds.
fn thread(keyword: &str) -> Value {
    let kind = |name: &str| {
        json!({"type": "object", "required": ["kind"], "properties":
            {"kind": {"const": name}, "reply": {"$ref": "#/$defs/comment"}}})
    };
    let mut comment = json!({});
    comment[keyword] = json!([kind("text"), kind("picture")]);
    json!({"type": "object", "properties": {"comment": {"$ref": "#/$defs/comment"}},
        "x-weir": {"route": format!("/thread/{}", keyword.to_lowercase())}, "$defs": {"comment": comment}})
}

/// A comment with replies so deep; the deepest one is of the kind `last`.
fn comment(depth: usize, last: &str) -> String {
    let open = r#"{"kind":"text","reply":"#.repeat(depth);
    format!(r#"{{"comment":{open}{{"kind":"{last}"}}{}}}"#, "}".repeat(depth))
}

#[test]
fn an_event_of_nested_alternatives_is_judged_at_any_depth_within_bounded_memory() {
    let keywords = ["anyOf", "oneOf"];
    let types = [("thread_any", thread("anyOf")), ("thread_one", thread("oneOf"))];
    let (mut weir, _catalog) = serve(&types);
    for (keyword, depth) in
        keywords.iter().flat_map(|keyword| [1, 8, 16, 40, 100].map(|depth| (keyword, depth)))
    {
        let route = format!("/thread/{}", keyword.to_lowercase());
        let before = ticks(&weir);
        assert_eq!(weir.post(&route, comment(depth, "picture")).status, 200, "{keyword} {depth}");
        let problem = weir.post(&route, comment(depth, "sound")).problem(422, "invalid-event");
        assert!(problem["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{problem}");
        assert!(ticks(&weir) - before < TICKS, "{keyword} {depth}: {} ticks", ticks(&weir) - before);
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
}

#[test]
fn an_event_of_many_values_against_many_alternatives_is_refused_as_too_much_to_check_and_kept() {
    let alternatives: Vec<Value> =
        (0..2000).map(|n| json!({"type": "object", "required": [format!("f{n}")]})).collect();
    let schema = json!({"type": "object", "properties": {"items": {"type": "array", "items": {"anyOf": alternatives}}},
        "x-weir": {"route": "/many"}});
    let (mut weir, _catalog) = serve(&[("many", schema)]);
    let items = |count: usize, item: &str| format!(r#"{{"items":[{}]}}"#, vec![item; count].join(","));
    let before = ticks(&weir);
    let problem = weir.post("/many", items(50_000, "1")).problem(422, "invalid-event");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("50002 values") && message.contains("2000 alternatives"), "{message}");
    // What can be checked is checked, to the last alternative.
    assert_eq!(weir.post("/many", items(500, r#"{"f1999":1}"#)).status, 200);
    weir.post("/many", items(500, r#"{"f2000":1}"#)).problem(422, "invalid-event");
    assert!(ticks(&weir) - before < TICKS, "{} ticks", ticks(&weir) - before);
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=demo/rejected").len(), 2);
    assert_eq!(weir.stop("-TERM"), Some(0));
}
