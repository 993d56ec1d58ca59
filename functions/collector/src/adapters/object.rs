//! JSON objects that are put together from parts of a foreign body. Each value keeps its own text, so no number loses digits.

use std::{borrow::Cow, collections::BTreeSet};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, value::RawValue};

/// A JSON object: members in their order.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Part<'a>)>,
    names: BTreeSet<Cow<'a, str>>,
}

/// A value.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Part<'a> {
    /// A value with its text as it was sent.
    Raw(&'a RawValue),
    Text(Cow<'a, str>),
    Number(u64),
    Value(Value),
    Object(Object<'a>),
}

impl<'a> Object<'a> {
    /// Adds a member. Where the name is taken, an underscore is put behind it, so that neither value is lost. A name that is
    /// taken even then is there twice, which the strict reader refuses: the event is kept as a rejected one.
    pub(crate) fn put(&mut self, name: impl Into<Cow<'a, str>>, value: Part<'a>) {
        let name = name.into();
        let name = if self.names.contains(&name) { Cow::Owned(format!("{name}_")) } else { name };
        self.names.insert(name.clone());
        self.members.push((name, value));
    }

    /// Adds a text, if there is one.
    pub(crate) fn put_text(&mut self, name: &'static str, value: Option<impl Into<Cow<'a, str>>>) {
        if let Some(value) = value {
            self.put(name, Part::Text(value.into()));
        }
    }

    /// Adds all members of another object.
    pub(crate) fn append(&mut self, other: Self) {
        for (name, value) in other.members {
            self.put(name, value);
        }
    }

    /// Returns the object's JSON.
    pub(crate) fn to_text(&self) -> Vec<u8> {
        // Writing texts, numbers and texts of values to memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The members of a foreign object, each with its value's text, in their order.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// Returns the members of a value that is an object.
pub(crate) fn members(value: &RawValue) -> Option<Members<'_>> {
    weir_core::json::members(value.get()).ok()
}

/// Returns the first member of this name.
pub(crate) fn find<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    members.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
}

/// Returns the text of a value that is a string.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// Returns an id: a string that is not empty, or a number as it was written.
pub(crate) fn id(value: &RawValue) -> Option<Cow<'_, str>> {
    let sent = value.get();
    let is_number = sent.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if is_number { Some(Cow::Borrowed(sent)) } else { text(value).filter(|text| !text.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_gets_an_underscore_and_values_keep_their_text() {
        let long = RawValue::from_string("1.00000000000000000000000000001".to_owned()).unwrap();
        let mut object = Object::default();
        object.put("a", Part::Raw(&long));
        object.put("a", Part::Text("é\"".into()));
        object.put("b", Part::Object(Object::default()));
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"a":1.00000000000000000000000000001,"a_":"é\"","b":{}}"#
        );
    }

    #[test]
    fn an_id_is_a_text_or_a_number() {
        for (sent, expected) in [
            ("\"a\\u0062\"", Some("ab")),
            ("7", Some("7")),
            ("-1.5e3", Some("-1.5e3")),
            ("\"\"", None),
            ("null", None),
            ("{}", None),
            ("true", None),
        ] {
            let value = RawValue::from_string(sent.to_owned()).unwrap();
            assert_eq!(id(&value).as_deref(), expected, "{sent}");
        }
    }
}
