//! The entries of a quarantine object: lines of JSON that say what could not be filed, and why.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

/// A line of a batch that cannot be filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLine<'a> {
    /// Its number in the batch, from 1.
    pub(crate) number: u64,
    /// Its part, from 1, if the line is so long that it comes in parts.
    pub(crate) part: Option<u64>,
    pub(crate) reason: &'a str,
    /// Its bytes, as they were found.
    pub(crate) bytes: &'a [u8],
}

#[derive(Serialize)]
struct Entry<'a> {
    batch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl BadLine<'_> {
    /// Writes the line's entry over `json`, without a newline.
    pub(crate) fn write(&self, batch: &str, json: &mut Vec<u8>) {
        let text = std::str::from_utf8(self.bytes).ok();
        let base64 = text.is_none().then(|| BASE64_STANDARD.encode(self.bytes));
        let entry =
            Entry { batch, line: Some(self.number), part: self.part, reason: self.reason, text, base64 };
        entry.write(json);
    }
}

/// Writes the entry of a whole object over `json`, without a newline. The object's bytes stay in raw.
pub(crate) fn write_object(batch: &str, reason: &str, json: &mut Vec<u8>) {
    Entry { batch, line: None, part: None, reason, text: None, base64: None }.write(json);
}

impl Entry<'_> {
    fn write(&self, json: &mut Vec<u8>) {
        json.clear();
        serde_json::to_writer(json, self).expect("writing plain data to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(part: Option<u64>, bytes: &[u8]) -> String {
        let mut json = b"of the one before".to_vec();
        BadLine { number: 7, part, reason: "not \"so\"", bytes }.write("b/1.gz", &mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn a_line_is_kept_as_text_or_as_base64_if_it_is_not_utf_8() {
        assert_eq!(
            written(None, "\u{1}\ré".as_bytes()),
            r#"{"batch":"b/1.gz","line":7,"reason":"not \"so\"","text":"\u0001\ré"}"#
        );
        assert_eq!(
            written(Some(2), b"a\xff"),
            r#"{"batch":"b/1.gz","line":7,"part":2,"reason":"not \"so\"","base64":"Yf8="}"#
        );
    }

    #[test]
    fn an_object_is_named_with_the_reason() {
        let mut json = b"of the one before".to_vec();
        write_object("b/1.gz", "cut", &mut json);
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"batch":"b/1.gz","reason":"cut"}"#);
    }
}
