//! What is put aside: lines of the quarantine object.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

/// Something that was found in a batch and cannot be filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aside<'a> {
    pub(crate) place: Place,
    pub(crate) reason: &'a str,
    /// What was found, to the byte; empty where something is missing.
    pub(crate) bytes: &'a [u8],
}

/// Where in a batch something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the line `number`, from 1. A line that is too long comes in parts, from 1.
    Line { number: u64, part: Option<u64> },
    /// In the object itself, before any decompression, `offset` bytes behind its beginning.
    Object { offset: u64 },
}

#[derive(Serialize)]
struct Entry<'a> {
    batch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Aside<'_> {
    /// Its line of JSON in the quarantine object of `batch`, written over `json`; without a newline.
    pub(crate) fn write(&self, batch: &str, json: &mut Vec<u8>) {
        let (line, part, offset) = match self.place {
            Place::Line { number, part } => (Some(number), part, None),
            Place::Object { offset } => (None, None, Some(offset)),
        };
        let text = std::str::from_utf8(self.bytes).ok().filter(|_| line.is_some());
        let base64 = (text.is_none() && !self.bytes.is_empty()).then(|| BASE64_STANDARD.encode(self.bytes));
        json.clear();
        let entry = Entry { batch, line, part, offset, reason: self.reason, text, base64 };
        serde_json::to_writer(json, &entry).expect("writing plain data to memory cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(place: Place, bytes: &[u8]) -> String {
        let mut json = b"of the one before".to_vec();
        Aside { place, reason: "not \"so\"", bytes }.write("b/1.gz", &mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn a_line_is_put_aside_as_text_and_as_base64_where_it_is_none() {
        let [place, part] = [None, Some(2)].map(|part| Place::Line { number: 7, part });
        assert_eq!(
            written(place, "\u{1}\ré".as_bytes()),
            r#"{"batch":"b/1.gz","line":7,"reason":"not \"so\"","text":"\u0001\ré"}"#
        );
        assert_eq!(
            written(part, b"a\xff"),
            r#"{"batch":"b/1.gz","line":7,"part":2,"reason":"not \"so\"","base64":"Yf8="}"#
        );
    }

    #[test]
    fn bytes_that_were_not_decoded_are_always_base64() {
        let place = Place::Object { offset: 10 };
        assert_eq!(
            written(place, b"abc"),
            r#"{"batch":"b/1.gz","offset":10,"reason":"not \"so\"","base64":"YWJj"}"#
        );
        assert_eq!(written(place, b""), r#"{"batch":"b/1.gz","offset":10,"reason":"not \"so\""}"#);
    }
}
