//! The names that Weir puts into paths, keys and queries: each is made by parsing and then cannot be wrong.

use std::{
    fmt::{self, Write},
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The error of a text, or a number, that breaks the rule for its kind. The message names the kind and the rule: "a label must
/// be 1 to 40 printable characters".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
}

impl NameError {
    /// Makes the error of a text that is not `what`. `rule` is the rest of the message's sentence, from its verb on.
    #[must_use]
    pub const fn new(what: &'static str, rule: &'static str) -> Self {
        Self { what, rule }
    }
}

/// A newtype over a shared string that only [`FromStr`] can make; cloning costs a reference count.
macro_rules! parsed_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Returns the name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            #[inline]
            fn from_str(text: &str) -> Result<Self, NameError> {
                const NOT_ONE: NameError = NameError::new($what, concat!("must be ", $rule));
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) { Ok(Self(text.into())) } else { Err(NOT_ONE) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    };
}

parsed_name!(
    /// The sender of events: the name in the credentials, in the lake's folders and, if buckets are per user, in the bucket's
    /// name `<username>-raw-events`. S3 allows 63 characters there and no upper case, dots aside
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>), hence the rule.
    Username,
    "a username",
    "1 to 48 of a-z, 0-9 and single hyphens between them",
    |text| {
        (1..=48).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && !text.contains("--")
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

parsed_name!(
    /// An answer computed beforehand: a file `NAME.sql`, a part of the path at which it is read, and a folder. Below the path
    /// `public` are the public ones.
    AnswerName,
    "an answer's name",
    "1 to 48 of a-z, 0-9 and _, beginning with a letter, and not public",
    |text| is_plain_name(text) && text != "public"
);

parsed_name!(
    /// The name of a generation: the first half of the SHA-256 digest of its bytes, as 32 hexadecimal digits.
    GenerationName,
    "a generation's name",
    "32 hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

parsed_name!(
    /// The kind of an event: an entry of the catalog, a folder of the lake and a table in SQL.
    EventType,
    "an event type",
    "1 to 48 of a-z, 0-9 and _, beginning with a letter",
    is_plain_name
);

/// Returns whether a text is a name in SQL without quotes, in a path and in a URL.
fn is_plain_name(text: &str) -> bool {
    (1..=48).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The name under which events of bots are counted once more.
pub(crate) const BOTS: &str = "weir_bots";

impl EventType {
    /// Returns the type under which events that failed validation are kept. No catalog can define it.
    #[must_use]
    pub fn rejected() -> Self {
        Self(Arc::from("rejected"))
    }

    /// Returns whether this is the type of events that failed validation.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.as_str() == "rejected"
    }

    /// Returns the name under which events of bots are counted once more, with their types as keys. No catalog can define it,
    /// and no event is of it.
    #[must_use]
    pub fn bots() -> Self {
        Self(Arc::from(BOTS))
    }

    /// Returns whether this is the name under which events of bots are counted.
    #[must_use]
    pub fn is_bots(&self) -> bool {
        self.as_str() == BOTS
    }
}

parsed_name!(
    /// The key that a count is broken down by: a value of the field that the catalog names as `count_by`. Any text of at most
    /// 512 bytes; with the names before it, it must fit the 1,024 bytes of a DynamoDB sort key
    /// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
    CountedValue,
    "a counted value",
    "at most 512 bytes long",
    |text| text.len() <= CountedValue::MAX_BYTES
);

impl CountedValue {
    /// The longest key, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 512;

    /// Returns the key of a value of any length: the value itself, or a shortened form if it is longer than
    /// [`Self::MAX_BYTES`]. The shortened form is the beginning of the value and the SHA-256 digest of all of it, so that
    /// values which begin alike are different keys.
    #[must_use]
    pub fn of(value: &str) -> Self {
        if value.len() <= Self::MAX_BYTES { Self(value.into()) } else { Self(shortened(value).into()) }
    }
}

parsed_name!(
    /// The key of a latest value: a value of the field that the catalog names as `latest_by`. Any text of at most 512 bytes,
    /// as [`CountedValue`].
    LatestKey,
    "the key of a latest value",
    "at most 512 bytes long",
    |text| text.len() <= CountedValue::MAX_BYTES
);

impl LatestKey {
    /// Returns the key of a value of any length, shortened as [`CountedValue::of`] does it.
    #[must_use]
    pub fn of(value: &str) -> Self {
        Self(CountedValue::of(value).0)
    }
}

/// Returns a long value cut between two characters, with its digest in the room that is left.
fn shortened(value: &str) -> String {
    const MARK: &str = "…sha256:";
    let digest = Sha256::digest(value.as_bytes());
    let beginning =
        &value[..value.floor_char_boundary(CountedValue::MAX_BYTES - MARK.len() - 2 * digest.len())];
    let mut key = String::with_capacity(CountedValue::MAX_BYTES);
    key.extend([beginning, MARK]);
    for byte in digest {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

parsed_name!(
    /// An event's identity within its user: Weir's own UUIDv7, or the client's.
    EventId,
    "event_id",
    "1 to 64 of A-Z, a-z, 0-9, dot, underscore, colon and hyphen",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
    }
);

impl EventId {
    /// Makes a new UUIDv7: sortable by `now`, unique by ten random bytes.
    #[must_use]
    pub fn generate(now: crate::Timestamp, random: &dyn crate::Random) -> Self {
        let mut bytes = [0; 10];
        random.fill(&mut bytes);
        let id = uuid::Builder::from_unix_timestamp_millis(now.millis(), &bytes).into_uuid();
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        Self(Arc::from(&*id.hyphenated().encode_lower(&mut text)))
    }

    /// Returns the time at which [`generate`](Self::generate) made the id, if the text reads as one of its ids.
    #[must_use]
    pub fn generated_at(&self) -> Option<crate::Timestamp> {
        let digits = [self.0.get(..8)?, self.0.get(9..13)?].concat();
        let then = crate::Timestamp::from_millis(u64::from_str_radix(&digits, 16).ok()?).ok()?;
        self.is_generated_at(then).then_some(then)
    }

    /// Returns whether the text reads as an id that [`generate`](Self::generate) made at `then`: a `UUIDv7` of that
    /// millisecond.
    #[must_use]
    #[inline]
    pub fn is_generated_at(&self, then: crate::Timestamp) -> bool {
        let text = self.0.as_bytes();
        if text.len() != uuid::fmt::Hyphenated::LENGTH || text[14] != b'7' {
            return false;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(u64::from(byte - b'0')),
            b'a'..=b'f' => Some(u64::from(byte - b'a') + 10),
            _ => None,
        };
        // The time is in the twelve digits around the first hyphen (RFC 9562, section 5.7).
        let time = text[..8].iter().chain(&text[9..13]);
        let millis = time.copied().try_fold(0, |millis, byte| Some(millis << 4 | digit(byte)?));
        millis == Some(then.millis())
            && text.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
                _ => digit(*byte).is_some(),
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{SeededRandom, Timestamp};

    #[test]
    fn usernames_that_could_leave_their_folder_or_bucket_are_refused() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "%2e%2e",
            "a%2f",
            "Ethan",
            "ethan ",
            "e\u{301}than",
            "еthan",
            "a\0",
            "-a",
            "a-",
            "xn--a",
            "a_b",
            "a:b",
            "a=b",
            "a.b",
            "\u{ff41}",
            &"a".repeat(49),
        ] {
            assert!(bad.parse::<Username>().is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "ethan", "team-1", "0", &"a".repeat(48)] {
            assert_eq!(good.parse::<Username>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn event_types_are_plain_sql_and_path_names() {
        for bad in
            ["", "_a", "1a", "Click", "button-click", "a/b", "..", "a b", "a;drop", "ａ", &"a".repeat(49)]
        {
            assert!(bad.parse::<EventType>().is_err(), "{bad:?} was accepted");
        }
        assert!("button_click2".parse::<EventType>().is_ok());
    }

    #[test]
    fn a_key_is_any_text_up_to_512_bytes() {
        assert!("".parse::<CountedValue>().is_ok());
        assert!("../é\0\n".parse::<CountedValue>().is_ok());
        assert!("é".repeat(256).parse::<CountedValue>().is_ok());
        assert!("é".repeat(257).parse::<CountedValue>().is_err());
    }

    #[test]
    fn the_key_of_a_long_value_is_its_beginning_and_a_digest_of_the_whole() {
        for value in ["", "x", &"é".repeat(256)] {
            assert_eq!(CountedValue::of(value).as_str(), value);
        }
        for value in
            ["x".repeat(513), "é".repeat(257), "漢".repeat(200_000), format!("a{}", "😀".repeat(128))]
        {
            let key = CountedValue::of(&value);
            assert!((500..=CountedValue::MAX_BYTES).contains(&key.as_str().len()), "{key}");
            assert_eq!(key.as_str().parse::<CountedValue>().as_ref(), Ok(&key));
            assert_eq!(CountedValue::of(key.as_str()), key, "the shortened form stands for the same count");
            let (beginning, digest) = key.as_str().split_once("…sha256:").unwrap();
            assert!(value.starts_with(beginning) && digest.len() == 64, "{key}");
            assert_ne!(CountedValue::of(&format!("{value}1")), CountedValue::of(&format!("{value}2")));
        }
    }

    #[test]
    fn generated_event_ids_are_version_7_and_valid() {
        let id = EventId::generate(Timestamp::from_millis(1_763_000_000_000).unwrap(), &SeededRandom::new(1));
        assert_eq!(id.as_str().len(), 36);
        assert_eq!(&id.as_str()[14..15], "7");
        assert_eq!(id.as_str().parse::<EventId>().unwrap(), id);
    }

    proptest! {
        #[test]
        fn no_username_or_event_type_holds_anything_but_its_alphabet(text in "\\PC{0,60}") {
            if let Ok(name) = text.parse::<Username>() {
                prop_assert!(name.as_str().bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789-".contains(&b)));
            }
            if let Ok(name) = text.parse::<EventType>() {
                prop_assert!(name.as_str().bytes().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789_".contains(&b)));
            }
        }
    }
}
