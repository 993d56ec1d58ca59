//! Finds members in a JSON text: the lines that messages name, and the order of members.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::json;

/// Returns the line, from 1, on which the value at `path` begins, or the deepest existing part of the path. A segment is a
/// member's name, or a position in an array.
pub(super) fn line_of(text: &str, path: &[&str]) -> usize {
    let here = value_at(text, path).unwrap_or_else(|deepest| deepest);
    // `here` is a part of `text`, so the distance of their beginnings is an offset into it.
    let offset = (here.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Returns the names of an object's members, in the order of the text; none if there is no object at `path`.
pub(super) fn names_of(text: &str, path: &[&str]) -> Vec<String> {
    let members = value_at(text, path).ok().and_then(|value| json::members(value).ok());
    members.into_iter().flatten().map(|(name, _)| name.into_owned()).collect()
}

/// Returns the text of the value at `path`, or fails with the deepest existing value on the way there.
fn value_at<'text>(text: &'text str, path: &[&str]) -> Result<&'text str, &'text str> {
    let mut here = text;
    for name in path {
        let value = if let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(here) {
            members.get(*name).copied()
        } else {
            let items = serde_json::from_str::<Vec<&RawValue>>(here).map_err(|_| here)?;
            name.parse::<usize>().ok().and_then(|at| items.get(at).copied())
        };
        here = value.ok_or(here)?.get();
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_line_is_found() {
        let text = "{\n \"a\": 1,\n \"b\": {\n  \"c\":\n   [2,\n{\"d\":\n3}]}\n}";
        assert_eq!(line_of(text, &["a"]), 2);
        assert_eq!(line_of(text, &["b"]), 3);
        assert_eq!(line_of(text, &["b", "c"]), 5);
        assert_eq!(line_of(text, &["b", "c", "1"]), 6);
        assert_eq!(line_of(text, &["b", "c", "1", "d"]), 7);
        assert_eq!(line_of(text, &["b", "c", "2"]), 5);
        assert_eq!(line_of(text, &["b", "none"]), 3);
        assert_eq!(line_of("nonsense", &["a"]), 1);
    }

    #[test]
    fn names_are_given_in_the_order_of_the_text() {
        assert_eq!(names_of(r#"{"p": {"b": {"x": 1}, "a": 2, "": [3]}}"#, &["p"]), ["b", "a", ""]);
        assert!(names_of("{}", &["p"]).is_empty() && names_of(r#"{"p": [1]}"#, &["p"]).is_empty());
    }
}
