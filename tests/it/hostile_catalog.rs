//! Schemas and events made to keep the validator busy: each event is answered within bounded memory and CPU, and a schema
//! that would be too much for any event is refused at the start. The server runs under limits of memory and CPU, as one
//! such event once took 24 GB.

use std::fs;

use crate::harness::{Value, Weir, json};
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
    let seconds = TICKS / 100 * 10;
    prlimit(process, Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds) }).unwrap();
    (weir, folder)
}

/// The most memory that the server has had so far, in MiB. Linux adds it up from a counter a core, so that a later reading can be
/// a little lower.
fn peak(weir: &Weir) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", weir.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// An event type with these members of its schema.
fn of_type(route: &str, members: &Value) -> Value {
    let mut schema = json!({"type": "object", "x-weir": {"route": route}});
    schema.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    schema
}

/// Definitions in which each one, `d0` to `d30`, is made of two references to the next.
fn doubling(pair: impl Fn(Value) -> Value) -> Value {
    let mut definitions = json!({"d30": {"type": "object"}});
    for level in 0..30 {
        definitions[format!("d{level}")] = pair(json!({"$ref": format!("#/$defs/d{}", level + 1)}));
    }
    definitions
}

/// What `weir` says when it is started with a schema that it refuses.
fn refusal(schema: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("heavy.json"), schema).unwrap();
    let mut command = std::process::Command::new("prlimit");
    command.args(["--as=4294967296", "--cpu=100"]).arg(env!("CARGO_BIN_EXE_weir"));
    command.arg("--catalog").arg(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]);
    let output = command.env("WEIR_DATA", folder.path().join("data")).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
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
    assert!(message.starts_with("is too much to check"), "{message}");
    // What can be checked is checked, to the last alternative.
    assert_eq!(weir.post("/many", items(500, r#"{"f1999":1}"#)).status, 200);
    weir.post("/many", items(500, r#"{"f2000":1}"#)).problem(422, "invalid-event");
    assert!(ticks(&weir) - before < TICKS, "{} ticks", ticks(&weir) - before);
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=demo/rejected").len(), 2);
    assert_eq!(weir.stop("-TERM"), Some(0));
}

#[test]
fn a_schema_that_multiplies_at_one_place_is_refused_at_the_start_with_its_line() {
    let chains = ["allOf", "anyOf", "oneOf"].map(|keyword| {
        let schema = json!({"$ref": "#/$defs/d0", "$defs": doubling(|next| {
            let mut pair = json!({});
            pair[keyword] = json!([next, next]);
            pair
        })});
        (schema, "would be checked more than")
    });
    let conditions = doubling(|next| json!({"if": next, "then": next, "else": next}));
    let nested = (0..30)
        .fold(json!({"type": "object"}), |inner, _| json!({"unevaluatedProperties": true, "anyOf": [inner]}));
    let others = [
        (json!({"$ref": "#/$defs/d0", "$defs": conditions}), "would be checked more than"),
        (json!({"properties": {"a": nested}}), "would be checked more than"),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
            "refers to itself",
        ),
        (json!({"allOf": [{"$ref": "#"}]}), "refers to itself"),
        (json!({"properties": {"a": {"$dynamicRef": "#a", "$dynamicAnchor": "a"}}}), "refers to itself"),
    ];
    for (schema, reason) in chains.into_iter().chain(others) {
        let schema = of_type("/heavy", &schema);
        let refusal = refusal(&serde_json::to_string_pretty(&schema).unwrap());
        assert!(refusal.contains("heavy.json:") && refusal.contains(reason), "{schema}\n{refusal}");
    }
}

/// Arrays of nothing but empty arrays, each of its own shape.
fn shapes(bytes: usize) -> String {
    let (mut found, mut next) = (vec!["[]".to_owned()], 0);
    let mut length = 0;
    let mut seen = std::collections::HashSet::new();
    while length < bytes {
        let base = found[next].clone();
        next += 1;
        for shape in [format!("[{base}]"), format!("[[],{}", &base[1..]).replace(",]", "]")] {
            if seen.insert(shape.clone()) {
                length += shape.len() + 1;
                found.push(shape);
            }
        }
    }
    format!("[{}]", found.join(","))
}

/// A name, the members of a schema, and an event.
type Case = (&'static str, Value, String);

/// Schemas that refer to themselves more than once, and events that are deep.
fn recursive_cases() -> Vec<Case> {
    let this = json!({"$ref": "#/$defs/this"});
    let to = |name: &str| json!({"properties": {"a": {"$ref": format!("#/$defs/{name}")}}});
    let into = |name: &str| json!({"properties": {"a": this, name: {"type": "string"}}, "required": ["a"]});
    let definitions = [
        ("any_of", json!({"anyOf": [into("b"), into("c")]})),
        ("all_of", json!({"allOf": [into("b"), into("c"), into("d")]})),
        ("not", json!({"not": into("b"), "allOf": [into("c")]})),
        ("if", json!({"if": into("b"), "then": into("c"), "else": into("d")})),
        ("dependent", json!({"dependentSchemas": {"a": into("b")}, "properties": {"a": this}})),
        ("patterns", json!({"patternProperties": {"a": this, "^a": this}, "additionalProperties": false})),
        ("unevaluated", json!({"allOf": [{"properties": {"a": this}}], "unevaluatedProperties": false})),
        (
            "both",
            json!({"anyOf": [into("b"), {"unevaluatedProperties": this}], "unevaluatedProperties": this}),
        ),
        ("contains", json!({"contains": this, "items": this, "minContains": 2})),
        ("unevaluated_items", json!({"unevaluatedItems": this, "contains": this})),
    ];
    let members = format!("{}{{}}{}", r#"{"a":"#.repeat(100), "}".repeat(100));
    let elements = format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let event =
        |name: &str| if ["contains", "unevaluated_items"].contains(&name) { &elements } else { &members };
    let of_one = definitions.map(|(name, definition)| {
        (name, json!({"properties": {"a": this}, "$defs": {"this": definition}}), event(name).clone())
    });
    let of_three = json!({"x": {"oneOf": [to("y"), to("z")]}, "y": {"anyOf": [to("z"), to("x")]}, "z": {"allOf": [to("x"), to("y")]}});
    let of_many = doubling(|next| json!({"properties": {"a": next, "b": next}}));
    let others =
        [("three", "x", of_three), ("properties", "d0", of_many)].map(|(name, first, definitions)| {
            let mut schema = to(first);
            schema["$defs"] = definitions;
            (name, schema, members.clone())
        });
    of_one.into_iter().chain(others).collect()
}

/// Schemas that ask much of each value, and events that have many values.
fn wide_cases() -> Vec<Case> {
    let names = |count: usize| (0..count).map(|n| format!("f{n}")).collect::<Vec<_>>();
    let patterns: serde_json::Map<String, Value> =
        (0..300).map(|n| (format!("[a-z]+x{n}$"), json!({"type": "string"}))).collect();
    let options: Vec<Value> = (0..2000).map(|n| json!([0, 0, 0, 0, n])).collect();
    let of_a = |schema: Value| json!({"properties": {"a": schema}});
    let array = |item: &str, count: usize| format!(r#"{{"a":[{}]}}"#, vec![item; count].join(","));
    let members: Vec<String> = names(20_000).iter().map(|name| format!(r#""{name}":1"#)).collect();
    let strict = json!({"items": {"type": "string", "minimum": 2, "const": 3, "multipleOf": 4}});
    vec![
        (
            "names",
            of_a(json!({"patternProperties": patterns})),
            format!(r#"{{"a":{{{}}}}}"#, members.join(",")),
        ),
        ("unique", of_a(json!({"uniqueItems": true})), format!(r#"{{"a":{}}}"#, shapes(200_000))),
        ("enum", of_a(json!({"items": {"enum": options}})), array("[0,0,0,0,9999]", 16_000)),
        ("required", of_a(json!({"items": {"required": names(1000)}})), array("{}", 80_000)),
        ("reasons", of_a(strict), array("1", 120_000)),
        (
            "paths",
            json!({"additionalProperties": {"items": {"type": "string"}}}),
            array("1", 70_000).replacen('a', &"n".repeat(100_000), 1),
        ),
        ("text", of_a(json!({"pattern": "a[ab]{900}c"})), format!(r#"{{"a":"{}"}}"#, "ab".repeat(100_000))),
    ]
}

#[test]
fn any_event_is_answered_within_bounded_memory_and_cpu_whatever_its_schema() {
    let cases: Vec<Case> = recursive_cases().into_iter().chain(wide_cases()).collect();
    let schema = |(name, members, _): &Case| (*name, of_type(&format!("/heavy/{name}"), members));
    let (mut weir, _catalog) = serve(&cases.iter().map(schema).collect::<Vec<_>>());
    for (name, _, event) in &cases {
        let (before, memory) = (ticks(&weir), peak(&weir));
        let answer = weir.post(&format!("/heavy/{name}"), event);
        assert!(matches!(answer.status, 200 | 422), "{name}: {answer:?}");
        assert!(ticks(&weir) - before < TICKS, "{name}: {} ticks", ticks(&weir) - before);
        let grown = peak(&weir).saturating_sub(memory);
        assert!(grown < 100, "{name}: {grown} MiB");
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
}

#[test]
fn what_one_request_has_too_much_of_to_be_checked_is_not_stored_and_is_stored_when_sent_again() {
    let alternatives: Vec<Value> =
        (0..2000).map(|n| json!({"type": "object", "required": [format!("f{n}")]})).collect();
    let schema = of_type("/many", &json!({"properties": {"items": {"items": {"anyOf": alternatives}}}}));
    let (mut weir, _catalog) = serve(&[("many", schema)]);
    let event = |id: usize| {
        format!(
            r#"{{"event_type":"many","event_id":"{id}","items":[{}]}}"#,
            vec![r#"{"f1999":1}"#; 500].join(",")
        )
    };
    let mut left: Vec<usize> = (0..40).collect();
    let mut requests = 0;
    while !left.is_empty() {
        let before = ticks(&weir);
        let body: String = left.iter().map(|&id| event(id) + "\n").collect();
        let answer = weir.post("/events", body);
        assert!(ticks(&weir) - before < TICKS, "{} ticks", ticks(&weir) - before);
        assert!(matches!(answer.status, 200 | 207), "{answer:?}");
        let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
        assert_eq!(outcomes.len(), left.len());
        let stored = |outcome: &Value| {
            assert!(outcome["status"] == "stored" || outcome["status"] == "not_stored", "{outcome}");
            outcome["status"] == "stored"
        };
        let rest: Vec<usize> =
            left.iter().zip(&outcomes).filter(|(_, outcome)| !stored(outcome)).map(|(&id, _)| id).collect();
        assert!(rest.len() < left.len(), "each request gets further: {rest:?}");
        left = rest;
        requests += 1;
    }
    assert!(requests > 1, "40 events of that kind are too much for one request");
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=demo/many").len(), 40);
    assert_eq!(weir.stop("-TERM"), Some(0));
}
