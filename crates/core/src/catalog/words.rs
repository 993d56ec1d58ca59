//! Words of a schema that JSON Schema does not know. A validator ignores them, so a typo (`"propertys"`) would silently check
//! nothing.

use serde_json::Value;
use strsim::osa_distance;

/// The keywords of JSON Schema 2020-12, those that it still reads from earlier drafts, and Weir's own.
const KNOWN: [&str; 59] = [
    "$anchor",
    "$comment",
    "$defs",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "default",
    "definitions",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "deprecated",
    "description",
    "else",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "if",
    "items",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "readOnly",
    "required",
    "then",
    "title",
    "type",
    "unevaluatedProperties",
    "uniqueItems",
];

/// Known words beside them.
const ALSO_KNOWN: [&str; 2] = ["unevaluatedItems", "writeOnly"];

/// The keywords whose value is a schema, or an array of schemas.
const SCHEMAS: [&str; 17] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
    "extends",
];

/// The keywords whose value is an object of schemas.
const NAMED_SCHEMAS: [&str; 6] =
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// A path to a member, and the warning about it.
pub(super) type Remark = (Vec<String>, String);

/// Looks for unknown words at every place of the schema that is a schema itself. Words that begin with `x-` are extensions,
/// and are not reported.
pub(super) fn unknown(schema: &Value) -> Vec<Remark> {
    let mut found = Vec::new();
    look(schema, &mut Vec::new(), &mut found);
    found
}

fn look(schema: &Value, path: &mut Vec<String>, found: &mut Vec<Remark>) {
    let Some(members) = schema.as_object() else { return };
    for (word, value) in members {
        path.push(word.clone());
        if SCHEMAS.contains(&word.as_str()) {
            look_at_each(value, path, found);
        } else if NAMED_SCHEMAS.contains(&word.as_str()) {
            for (name, schema) in value.as_object().into_iter().flatten() {
                path.push(name.clone());
                look(schema, path, found);
                path.pop();
            }
        }
        let known = KNOWN.iter().chain(&ALSO_KNOWN).any(|known| known == word);
        if !known && !word.starts_with("x-") {
            let shown = word.escape_debug();
            let meant = nearest(word).map(|known| format!("; {known} may be meant")).unwrap_or_default();
            found.push((
                path.clone(),
                format!("JSON Schema does not know the word \"{shown}\", so it checks nothing{meant}"),
            ));
        }
        path.pop();
    }
}

fn look_at_each(value: &Value, path: &mut Vec<String>, found: &mut Vec<Remark>) {
    match value {
        Value::Array(schemas) => {
            for (at, schema) in schemas.iter().enumerate() {
                path.push(at.to_string());
                look(schema, path, found);
                path.pop();
            }
        }
        schema => look(schema, path, found),
    }
}

/// Returns the known word most similar to this one, if there is a similar one.
fn nearest(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let distances =
        KNOWN.iter().chain(&ALSO_KNOWN).map(|known| (osa_distance(&word, &known.to_lowercase()), *known));
    distances.min().filter(|(distance, known)| *distance <= 1 + known.len() / 5).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(schema: &Value) -> Vec<String> {
        unknown(schema).into_iter().map(|(path, message)| format!("/{} {message}", path.join("/"))).collect()
    }

    #[test]
    fn an_unknown_word_is_found_at_any_depth_with_the_word_that_may_be_meant() {
        let said = said(&json!({
            "type": "object", "x-weir": {"route": "/a"}, "x-mine": 1, "propertys": {}, "requird": [],
            "properties": {"propertys": {"minlength": 3}, "a": {"anyOf": [{"enums": []}, {"items": {"zzz": 1}}]}},
            "$defs": {"b": {"aditionalProperties": false}},
            "examples": [{"anything": 1}], "const": {"anything": 1}, "default": {"anything": 1},
        }));
        let meant = |path: &str, word: &str, known: &str| {
            format!(
                "{path} JSON Schema does not know the word \"{word}\", so it checks nothing; {known} may be meant"
            )
        };
        assert_eq!(
            said,
            [
                meant("/$defs/b/aditionalProperties", "aditionalProperties", "additionalProperties"),
                meant("/properties/a/anyOf/0/enums", "enums", "enum"),
                "/properties/a/anyOf/1/items/zzz JSON Schema does not know the word \"zzz\", so it checks nothing".to_owned(),
                meant("/properties/propertys/minlength", "minlength", "minLength"),
                meant("/propertys", "propertys", "properties"),
                meant("/requird", "requird", "required"),
            ]
        );
    }
}
