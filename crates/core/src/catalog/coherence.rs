//! Checks that a schema agrees with itself: its `required` names fields that it has, and its `examples` are valid.

use jsonschema::Validator;
use serde_json::{Map, Value};

/// The path of the member that disagrees, and the reason.
type Fault = (Vec<String>, String);

/// The keywords that hold schemas for the same value.
const SAME_VALUE: [&str; 7] = ["allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"];

/// Looks for a name in `required` that is not a field, here or in an object within. If fields may come from elsewhere (`$ref`,
/// `patternProperties`), nothing is reported.
pub(super) fn required(schema: &Value) -> Option<Fault> {
    look_for_required(schema, &mut Vec::new(), true)
}

fn look_for_required(schema: &Value, path: &mut Vec<String>, outermost: bool) -> Option<Fault> {
    let object = schema.as_object()?;
    if let Some(names) = object.get("required").and_then(Value::as_array)
        && (outermost || object.contains_key("properties"))
        && let Some(fields) = fields(object)
        && let Some((at, name)) = names
            .iter()
            .enumerate()
            .find(|(_, name)| name.as_str().is_some_and(|name| !fields.contains(&name)))
    {
        let name = name.as_str().unwrap_or_default().escape_debug();
        let path = path.iter().cloned().chain(["required".to_owned(), at.to_string()]).collect();
        return Some((path, format!("required names {name}, which is not among the properties")));
    }
    for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
        path.extend(["properties".to_owned(), name.clone()]);
        let fault = look_for_required(property, path, false);
        path.truncate(path.len() - 2);
        if fault.is_some() {
            return fault;
        }
    }
    let items = object.get("items")?;
    path.push("items".to_owned());
    let fault = look_for_required(items, path, false);
    path.pop();
    fault
}

/// Returns the fields of an object's schema, including those of its alternatives; `None` if they cannot all be known.
fn fields(object: &Map<String, Value>) -> Option<Vec<&str>> {
    if ["$ref", "$dynamicRef", "patternProperties"].iter().any(|word| object.contains_key(*word)) {
        return None;
    }
    let own = object.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut found: Vec<&str> = own.map(|(name, _)| name.as_str()).collect();
    for value in SAME_VALUE.iter().filter_map(|word| object.get(*word)) {
        let schemas: Vec<&Value> = match value {
            Value::Array(schemas) => schemas.iter().collect(),
            // A schema (`if`, `then`, `else`), or the values of `dependentSchemas`.
            Value::Object(members) => std::iter::once(value).chain(members.values()).collect(),
            _ => Vec::new(),
        };
        for schema in schemas.into_iter().filter_map(Value::as_object) {
            found.extend(fields(schema)?);
        }
    }
    Some(found)
}

/// Looks for an example that the schema refuses: of the whole event, or of one field. The message does not repeat the value.
pub(super) fn examples(schema: &Map<String, Value>, validator: &Validator) -> Option<Fault> {
    let whole = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
    for (at, example) in whole.enumerate() {
        if let Some(error) = validator.iter_errors(example).next() {
            let path = vec!["examples".to_owned(), at.to_string()];
            let place = error.instance_path().as_str().to_owned();
            let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
            return Some((path, format!("the example is not valid: {place}{}", error.masked())));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, property) in properties {
        let of_field = property.get("examples").and_then(Value::as_array).into_iter().flatten();
        for (at, example) in of_field.enumerate() {
            let mut event = Map::new();
            event.insert(name.clone(), example.clone());
            let event = Value::Object(event);
            // The event has no other field, so only faults of this field count.
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let of_this = |place: &str| place == pointer || place.starts_with(&format!("{pointer}/"));
            let wrong = validator.iter_errors(&event).find(|error| of_this(error.instance_path().as_str()));
            if let Some(error) = wrong {
                let path = ["properties", name, "examples", &at.to_string()].map(str::to_owned).into();
                return Some((path, format!("the example is not valid: {}", error.masked())));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missing(schema: &Value) -> Option<String> {
        required(schema).map(|(path, message)| format!("/{} {message}", path.join("/")))
    }

    #[test]
    fn a_required_name_that_is_no_field_is_found_wherever_it_is() {
        let nested = json!({"properties": {"a": {"type": "array", "items":
            {"properties": {"b": {}}, "required": ["b", "c"]}}}});
        let of_nested = "/properties/a/items/required/1 required names c, which is not among the properties";
        assert_eq!(missing(&nested), Some(of_nested.to_owned()));
        let of_whole = "/required/0 required names emial, which is not among the properties";
        for schema in [
            json!({"properties": {"email": {}}, "required": ["emial"]}),
            json!({"required": ["emial"]}),
            json!({"anyOf": [{"properties": {"email": {}}}], "required": ["emial"]}),
        ] {
            assert_eq!(missing(&schema), Some(of_whole.to_owned()), "{schema}");
        }
    }

    #[test]
    fn a_required_name_that_may_be_a_field_is_left_alone() {
        for schema in [
            json!({"properties": {"a": {}}, "required": ["a"]}),
            json!({"patternProperties": {"^x": {}}, "required": ["xa"]}),
            json!({"$ref": "#/$defs/a", "required": ["a"]}),
            json!({"allOf": [{"$ref": "#/$defs/a"}], "required": ["a"]}),
            json!({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "required": ["a", "b"]}),
            json!({"properties": {"a": {}, "b": {}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"properties": {"a": {"items": {"anyOf": [{"type": "object", "required": ["f"]}]}}}}),
            json!({"if": {"properties": {"a": {}}}, "then": {"properties": {"b": {}}}, "required": ["a", "b"]}),
        ] {
            assert_eq!(missing(&schema), None, "{schema}");
        }
    }
}
