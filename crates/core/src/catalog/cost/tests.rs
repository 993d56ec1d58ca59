use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use proptest::{prelude::*, sample::select};
use serde_json::json;

use super::*;

fn extent(schema: &Value, event: &Value) -> Extent {
    Cost::of(schema).unwrap().extent(event).0
}

fn flaw(schema: &Value) -> (String, String) {
    let (path, reason) = Cost::of(schema).unwrap_err();
    (path.join("/"), reason)
}

#[test]
fn an_ordinary_event_has_all_its_reasons() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}$"},
        "b": {"type": "integer"}, "c": {"type": "array", "items": {"type": "string"}}, "d": {"anyOf": [{"type": "null"}, {"format": "date"}]}},
        "required": ["a", "b"], "additionalProperties": false});
    let event = json!({"a": "01a21c43-c8ef", "b": 1, "c": vec!["x"; 100], "d": null, "e": 1});
    let (extent, steps) = Cost::of(&schema).unwrap().extent(&event);
    assert_eq!(extent, Extent::Reasons);
    // A request may have ten thousand of them.
    assert!(steps * 10_000 <= 4 * MAX_STEPS, "{steps}");
}

#[test]
fn what_a_list_of_any_length_refers_to_does_not_multiply() {
    let list = json!({"properties": {"next": {"$ref": "#"}, "value": {"type": "string"}}});
    let mut event = json!({});
    for _ in 0..100 {
        event = json!({"next": event, "value": 1});
    }
    assert_eq!(extent(&list, &event), Extent::Reasons);
    let tree = json!({"properties": {"children": {"items": {"$ref": "#"}}, "name": {"type": "string"}}});
    let leaf = json!({"name": 1, "children": vec![json!({"name": 1}); 50]});
    assert_eq!(extent(&tree, &json!({"children": vec![leaf; 300]})), Extent::FirstReason);
}

#[test]
fn reasons_are_left_out_where_they_multiply_or_repeat_long_paths() {
    let nested = json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [
        {"properties": {"a": {"$ref": "#/$defs/a"}}}, {"required": ["b"], "properties": {"a": {"$ref": "#/$defs/a"}}}]}}});
    let mut event = json!({});
    for depth in 0..100 {
        event = json!({"a": event});
        let expected = match depth {
            0..5 => Extent::Reasons,
            20.. => Extent::Verdict,
            _ => continue,
        };
        assert_eq!(extent(&nested, &event), expected, "{depth}");
    }
    let items = json!({"additionalProperties": {"items": {"type": "string"}}});
    let of_a_long_name = |bytes: usize| json!({"n".repeat(bytes): vec![1; 1000]});
    assert_eq!(extent(&items, &of_a_long_name(10)), Extent::Reasons);
    assert_eq!(extent(&items, &of_a_long_name(50_000)), Extent::FirstReason);
}

#[test]
fn a_flaw_has_the_place_of_the_schema_that_has_it() {
    let mut definitions = json!({"d16": {}});
    for level in 0..16 {
        let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
        definitions[format!("d{level}")] = json!({"allOf": [next, next]});
    }
    let schema = json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions});
    assert_eq!(flaw(&schema).0, "$defs/d3");
    let schema = json!({"properties": {"a": {"not": {"$ref": "#/properties/a"}}}});
    assert_eq!(flaw(&schema).0, "properties/a/not");
    let schema = json!({"properties": {"a": {"$ref": "https://example.com/a"}}});
    assert_eq!(
        flaw(&schema),
        ("properties/a/$ref".to_owned(), "https://example.com/a is not in this file".to_owned())
    );
}

#[test]
fn a_pattern_weighs_by_its_states() {
    for (pattern, expected) in
        [("", 0), ("abc", 3), ("[a-z]{3}", 3), (r"(?:a|\d){2,10}x", 51), ("((a{9}){9}){9}", 729)]
    {
        assert_eq!(states(pattern), expected, "{pattern}");
    }
}

/// Makes schemas of four definitions that refer to each other. Each schema asks for the format `count`.
fn schema() -> impl Strategy<Value = Value> {
    let reference = (0..4_usize).prop_map(|n| json!({"$ref": format!("#/$defs/d{n}"), "format": "count"}));
    let leaf = prop_oneof![3 => reference, 1 => Just(json!({"format": "count"}))];
    let inner = leaf.prop_recursive(3, 12, 3, |inner| {
        let list = proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            (select(vec!["allOf", "anyOf", "oneOf"]), list.clone())
                .prop_map(|(keyword, list)| json!({keyword: list, "format": "count"})),
            (
                select(vec![
                    "items",
                    "contains",
                    "unevaluatedItems",
                    "additionalProperties",
                    "unevaluatedProperties",
                    "not"
                ]),
                inner.clone()
            )
                .prop_map(|(keyword, inner)| json!({keyword: inner, "format": "count"})),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| json!({"properties": {"a": a, "b": b}, "format": "count"})),
            (inner.clone(), inner.clone()).prop_map(
                |(a, b)| json!({"properties": {"a": a}, "patternProperties": {"a|b": b}, "format": "count"})
            ),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c, "format": "count"})),
            (list, inner).prop_map(
                |(list, inner)| json!({"allOf": list, "unevaluatedProperties": inner, "format": "count"})
            ),
        ]
    });
    proptest::collection::vec(inner, 4).prop_map(|parts| {
        let names = ["d0", "d1", "d2", "d3"].map(str::to_owned);
        let definitions: serde_json::Map<String, Value> = names.into_iter().zip(parts).collect();
        json!({"properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions})
    })
}

/// Makes nested values, with a text at each level.
fn event() -> impl Strategy<Value = Value> {
    let text = select(vec!["good", "bad"]);
    proptest::collection::vec((0..4_u8, text), 1..40).prop_map(|levels| {
        let nested = levels.into_iter().fold(json!("good"), |inner, (kind, text)| match kind {
            0 => json!({"a": inner, "b": text}),
            1 => json!({"b": inner, "a": text}),
            2 => json!([inner, text]),
            _ => json!({"a": inner, "b": inner.get("b").cloned().unwrap_or(json!(text))}),
        });
        json!({"a": nested})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// The validator's own count of checks on the texts of an event never exceeds the bound.
    #[test]
    fn no_event_takes_more_steps_than_its_bound(schema in schema(), event in event()) {
        let Ok(cost) = Cost::of(&schema) else { return Err(TestCaseError::reject("refused")) };
        let (extent, steps) = cost.extent(&event);
        prop_assume!(steps < 2_000_000 && extent != Extent::TooMuch);
        let looks = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&looks);
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .with_format("count", move |text: &str| {
                counter.fetch_add(1, Ordering::Relaxed);
                text != "bad"
            })
            .build(&schema)
            .unwrap();
        let reasons = if extent == Extent::Reasons {
            validator.iter_errors(&event).count() as u64
        } else {
            u64::from(!validator.is_valid(&event))
        };
        prop_assert!(looks.load(Ordering::Relaxed) <= steps, "{} looks, at most {steps} expected", looks.load(Ordering::Relaxed));
        prop_assert!(reasons * REASON <= MAX_REASONS);
    }
}
