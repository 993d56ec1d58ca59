//! How much work a schema's alternatives (`anyOf`, `oneOf`) can make of an event.
//!
//! A validator tries a value against each alternative, and its error says what each of them has against the value. Two
//! things grow without bound then: the checks, where many values meet many alternatives; and the reasons, where
//! alternatives lie in each other, as each level multiplies them. So an event has a limit of checks, and the reasons are
//! only looked for where there are few.

use serde_json::Value;

/// The most pairs of a value and an alternative that an event is checked for: some tenths of a second.
const MAX_CHECKS: usize = 4_000_000;

/// The most such pairs of which the reasons are collected: some megabytes.
const MAX_REASONS: usize = 20_000;

/// The keywords whose members are tried one after the other.
const KEYWORDS: [&str; 2] = ["anyOf", "oneOf"];

/// The keywords that lead elsewhere in the schema, so that alternatives may lie in each other.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// The alternatives of a schema.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Alternatives {
    /// How many there are, wherever they are.
    count: usize,
    /// Whether some may lie in each other.
    nested: bool,
}

/// How far an event is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// With all reasons why it is not valid.
    Reasons,
    /// Whether it is valid, and no more.
    Verdict,
    /// Not at all: so many values meet so many alternatives.
    TooMuch {
        /// The values in the event, itself included.
        values: usize,
        /// The alternatives in the schema.
        alternatives: usize,
    },
}

impl Alternatives {
    /// Those of a schema. Its `enum`, `const` and `examples` may look like schemas: they count as if they were.
    pub(super) fn of(schema: &Value) -> Self {
        let mut found = Self::default();
        found.look(schema, false);
        // A reference may lead back to where alternatives are, so any of both together count as nested.
        found.nested &= found.count > 0;
        found
    }

    fn look(&mut self, schema: &Value, inside: bool) {
        match schema {
            Value::Object(members) => {
                for (name, member) in members {
                    let tried = KEYWORDS.contains(&name.as_str());
                    if let (true, Value::Array(alternatives)) = (tried, member) {
                        self.count = self.count.saturating_add(alternatives.len());
                        self.nested |= inside;
                    }
                    self.nested |= REFERENCES.contains(&name.as_str());
                    self.look(member, inside || tried);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.look(item, inside)),
            _ => {}
        }
    }

    /// How far an event is to be checked.
    pub(super) fn extent(self, event: &Value) -> Extent {
        if self.count == 0 {
            return Extent::Reasons;
        }
        let values = values(event);
        let checks = values.saturating_mul(self.count);
        if checks > MAX_CHECKS {
            Extent::TooMuch { values, alternatives: self.count }
        } else if self.nested || checks > MAX_REASONS {
            Extent::Verdict
        } else {
            Extent::Reasons
        }
    }
}

/// How many values a value has in it, itself included. Reading has bounded how deep it is.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extent(schema: &Value, values: usize) -> Extent {
        Alternatives::of(schema).extent(&json!(vec![0; values - 1]))
    }

    #[test]
    fn a_schema_without_alternatives_has_its_reasons_whatever_the_event() {
        let schema = json!({"properties": {"a": {"$ref": "#"}, "b": {"allOf": [{}, {}]}}});
        assert_eq!(extent(&schema, 100_000), Extent::Reasons);
    }

    #[test]
    fn reasons_are_left_out_where_alternatives_multiply() {
        let flat = json!({"properties": {"a": {"anyOf": [{}, {}]}, "b": {"oneOf": [{}, {}]}}});
        assert_eq!(extent(&flat, 5_000), Extent::Reasons);
        assert_eq!(extent(&flat, 5_001), Extent::Verdict);
        assert_eq!(extent(&flat, 1_000_001), Extent::TooMuch { values: 1_000_001, alternatives: 4 });
        for nested in [
            json!({"anyOf": [{"properties": {"a": {"oneOf": [{}, {}]}}}]}),
            json!({"anyOf": [{"properties": {"a": {"$ref": "#"}}}]}),
            json!({"oneOf": [{"properties": {"a": {"$dynamicRef": "#a"}}}]}),
        ] {
            assert_eq!(extent(&nested, 2), Extent::Verdict, "{nested}");
        }
    }
}
