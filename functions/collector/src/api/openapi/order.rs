//! The order of names in the description. People read it, in `/docs` and in the dashboard's form, so a type's schema and
//! its example keep the order of the catalog's file, with required fields first.

use serde::{Serialize, Serializer};
use serde_json::Value;
use weir_core::{Catalog, EventType, catalog::Definition};

/// Returns the document's text.
pub(super) fn text(document: &Value, catalog: &Catalog) -> String {
    InOrder { value: document, path: Vec::new(), catalog }.to_text()
}

struct InOrder<'a> {
    value: &'a Value,
    path: Vec<String>,
    catalog: &'a Catalog,
}

impl InOrder<'_> {
    fn to_text(&self) -> String {
        // Writing a document's values into memory cannot fail.
        serde_json::to_string(self).unwrap_or_else(|_| self.value.to_string())
    }

    fn member<'a>(&'a self, name: String, value: &'a Value) -> InOrder<'a> {
        let path = self.path.iter().cloned().chain([name]).collect();
        InOrder { value, path, catalog: self.catalog }
    }

    /// Returns the names that come first in this object; all others follow alphabetically.
    fn order(&self) -> Vec<String> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match path[..] {
            ["components", "schemas", name, "properties"] => {
                let fields = self.of_type(name).into_iter().flat_map(Definition::fields);
                let envelope = ["event_id", "occurred_at", "event_type"];
                fields.map(|(name, _)| name).chain(envelope).map(str::to_owned).collect()
            }
            ["components", "schemas", name, ref rest @ ..] => {
                self.of_type(name).map(|definition| definition.names_at(rest)).unwrap_or_default()
            }
            ["paths", route, "post", "requestBody", "content", _, "example", ref rest @ ..] => {
                let of_route = self.catalog.iter().find(|definition| definition.route().as_str() == route);
                of_route.map(|definition| names_of_example(definition, rest)).unwrap_or_default()
            }
            // An event of `POST /events`: the order is its type's.
            ["paths", .., "examples", _, "value"] | ["paths", .., "examples", _, "value", _] => {
                let of_event = self.value.get("event_type").and_then(|name| self.of_type(name.as_str()?));
                let names = of_event.map(|definition| names_of_example(definition, &[]));
                std::iter::once("event_type".to_owned()).chain(names.into_iter().flatten()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn of_type(&self, name: &str) -> Option<&Definition> {
        self.catalog.get(&name.parse::<EventType>().ok()?)
    }
}

fn names_of_example(definition: &Definition, rest: &[&str]) -> Vec<String> {
    let path: Vec<&str> = ["examples", "0"].iter().chain(rest).copied().collect();
    definition.names_at(&path)
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(members) => {
                let order = self.order();
                let place = |name: &str| order.iter().position(|first| first == name).unwrap_or(usize::MAX);
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| place(name));
                serializer.collect_map(
                    members.into_iter().map(|(name, value)| (name, self.member(name.clone(), value))),
                )
            }
            Value::Array(items) => serializer
                .collect_seq(items.iter().enumerate().map(|(at, value)| self.member(at.to_string(), value))),
            value => value.serialize(serializer),
        }
    }
}
