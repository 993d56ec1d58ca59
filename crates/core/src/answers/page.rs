//! The names under which a CDN keeps what can be asked of a public answer.
//!
//! A CDN's function cannot read an index, so each path and each slot is a *page*, an object of its own. The page's name is
//! computed from the request alone: the digest of the address in its one spelling. That is the values of the path as
//! `encodeURIComponent` of JavaScript writes them, with slashes between them, and behind a question mark the pairs of the slot,
//! `column=value`, in the order of their bytes, with `&` between them.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::AnswerName;

/// Returns the key of a page's object.
pub fn key<'a>(
    name: &AnswerName,
    path: impl IntoIterator<Item = &'a str>,
    slot: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let path: Vec<String> = path.into_iter().map(encoded).collect();
    let mut slot: Vec<String> =
        slot.into_iter().map(|(column, value)| format!("{}={}", encoded(column), encoded(value))).collect();
    slot.sort_unstable();
    let mut address = path.join("/");
    if !slot.is_empty() {
        address = format!("{address}?{}", slot.join("&"));
    }
    let mut key = folder(name);
    for byte in Sha256::digest(address) {
        let _ = write!(key, "{byte:02x}");
    }
    key + ".json"
}

/// Returns the prefix of the pages of an answer.
#[must_use]
pub fn folder(name: &AnswerName) -> String {
    format!("public/{name}/")
}

/// The key of the page that says that there is no such answer.
pub const NONE: &str = "public/none.json";

/// Encodes a value as `encodeURIComponent` does.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling_and_no_two_addresses_have_the_same() {
        let name: AnswerName = "visits".parse().unwrap();
        let key = |path: &[&str], slot: &[(&'static str, &'static str)]| {
            key(&name, path.iter().copied(), slot.iter().copied())
        };
        // printf '2026-11?a=%s&b=x' %C3%BC | sha256sum
        assert_eq!(
            key(&["2026-11"], &[("b", "x"), ("a", "ü")]),
            "public/visits/1cf4cd6328f678e2314f6b9d13acba051b5cb4354dd764366cb3b586b58298de.json"
        );
        assert_eq!(
            key(&[], &[]),
            "public/visits/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.json"
        );
        let keys = [
            key(&["a", "b"], &[]),
            key(&["a/b"], &[]),
            key(&["a%2Fb"], &[]),
            key(&["a?x=b"], &[]),
            key(&["a"], &[("x", "b")]),
            key(&["a"], &[("x", "b&y=c")]),
            key(&["a"], &[("x", "b"), ("y", "c")]),
            key(&["a"], &[("x", "")]),
        ];
        let different: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        assert!(keys.iter().all(|key| key.starts_with(&folder(&name))));
    }
}
