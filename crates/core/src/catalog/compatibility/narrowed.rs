//! Compares what two JSON Schemas of one field refuse.

use serde_json::Value;

/// Returns the keywords by which a changed schema may refuse values that were taken before. A keyword whose meaning is not compared
/// here counts if it is new or has changed.
pub(super) fn limits(old: &Value, new: &Value) -> Vec<&'static str> {
    const AT_MOST: [&str; 5] = ["exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"];
    const AT_LEAST: [&str; 5] = ["exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"];
    const OTHER: [&str; 12] = [
        "allOf",
        "anyOf",
        "const",
        "contains",
        "format",
        "items",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "properties",
        "required",
    ];
    let number = |schema: &Value, keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let is_tighter = |keyword: &str, than: fn(f64, f64) -> bool| {
        let (was, is) = (number(old, keyword), number(new, keyword));
        is.is_some_and(|is| was.is_none_or(|was| than(is, was)))
    };
    let mut found: Vec<&'static str> = Vec::new();
    found.extend(AT_MOST.iter().filter(|keyword| is_tighter(keyword, |is, was| is < was)));
    found.extend(AT_LEAST.iter().filter(|keyword| is_tighter(keyword, |is, was| is > was)));
    found.extend(
        OTHER.iter().filter(|keyword| new.get(keyword).is_some_and(|is| old.get(keyword) != Some(is))),
    );
    if let Some(values) = new.get("enum").and_then(Value::as_array) {
        let before = old.get("enum").and_then(Value::as_array);
        if before.is_none_or(|before| before.iter().any(|value| !values.contains(value))) {
            found.push("enum");
        }
    }
    for (keyword, tight) in [("additionalProperties", false), ("uniqueItems", true)] {
        let has = |schema: &Value| schema.get(keyword) == Some(&Value::Bool(tight));
        if has(new) && !has(old) {
            found.push(keyword);
        }
    }
    found.sort_unstable();
    found
}

/// Returns whether a schema takes no other members than those that it names.
pub(super) fn is_closed(schema: &Value) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false))
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
    }
}
