//! Other names for an event's fields, or a file's columns: `--map OLD=NEW`.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Serializer, ser::SerializeMap};
use weir_core::{json, nearest};

/// One field's name in the file, and the one that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renamed {
    pub(crate) old: String,
    pub(crate) new: String,
}

impl FromStr for Renamed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((_, new)) if new.contains(',') && new.contains('=') => {
                Err("it takes one pair, like userId=user_id: repeat --map for more")
            }
            Some((old, new)) if !old.is_empty() && !new.is_empty() => {
                Ok(Self { old: old.to_owned(), new: new.to_owned() })
            }
            _ => Err("it is like userId=user_id"),
        }
    }
}

impl fmt::Display for Renamed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}={:?}", self.old, self.new)
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Mapping(Vec<Renamed>);

impl Mapping {
    pub(super) fn new(renamed: Vec<Renamed>) -> Self {
        Self(renamed)
    }

    /// Returns the name that is sent.
    fn name<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.iter().find(|renamed| renamed.old == name).map_or(name, |renamed| &renamed.new)
    }

    /// Renames the columns of a file; an error names one that the file does not have.
    pub(super) fn columns(&self, names: &mut [String]) -> Result<(), String> {
        for Renamed { old, .. } in &self.0 {
            if !names.contains(old) {
                let near = nearest(old, names.iter().map(String::as_str));
                let near = near.map(|name| format!(": did you mean {name}?")).unwrap_or_default();
                return Err(format!("no column is named {old}, as --map has it{near}"));
            }
        }
        for name in names {
            *name = self.name(name).to_owned();
        }
        Ok(())
    }

    /// Renames the members of an event, whose values keep their text. What is not an event stays as it is, and a name that is
    /// given twice stays twice: the server refuses it.
    pub(super) fn event<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(text);
        }
        let members = std::str::from_utf8(text).ok().and_then(|text| json::members(text).ok());
        let Some(members) = members else { return Cow::Borrowed(text) };
        let mut renamed = Vec::with_capacity(text.len());
        let written = (|| {
            let mut serializer = serde_json::Serializer::new(&mut renamed);
            let mut map = serializer.serialize_map(Some(members.len()))?;
            for (name, value) in &members {
                map.serialize_entry(self.name(name), value)?;
            }
            map.end()
        })();
        if written.is_ok() { Cow::Owned(renamed) } else { Cow::Borrowed(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_get_their_new_names_and_keep_order_and_text() {
        let mapping = Mapping::new(["a=b", "b=a", "id=event_id"].map(|text| text.parse().unwrap()).into());
        for (event, renamed) in [
            (
                r#"{"a": 1.10, "c" : [ 1 ], "b": "é", "id":"x"}"#,
                r#"{"b":1.10,"c":[ 1 ],"a":"é","event_id":"x"}"#,
            ),
            (r#"{"b":1,"b":2}"#, r#"{"a":1,"a":2}"#),
            (r#"{"\u0061":1}"#, r#"{"b":1}"#),
            ("{}", "{}"),
            ("[1]", "[1]"),
            ("{", "{"),
        ] {
            assert_eq!(std::str::from_utf8(&mapping.event(event.as_bytes())), Ok(renamed), "{event}");
        }
        let mut names = ["b", "id", "a"].map(str::to_owned);
        assert_eq!(mapping.columns(&mut names), Ok(()));
        assert_eq!(names, ["a", "event_id", "b"]);
        let said = mapping.columns(&mut ["a", "b", "idd"].map(str::to_owned));
        assert_eq!(said, Err("no column is named id, as --map has it: did you mean idd?".to_owned()));
        assert!(["", "a", "=b", "a="].iter().all(|bad| bad.parse::<Renamed>().is_err()));
    }
}
