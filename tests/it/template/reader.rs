//! Reads the template.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use saphyr::{LoadableYamlNode, Scalar, Yaml};

use crate::harness::{Value, json};

pub fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The template, with `!Ref X` as `{"Ref": "X"}`, `!Sub x` as `{"Fn::Sub": "x"}` and so on.
pub struct Template(pub Value);

impl Template {
    pub fn read() -> Self {
        let documents = Yaml::load_from_str(&file("template.yaml")).unwrap();
        Self(in_json(&documents[0]))
    }

    /// Names and declarations of the resources of a type.
    pub fn all(&self, kind: &str) -> BTreeMap<&str, &Value> {
        let resources = self.0["Resources"].as_object().unwrap().iter();
        let found: BTreeMap<_, _> = resources
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, r)| (&**name, r))
            .collect();
        assert!(!found.is_empty(), "there is no {kind}");
        found
    }

    pub fn properties(&self, name: &str) -> &Value {
        let properties = &self.0["Resources"][name]["Properties"];
        assert!(properties.is_object(), "there is no {name}");
        properties
    }

    /// What a role allows by itself, or a policy allows to a role: the action, and on what.
    pub fn permissions(&self, name: &str) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        let properties = self.properties(name);
        for policy in properties.get("Policies").map_or(vec![properties], list) {
            for statement in list(&policy["PolicyDocument"]["Statement"]) {
                assert_eq!(statement["Effect"], "Allow", "{name}");
                for action in list(&statement["Action"]) {
                    for resource in list(&statement["Resource"]) {
                        found.insert((text(action), text(resource)));
                    }
                }
            }
        }
        found
    }

    pub fn functions(&self) -> BTreeMap<&str, &Value> {
        self.all("AWS::Serverless::Function")
    }
}

fn in_json(node: &Yaml) -> Value {
    match node {
        Yaml::Value(Scalar::String(text)) => json!(text),
        Yaml::Value(Scalar::Integer(number)) => json!(number),
        Yaml::Value(Scalar::Boolean(truth)) => json!(truth),
        Yaml::Value(Scalar::FloatingPoint(number)) => json!(number.into_inner()),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(in_json).collect(),
        Yaml::Mapping(members) => {
            let members =
                members.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), in_json(value)));
            Value::Object(members.collect())
        }
        Yaml::Tagged(tag, node) => {
            let name = match tag.suffix.as_str() {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            json!({name: in_json(node)})
        }
        other => panic!("the template has {other:?}, which CloudFormation does not know"),
    }
}

/// The items of a list, or the one thing that stands in its place; of an `!If`, what is there in either case.
pub fn list(value: &Value) -> Vec<&Value> {
    let items = value.as_array().map_or_else(|| vec![value], |items| items.iter().collect());
    let either = |item| match branches(item) {
        Some(branches) => branches.into_iter().filter(|branch| **branch != no_value()).collect(),
        None => vec![item],
    };
    items.into_iter().filter(|item| !item.is_null()).flat_map(either).collect()
}

fn branches(value: &Value) -> Option<Vec<&Value>> {
    Some(value.get("Fn::If")?.as_array().unwrap()[1..].iter().collect())
}

pub fn no_value() -> Value {
    json!({"Ref": "AWS::NoValue"})
}

/// A text as `!Sub` would write it; a list that `!Join` joins with commas, as the parameter was given.
pub fn text(value: &Value) -> String {
    if let Some(joined) = value.get("Fn::Join") {
        assert_eq!(joined[0], ",");
        return list(&joined[1]).into_iter().map(text).collect::<Vec<_>>().join(",");
    }
    let reference = value.get("Ref").or_else(|| value.get("Fn::GetAtt"));
    if let Some(text) = value.as_str().or_else(|| value.get("Fn::Sub")?.as_str()) {
        return text.to_owned();
    }
    let reference = reference.unwrap_or_else(|| panic!("no text: {value}"));
    format!("${{{}}}", reference.as_str().unwrap())
}

/// Returns a value in which names replace the template's references.
pub fn with_names(value: &Value, names: &[(&str, &str)]) -> Value {
    match value {
        Value::Object(members) if members.contains_key("Ref") || members.contains_key("Fn::Sub") => {
            let put =
                |text: String, (name, value): &(&str, &str)| text.replace(&format!("${{{name}}}"), value);
            let text = names.iter().fold(text(value), put);
            assert!(!text.contains("${"), "{text}");
            json!(text)
        }
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), with_names(value, names))).collect()
        }
        Value::Array(items) => items.iter().map(|item| with_names(item, names)).collect(),
        other => other.clone(),
    }
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}
