//! Compares what two JSON Schemas of one field refuse.

use serde_json::Value;

/// Returns the keywords by which a changed schema may refuse values that were taken before. A keyword whose meaning is not compared
/// here counts if it is new or has changed.
pub(super) fn limits(old: &Value, new: &Value) -> Vec<String> {
    const AT_MOST: [&str; 5] = ["exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"];
    const AT_LEAST: [&str; 5] = ["exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"];
    /// Says nothing about values, or is compared elsewhere.
    const NO_LIMITS: [&str; 16] = [
        "$anchor",
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "additionalProperties",
        "default",
        "definitions",
        "deprecated",
        "description",
        "enum",
        "examples",
        "readOnly",
        "title",
        "type",
        "writeOnly",
    ];
    let number = |schema: &Value, keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let is_tighter = |keyword: &str, than: fn(f64, f64) -> bool| {
        let (was, is) = (number(old, keyword), number(new, keyword));
        is.is_some_and(|is| was.is_none_or(|was| than(is, was)))
    };
    let mut found: Vec<String> = Vec::new();
    for (keyword, is) in new.as_object().into_iter().flatten() {
        let keyword = keyword.as_str();
        let may_refuse = if AT_MOST.contains(&keyword) {
            is_tighter(keyword, |is, was| is < was)
        } else if AT_LEAST.contains(&keyword) {
            is_tighter(keyword, |is, was| is > was)
        } else if keyword == "uniqueItems" {
            *is == Value::Bool(true) && old.get(keyword) != Some(is)
        } else {
            !NO_LIMITS.contains(&keyword) && !keyword.starts_with("x-") && old.get(keyword) != Some(is)
        };
        if may_refuse {
            found.push(keyword.to_owned());
        }
    }
    if let Some(values) = new.get("enum").and_then(Value::as_array) {
        let before = old.get("enum").and_then(Value::as_array);
        if before.is_none_or(|before| before.iter().any(|value| !values.contains(value))) {
            found.push("enum".to_owned());
        }
    }
    // A schema for other members, or none of them.
    let others = new.get("additionalProperties").filter(|others| **others != Value::Bool(true));
    if others.is_some_and(|others| old.get("additionalProperties") != Some(others)) {
        found.push("additionalProperties".to_owned());
    }
    found.sort_unstable();
    found
}

/// Returns the same of the schemas of two whole types, of which fields are compared one by one, and required ones are named.
pub(super) fn limits_of_types(old: &Value, new: &Value) -> Vec<String> {
    let mut found = limits(old, new);
    found.retain(|keyword| !["properties", "required"].contains(&keyword.as_str()));
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_limit_that_is_new_or_tighter_is_found_and_one_that_is_wider_or_gone_is_not() {
        let tests = [
            ("maximum", json!(5), json!(4)),
            ("minimum", json!(5), json!(6)),
            ("minLength", json!(1), json!(2)),
            ("enum", json!(["a", "b"]), json!(["a"])),
            ("additionalProperties", json!(true), json!(false)),
            ("additionalProperties", json!(true), json!({"type": "string"})),
            ("uniqueItems", json!(false), json!(true)),
        ];
        for (keyword, wide, tight) in tests {
            let [wide, tight] = [wide, tight].map(|value| json!({ "type": "x", keyword: value }));
            assert_eq!(limits(&wide, &tight), [keyword]);
            assert_eq!(limits(&json!({"type": "x"}), &tight), [keyword]);
            assert_eq!(limits(&tight, &wide), [""; 0]);
            assert_eq!(limits(&tight, &tight), [""; 0]);
            assert_eq!(limits(&tight, &json!({"type": "x"})), [""; 0]);
        }
        assert_eq!(limits(&json!({"pattern": "a"}), &json!({"pattern": "b"})), ["pattern"]);
        assert_eq!(limits(&json!({"pattern": "a", "title": "x"}), &json!({"title": "y"})), [""; 0]);
        for keyword in ["$ref", "if", "patternProperties", "minContains", "allOf"] {
            assert_eq!(
                limits_of_types(&json!({"properties": {}}), &json!({ keyword: 1, "x-weir": 1 })),
                [keyword]
            );
        }
        assert_eq!(limits_of_types(&json!({}), &json!({"properties": 1, "required": ["a"]})), [""; 0]);
    }
}
