//! Recognises other formats than JSON, so that the answer can name the likely cause. It is only a hint: a text that is not
//! JSON is refused in any case.

use std::{borrow::Cow, fmt};

/// A format that is not JSON in UTF-8. It is displayed as a hint about a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherFormat {
    /// Its name.
    pub name: &'static str,
    /// The advice to the client.
    advice: &'static str,
}

impl fmt::Display for OtherFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "it looks like {}; {}", self.name, self.advice)
    }
}

/// Returns the format that the first bytes show, if they cannot be the beginning of JSON in UTF-8.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> Option<OtherFormat> {
    const TEXT: &str = "JSON is sent as UTF-8";
    const PACKED: &str = "a body is compressed once, and its header Content-Encoding says with what";
    let (name, advice) = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => ("UTF-32", TEXT),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("UTF-16", TEXT),
        // JSON has no NUL before its first string.
        [b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | b'\t', 0, ..]
        | [0, b'{' | b'[' | b'"' | b' ' | b'\n' | b'\r' | b'\t', ..] => {
            ("UTF-16 without a byte order mark", TEXT)
        }
        [0x1f, 0x8b, ..] => ("gzip", PACKED),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", PACKED),
        [0x78, 0x9c | 0xda, ..] => ("zlib", "a body is compressed with gzip or zstd"),
        [b'P', b'K', 3, 4, ..] => ("a ZIP archive", "a body is compressed with gzip or zstd"),
        _ => return None,
    };
    Some(OtherFormat { name, advice })
}

/// Returns a hint about a text that a parser refused at `error`.
pub(crate) fn of_text(text: &str, error: &serde_json::Error) -> Option<Cow<'static, str>> {
    match of_bytes(text.as_bytes()) {
        Some(format) => Some(format.to_string().into()),
        None => of_json(text, error).map(Cow::Borrowed),
    }
}

/// Returns a hint about a text that looks like JSON or like another notation.
fn of_json(text: &str, error: &serde_json::Error) -> Option<&'static str> {
    let begin = text.trim_start();
    if begin.starts_with('\u{feff}') {
        return Some("it begins with a byte order mark, and only a body may, once");
    }
    let rest = rest(text, error);
    if ["NaN", "Infinity", "-Infinity"].iter().any(|name| rest.starts_with(name)) {
        return Some("JSON has no NaN and no Infinity; null stands for a number that is missing");
    }
    if ["None", "True", "False"].iter().any(|name| rest.starts_with(name)) || rest.starts_with('\'') {
        return Some("it looks like Python's notation; JSON has double quotes, null, true and false");
    }
    match begin.as_bytes() {
        [b'<', ..] => Some("it looks like XML or HTML"),
        [b'{', ..] if rest.starts_with(['{', '[']) && !error.is_eof() && follows_a_value(text, rest) => {
            Some("one JSON value follows another; many events are a JSON array, or one a line")
        }
        [first, ..] if first.is_ascii_alphabetic() => of_words(begin),
        _ => None,
    }
}

/// Returns a hint about a text of bare words.
fn of_words(text: &str) -> Option<&'static str> {
    let line = text.lines().next().unwrap_or_default();
    let name = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '%' | '+')));
    match name.map(|end| line.as_bytes()[end]) {
        Some(b'=') => Some("it looks like a form (name=value); an event is a JSON object"),
        Some(b',' | b';' | b'\t') => Some("it looks like CSV; weir send reads that"),
        _ => None,
    }
}

/// Returns whether the text before the rest is a whole value.
fn follows_a_value(text: &str, rest: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(&text[..text.len() - rest.len()]).is_ok()
}

/// Returns the text from where the parser stopped. Lines and columns count from 1, and columns are bytes.
fn rest<'a>(text: &'a str, error: &serde_json::Error) -> &'a str {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    text.get(before + error.column().saturating_sub(1)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(text: &str) -> Cow<'static, str> {
        let error = crate::json::read_strictly(text).unwrap_err();
        of_text(text, &error).unwrap_or_default()
    }

    #[test]
    fn the_likely_cause_of_what_is_not_json_is_named() {
        for (text, said) in [
            ("\u{feff}{\"a\":1}", "begins with a byte order mark"),
            ("{\"a\":1}{\"b\":2}", "one JSON value follows another"),
            ("{\"a\":1} [2]", "one JSON value follows another"),
            ("{\"a\":NaN}", "no NaN"),
            ("{\n\"é\": 1,\n\"a\":-Infinity}", "no NaN"),
            ("{'a':1}", "Python"),
            ("{\"a\":True}", "Python"),
            ("<a>", "XML"),
            ("session_id=s1&button_id=abc", "a form"),
            ("session_id,button_id", "CSV"),
            ("session_id;button_id", "CSV"),
            ("{\0\"\0a\0", "UTF-16"),
            ("{\"a\":1}}", ""),
            ("{\"a\":}", ""),
            ("oops", ""),
            ("", ""),
            ("{", ""),
        ] {
            let found = looks(text);
            assert!(found.contains(said) && found.is_empty() == said.is_empty(), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn formats_that_are_not_text_are_known_by_their_first_bytes() {
        for (bytes, said) in [
            (&b"\xff\xfe{\0"[..], "UTF-16;"),
            (b"\xfe\xff\0{", "UTF-16;"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
            (b"{\0\"\0", "without a byte order mark"),
            (b"\0{\0\"", "without a byte order mark"),
            (&[0x1f, 0x8b, 8, 0], "gzip"),
            (&[0x28, 0xb5, 0x2f, 0xfd, 4], "zstd"),
            (&[0x78, 0x9c, 3], "zlib"),
            (b"PK\x03\x04", "ZIP"),
        ] {
            assert!(of_bytes(bytes).is_some_and(|looks| looks.to_string().contains(said)), "{bytes:?}");
        }
        for plain in [&b""[..], b"{}", b"[", b"x\x01", "é".as_bytes(), b"\xef\xbb\xbf{}"] {
            assert_eq!(of_bytes(plain), None, "{plain:?}");
        }
    }
}
