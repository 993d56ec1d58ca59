//! The part of a record that a claim keeps if the record is a latest value, so that a repeat of the event can raise the stored
//! record.
//!
//! | attribute | |
//! | --- | --- |
//! | `latest_key` | the record's latest key |
//! | `line` | the record's line, unless it is long |
//! | `head` | the beginning of a long line, which Weir stamps |
//! | `rest` | the SHA-256 of the remainder of a long line, which depends only on what the client sent |
//!
//! A repeat of a long event has the remainder itself if its client sent the same again. If it sent something else, nothing is
//! raised for the repeat: the request that stored the event does that, or its client's next try.

use std::fmt::Write;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use weir_core::{Record, latest::LatestValue};

use crate::counts::table::Item;

/// The longest key and line that are kept, in bytes. With the rest of the claim they stay within 1 KB: a claim is written
/// twice, and each begun KB is paid for.
const KEPT: usize = 800;

/// Returns the attributes for a record: none if it is no latest value.
pub(super) fn attributes(record: &Record) -> Option<Item> {
    let key = record.latest_key()?;
    let line = std::str::from_utf8(record.line()).ok()?;
    let mut attributes = vec![("latest_key", key.to_string())];
    if key.as_str().len() + line.len() <= KEPT {
        attributes.push(("line", line.to_owned()));
    } else {
        let (head, rest) = divided(line)?;
        attributes.extend([("head", head.to_owned()), ("rest", digest(rest))]);
    }
    let text = |(name, value): (&str, String)| (name.to_owned(), AttributeValue::S(value));
    Some(attributes.into_iter().map(text).collect())
}

/// Returns the latest value that the stored record is, whose claim this is. `repeat` is a record of the same event.
pub(super) fn read(claim: &Item, repeat: &Record) -> Option<LatestValue> {
    let text = |name: &str| claim.get(name)?.as_s().ok();
    let key = text("latest_key")?.parse().ok()?;
    let line = if let Some(line) = text("line") {
        Bytes::from(line.clone())
    } else {
        let (_, rest) = divided(std::str::from_utf8(repeat.line()).ok()?)?;
        if digest(rest) != *text("rest")? {
            return None;
        }
        Bytes::from([text("head")?, rest].concat())
    };
    LatestValue::read(key, line).ok()
}

/// Divides a line behind the last member that Weir stamps. The members before it hold no quotes.
fn divided(line: &str) -> Option<(&str, &str)> {
    const LAST: &str = "\"received_at\":";
    let number = line.find(LAST)? + LAST.len();
    let digits = line[number..].find(|c: char| !c.is_ascii_digit())?;
    Some(line.split_at(number + digits))
}

fn digest(text: &str) -> String {
    let mut digest = String::with_capacity(64);
    for byte in Sha256::digest(text) {
        write!(digest, "{byte:02x}").expect("memory takes it");
    }
    digest
}

#[cfg(test)]
mod tests {
    use weir_core::{Event, LatestKey, Stamp, Timestamp};

    use super::*;

    fn record(text: &str, key: Option<&str>, received_at: u64) -> Record {
        let stamp = Stamp {
            username: "ann".parse().unwrap(),
            event_id: "e-1".parse().unwrap(),
            received_at: Timestamp::saturating(received_at),
        };
        let record = Record::accepted(&Event::read(text).unwrap(), &"reading".parse().unwrap(), None, stamp);
        record.latest_under(key.map(LatestKey::of))
    }

    /// An event of any size, with `received_at` of its own in what its client sent.
    fn event(size: usize, more: &str) -> String {
        format!(r#"{{"a":{{"received_at":7}}{more},"text":"{}"}}"#, "ü".repeat(size / 2))
    }

    #[test]
    fn a_repeat_tells_the_record_that_was_stored_whatever_its_size() {
        for more in ["", r#","occurred_at":1795179000000"#] {
            for size in [2, 1_000, 3_000, 250_000] {
                let stored = record(&event(size, more), Some("x"), 1_795_179_605_007);
                let claim = attributes(&stored).unwrap();
                let repeat = record(&event(size, more), Some("x"), 1_795_179_999_999);
                assert_eq!(read(&claim, &repeat), LatestValue::of(&stored), "{size} {more}");
            }
        }
    }

    #[test]
    fn a_repeat_with_other_content_never_changes_what_was_stored() {
        for (size, is_kept) in [(100, true), (3_000, false)] {
            let stored = record(&event(size, ""), Some("x"), 1_795_179_605_007);
            let claim = attributes(&stored).unwrap();
            let repeat = record(&event(size + 2, ""), Some("elsewhere"), 1_795_179_999_999);
            assert_eq!(read(&claim, &repeat), LatestValue::of(&stored).filter(|_| is_kept));
        }
    }

    #[test]
    fn a_claim_of_a_type_without_latest_values_has_nothing_more_in_it() {
        let stored = record(&event(10, ""), None, 1_795_179_605_007);
        assert!(attributes(&stored).is_none());
        assert_eq!(read(&Item::new(), &stored), None);
    }
}
