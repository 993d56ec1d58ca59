//! `x-weir`, the member of an event type's file that is Weir's own.

use serde_json::{Map, Value};

use super::{fill::Fill, redact::Redact, route::Route};

/// A fault: the path of the member that has it, and the message.
pub(super) type Fault = (Vec<String>, String);

/// The members of `x-weir`.
const MEMBERS: [&str; 6] = ["route", "count_by", "latest_by", "fill", "redact", "keep_days"];

/// The parameters of the route that lists latest values. A field of that name could not be asked for there.
const PARAMETERS: [&str; 2] = ["limit", "after"];

/// The content of `x-weir`.
pub(super) struct Own {
    /// The route to which events are posted.
    pub(super) route: Route,
    /// The field that counts are broken down by.
    pub(super) count_by: Option<String>,
    /// The field that tells resources apart: the latest event of each of its values is kept.
    pub(super) latest_by: Option<String>,
    /// The fields that the collector fills where an event lacks them.
    pub(super) fill: Vec<Fill>,
    /// The fields whose values are redacted before they are stored.
    pub(super) redact: Redact,
    /// How many days events are kept after the end of their day; `None` for what is kept for all types.
    pub(super) keep_days: Option<u32>,
}

impl Own {
    pub(super) fn read(object: &Map<String, Value>, properties: &Map<String, Value>) -> Result<Self, Fault> {
        let Some(own) = object.get("x-weir").and_then(Value::as_object) else {
            let message = "\"x-weir\": {\"route\": …, \"count_by\": …} is missing, or not an object";
            return Err(fault(&["x-weir"], message.to_owned()));
        };
        if let Some(unknown) = own.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let message = format!("x-weir has no member {unknown}; it may have {}", MEMBERS.join(", "));
            return Err(fault(&["x-weir", unknown], message));
        }
        let route = match own.get("route").and_then(Value::as_str) {
            Some(route) => {
                Route::parse(route).map_err(|e| fault(&["x-weir", "route"], format!("the route {e}")))?
            }
            None => {
                return Err(fault(&["x-weir", "route"], "the route is missing, or not a string".to_owned()));
            }
        };
        let count_by = text_field(own, properties, "count_by", "counted by")?;
        let latest_by = text_field(own, properties, "latest_by", "a key of latest values")?;
        if let Some(field) = latest_by.as_ref().filter(|field| PARAMETERS.contains(&field.as_str())) {
            let message =
                format!("latest_by cannot name {field}, which is a parameter of the list of latest values");
            return Err(fault(&["x-weir", "latest_by"], message));
        }
        let fill = Fill::read(own, properties)?;
        let redact = Redact::read(own, properties)?;
        let keep_days = keep_days(own)?;
        Ok(Self { route, count_by, latest_by, fill, redact, keep_days })
    }
}

fn keep_days(own: &Map<String, Value>) -> Result<Option<u32>, Fault> {
    let Some(value) = own.get("keep_days") else { return Ok(None) };
    let days = value.as_u64().and_then(|days| u32::try_from(days).ok()).filter(|days| *days > 0);
    match days {
        Some(days) => Ok(Some(days)),
        None => {
            Err(fault(&["x-weir", "keep_days"], "keep_days must be a number of days, 1 at least".to_owned()))
        }
    }
}

/// Reads the member of `x-weir` that names a field of text, if it is there. `purpose` says in messages what the field is for.
fn text_field(
    own: &Map<String, Value>,
    properties: &Map<String, Value>,
    member: &str,
    purpose: &str,
) -> Result<Option<String>, Fault> {
    let field = match own.get(member) {
        None => return Ok(None),
        Some(Value::String(field)) => field,
        Some(_) => return Err(fault(&["x-weir", member], format!("{member} must be a string"))),
    };
    match properties.get(field) {
        Some(schema) if is_text(schema) => Ok(Some(field.clone())),
        Some(_) => {
            let message = format!("{member} names {field}, whose type must be \"string\" to be {purpose}");
            Err(fault(&["properties", field], message))
        }
        None => {
            let message = format!("{member} names {field}, which is not among the properties");
            Err(fault(&["x-weir", member], message))
        }
    }
}

pub(super) fn fault(path: &[&str], message: String) -> Fault {
    (path.iter().map(|&name| name.to_owned()).collect(), message)
}

/// Returns whether a property's schema allows nothing but text (or null).
pub(super) fn is_text(property: &Value) -> bool {
    match property.get("type") {
        Some(Value::String(name)) => name == "string",
        Some(Value::Array(names)) => {
            names.iter().any(|name| name == "string")
                && names.iter().all(|name| name == "string" || name == "null")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::Definition;

    fn keep_days(text: &str) -> Result<Option<u32>, String> {
        let schema =
            format!("{{\"type\": \"object\",\n\"x-weir\": {{\"route\": \"/a/b\",\n\"keep_days\": {text}}}}}");
        let read = Definition::read("a.json", &schema).map_err(|error| error.to_string())?;
        Ok(read.keep_days())
    }

    #[test]
    fn a_number_of_days_that_cannot_be_is_refused_with_its_line() {
        assert_eq!(keep_days("90"), Ok(Some(90)));
        for bad in ["0", "-1", "1.5", "\"90\"", "null", "99999999999"] {
            let error = keep_days(bad).unwrap_err();
            assert!(
                error.contains("a.json:3") && error.contains("keep_days must be a number of days"),
                "{error}"
            );
        }
    }
}
