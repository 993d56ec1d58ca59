//! Removes generated secrets from what is stored. A foreign body holds its key, and a body that cannot be read is kept as it
//! is, as a rejected event.

use std::borrow::Cow;

/// The beginning of generated secrets, and the number of characters that follow.
const BEGIN: &[u8] = b"weir_";
const LENGTH: usize = 32;

/// Replaces all characters of each generated secret behind its beginning. The length stays the same.
pub(crate) fn secrets(text: &[u8]) -> Cow<'_, [u8]> {
    let mut redacted = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(found) = find(&text[at..]) {
        let begin = at + found + BEGIN.len();
        let length = text[begin..].iter().take_while(|byte| is_of_secret(**byte)).count();
        if length >= LENGTH {
            redacted.to_mut()[begin..begin + length].fill(b'x');
        }
        at = begin + length;
    }
    redacted
}

fn find(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == BEGIN[0]) {
        at += next;
        if text[at..].starts_with(BEGIN) {
            return Some(at);
        }
        at += 1;
    }
    None
}

fn is_of_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_core::{SeededRandom, users::Secret};

    use super::*;

    #[test]
    fn texts_without_a_secret_stay_as_they_are() {
        for text in ["", "weir", "weir_", "weir_events and weir_lake", "weir_weir_short"] {
            assert!(matches!(secrets(text.as_bytes()), Cow::Borrowed(same) if same == text.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn no_generated_secret_is_left(seed: u64, before in "[ -~]{0,9}", between in "[ -~]{0,9}") {
            let secret = Secret::generate(&SeededRandom::new(seed)).reveal().to_owned();
            let text = format!("{before}{secret}{between}{secret}\"");
            let redacted = secrets(text.as_bytes()).into_owned();
            prop_assert_eq!(redacted.len(), text.len());
            prop_assert!(!String::from_utf8(redacted).unwrap().contains(&secret[5..]));
        }
    }
}
