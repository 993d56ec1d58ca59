//! Finds the line of a member in a JSON text, for messages.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The line, from 1, on which the value at `path` begins; of as much of the path as there is.
pub(super) fn line_of(text: &str, path: &[&str]) -> usize {
    let mut here = text;
    for name in path {
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(here) else {
            break;
        };
        let Some(value) = members.get(*name) else { break };
        here = value.get();
    }
    // `here` is a part of `text`, so the distance of their beginnings is an offset into it.
    let offset = (here.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_line_is_found() {
        let text = "{\n \"a\": 1,\n \"b\": {\n  \"c\":\n   2}\n}";
        assert_eq!(line_of(text, &["a"]), 2);
        assert_eq!(line_of(text, &["b"]), 3);
        assert_eq!(line_of(text, &["b", "c"]), 5);
        assert_eq!(line_of(text, &["b", "none"]), 3);
        assert_eq!(line_of("nonsense", &["a"]), 1);
    }
}
