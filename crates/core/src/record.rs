//! Records: events as they are stored, one line of JSON each.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    CountedValue, Counter, Event, EventId, EventType, LatestKey, Partition, Random, Timestamp, Username,
    Violation, dedup::Identity, event_time,
};

/// The longest record with its newline, in bytes: a Firehose record has at most 1,000 KiB
/// (<https://docs.aws.amazon.com/firehose/latest/dev/limits.html>), and Weir leaves room below it.
pub const MAX_RECORD_BYTES: usize = 900 * 1024;

/// A stamped event: the line that the stream stores, and the counter that it raises. Its line has `time` (ms), `bot` (true, if
/// its user agent says that it is one), `event_id`, `username`, `event_type`, `received_at` (ms), `occurred_at` (ms, if the
/// client gave it), then the client's fields with their values exactly as sent, unless the type has them redacted, and those
/// that the collector filled in. Cloning it is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    counter: Counter,
    event_id: EventId,
    is_given: bool,
    is_of_a_bot: bool,
    received_at: Timestamp,
    time: Timestamp,
    latest: Option<LatestKey>,
    line: Bytes,
}

/// The members that Weir stamps onto an event.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The user who sent the event.
    pub username: Username,
    /// Its identity: the client's, or a new one.
    pub event_id: EventId,
    /// The time at which the collector received it.
    pub received_at: Timestamp,
}

impl Stamp {
    /// Makes the stamp of an event that came in at `received_at`. `given` is the id that its client gave it; without one it
    /// gets a new id.
    ///
    /// An id is Weir's own if and only if it carries the millisecond of `received_at`. So an event whose client gave it an id
    /// of this very millisecond is received one millisecond later.
    #[must_use]
    pub fn new(
        username: Username,
        given: Option<EventId>,
        received_at: Timestamp,
        random: &dyn Random,
    ) -> Self {
        match given {
            None => Self { username, event_id: EventId::generate(received_at, random), received_at },
            Some(event_id) => {
                let own = event_id.is_generated_at(received_at);
                Self { username, event_id, received_at: received_at.plus_millis(own.into()) }
            }
        }
    }
}

impl Record {
    /// Makes the record of a valid event. `key` is the key that it counts under, in its type's counts.
    #[must_use]
    pub fn accepted(
        event: &Event<'_>,
        event_type: &EventType,
        key: Option<CountedValue>,
        stamp: Stamp,
    ) -> Self {
        let time = event_time::of(event.occurred_at, stamp.received_at);
        let mut line = head(&stamp, time, event.is_of_a_bot(), event_type);
        if let Some(occurred_at) = event.occurred_at {
            line.extend_from_slice(b",\"occurred_at\":");
            write_json(&mut line, &occurred_at);
        }
        for (name, value) in event.fields() {
            line.push(b',');
            write_json(&mut line, name);
            line.push(b':');
            // Inside a JSON value, line breaks can only be white space between tokens: drop them, and it is a line.
            line.extend(value.get().bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
        }
        for (name, text) in event.filled() {
            line.push(b',');
            write_json(&mut line, name);
            line.push(b':');
            write_json(&mut line, text);
        }
        line.extend_from_slice(b"}\n");
        let is_given = event.event_id.as_ref() == Some(&stamp.event_id);
        let is_of_a_bot = event.is_of_a_bot();
        Self { is_given, is_of_a_bot, ..Self::of(stamp, time, event_type.clone(), key, line) }
    }

    /// Makes the record of an event that failed validation, kept so that it can be looked at and sent again: `body` is the
    /// text that was sent for it (in base64 if it is not UTF-8), `errors` the reasons. A body so large that the record would
    /// not fit is cut to the part that fits, and `truncated` is set.
    #[must_use]
    pub fn rejected(body: &[u8], claimed: Option<&EventType>, errors: &[Violation], stamp: Stamp) -> Self {
        let write = |body: &[u8], errors: &[Violation], truncated: bool| {
            let (text, encoded) = match std::str::from_utf8(body) {
                Ok(text) => (Some(text), None),
                // The cut may have split a character.
                Err(error) if truncated && error.error_len().is_none() => {
                    (std::str::from_utf8(&body[..error.valid_up_to()]).ok(), None)
                }
                Err(_) => (None, Some(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, body))),
            };
            let mut line = head(&stamp, stamp.received_at, false, &EventType::rejected());
            line.push(b',');
            let start = line.len();
            write_json(&mut line, &Rejected { claimed, errors, body: text, body_base64: encoded, truncated });
            // The members go into the object that `head` began.
            line.remove(start);
            line.push(b'\n');
            line
        };
        let mut line = write(body, errors, false);
        let (mut kept, errors) = (body.len(), &errors[..errors.len().min(20)]);
        while line.len() > MAX_RECORD_BYTES {
            // Keeps the part that fits if all of the body grows by the same factor as JSON, less a tenth, as parts of it differ.
            kept = kept * (MAX_RECORD_BYTES / 1024) / (line.len() / 1024 + 1) * 9 / 10;
            line = write(&body[..kept], errors, true);
        }
        let time = stamp.received_at;
        Self::of(stamp, time, EventType::rejected(), None, line)
    }

    fn of(
        stamp: Stamp,
        time: Timestamp,
        event_type: EventType,
        key: Option<CountedValue>,
        line: Vec<u8>,
    ) -> Self {
        let Stamp { username, event_id, received_at } = stamp;
        let counter = Counter { username, event_type, key };
        Self {
            counter,
            event_id,
            is_given: false,
            is_of_a_bot: false,
            received_at,
            time,
            latest: None,
            line: line.into(),
        }
    }

    /// Returns the same record, which may become the latest value under this key; `None` if it is no value of a resource.
    #[must_use]
    pub fn latest_under(self, key: Option<LatestKey>) -> Self {
        Self { latest: key, ..self }
    }

    /// Returns the key under which the event may become the latest value, if it has one.
    #[must_use]
    pub fn latest_key(&self) -> Option<&LatestKey> {
        self.latest.as_ref()
    }

    /// Returns the counter that the event raises.
    #[must_use]
    pub fn counter(&self) -> &Counter {
        &self.counter
    }

    /// Returns the event's identity.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        &self.event_id
    }

    /// Returns the identity for dedup: a repeat of the event has the same one.
    #[must_use]
    pub fn identity(&self) -> Identity<'_> {
        let (username, event_id) = (&self.counter.username, &self.event_id);
        if self.is_rejected() {
            Identity::Rejected { username, event_id }
        } else if self.is_given {
            Identity::Given { username, event_id }
        } else {
            Identity::Made { username, event_id }
        }
    }

    /// Returns whether the event may be a repeat of an earlier one of its identity: whether its client gave it its id.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        matches!(self.identity(), Identity::Given { .. })
    }

    /// Returns whether the event failed validation and is kept aside.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.counter.event_type.is_rejected()
    }

    /// Returns whether the event is marked as one of a bot.
    #[must_use]
    pub fn is_of_a_bot(&self) -> bool {
        self.is_of_a_bot
    }

    /// Returns when the collector received the event.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Returns the event time, which decides the event's hour in the lake: `occurred_at` within the bounds of
    /// [`event_time`], or else the time of arrival.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Returns the record's JSON and the newline behind it.
    #[must_use]
    pub fn line(&self) -> &Bytes {
        &self.line
    }
}

#[derive(Serialize)]
struct Rejected<'a> {
    #[serde(rename = "claimed_type")]
    claimed: Option<&'a EventType>,
    errors: &'a [Violation],
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

fn head(stamp: &Stamp, time: Timestamp, is_of_a_bot: bool, event_type: &EventType) -> Vec<u8> {
    let mut line = Vec::with_capacity(256);
    // Texts are of alphabets that need no escape.
    line.extend_from_slice(TIME.as_bytes());
    write_json(&mut line, &time);
    if is_of_a_bot {
        line.extend_from_slice(MARK.as_bytes());
    }
    line.extend_from_slice(b",\"event_id\":\"");
    line.extend_from_slice(stamp.event_id.as_str().as_bytes());
    line.extend_from_slice(b"\",\"username\":\"");
    line.extend_from_slice(stamp.username.as_str().as_bytes());
    line.extend_from_slice(b"\",\"event_type\":\"");
    line.extend_from_slice(event_type.as_str().as_bytes());
    line.extend_from_slice(b"\",\"received_at\":");
    write_json(&mut line, &stamp.received_at);
    line
}

fn write_json(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(line, value).expect("writing plain data to memory cannot fail");
}

/// The beginning of a line with a stamped `time`. Lines that were stored before `time` was stamped begin with `event_id`; a
/// `time` elsewhere in one of them is a field of its client.
const TIME: &str = "{\"time\":";

/// The mark of a bot's event, which stands behind the stamped `time`. A `bot` elsewhere in a line is a field of its client.
const MARK: &str = ",\"bot\":true";

/// Reads the stamped `time` of a line, and whether it has the mark of a bot's event; `None` if it has no stamped time.
#[inline]
fn stamped_time(line: &str) -> Option<(Timestamp, bool)> {
    let line = line.strip_prefix(TIME)?;
    let (time, behind) = line.split_at(line.find(',')?);
    let is_marked = behind.strip_prefix(MARK).is_some_and(|behind| behind.starts_with(','));
    Some((Timestamp::from_millis(time.parse().ok()?).ok()?, is_marked))
}

/// The part of a stored line that the fan-out needs to route it. The rest of the line is carried unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead {
    /// The event's place in the lake.
    pub partition: Partition,
    /// The event's id.
    pub event_id: EventId,
    /// The time at which the collector received the event.
    pub received_at: Timestamp,
    /// The event time.
    pub time: Timestamp,
    /// Whether the event is marked as one of a bot.
    pub is_of_a_bot: bool,
}

/// Why a stored line cannot be routed.
#[derive(Debug, thiserror::Error)]
pub enum RecordHeadError {
    /// The line is not UTF-8 from this byte on, counted from 1; a reader of the whole object would fail on it.
    #[error("not a record: not UTF-8 from byte {0}")]
    Utf8(usize),
    /// The line is JSON of another kind, or not JSON.
    #[error("not a record: not a JSON object")]
    NotAnObject,
    /// The line is not a JSON object with the four stamped members.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// A stamped name in the line is not valid.
    #[error("not a record: {0}")]
    Name(#[from] crate::NameError),
}

impl RecordHead {
    /// Reads the stamped members of a stored line.
    // Compiled in the calling crate: the fan-out, which reads every line with it, is compiled for speed, this crate for size.
    #[inline]
    pub fn read(line: &[u8]) -> Result<Self, RecordHeadError> {
        #[derive(Deserialize)]
        struct Stamped<'a> {
            #[serde(borrow)]
            event_id: Cow<'a, str>,
            #[serde(borrow)]
            username: Cow<'a, str>,
            #[serde(borrow)]
            event_type: Cow<'a, str>,
            received_at: Timestamp,
        }
        let text =
            std::str::from_utf8(line).map_err(|error| RecordHeadError::Utf8(error.valid_up_to() + 1))?;
        // Serde would accept a list of the four values in their order as well.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(RecordHeadError::NotAnObject);
        }
        let stamped: Stamped<'_> = serde_json::from_str(text)?;
        let (time, is_of_a_bot) = stamped_time(text).unwrap_or((stamped.received_at, false));
        Ok(Self {
            partition: Partition {
                username: stamped.username.parse()?,
                event_type: stamped.event_type.parse()?,
                hour: time.hour(),
            },
            event_id: stamped.event_id.parse()?,
            received_at: stamped.received_at,
            time,
            is_of_a_bot,
        })
    }

    /// Returns the identity for dedup: the same as the [`Record`]'s when it was stored.
    #[must_use]
    #[inline]
    pub fn identity(&self) -> Identity<'_> {
        let Partition { username, event_type, .. } = &self.partition;
        Identity::of(username, event_type, &self.event_id, self.received_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{ENVELOPE, MAX_EVENT_BYTES, STAMPED};

    fn stamp() -> Stamp {
        Stamp {
            username: "ethan".parse().unwrap(),
            event_id: "e-1".parse().unwrap(),
            received_at: Timestamp::from_millis(1_795_179_605_007).unwrap(),
        }
    }

    fn stored(text: &str) -> Record {
        Record::accepted(&Event::read(text).unwrap(), &"button_click".parse().unwrap(), None, stamp())
    }

    #[test]
    fn a_record_is_one_line_with_the_stamp_and_the_clients_text_unchanged() {
        let record =
            stored("{\"n\": 123456789012345678901234567890,\r\n \"x\":{\n\"y\": 1.10}, \"s\":\"a\\nb\"}");
        assert_eq!(
            std::str::from_utf8(record.line()).unwrap(),
            "{\"time\":1795179605007,\"event_id\":\"e-1\",\"username\":\"ethan\",\"event_type\":\"button_click\",\"received_at\":1795179605007,\
             \"n\":123456789012345678901234567890,\"x\":{\"y\": 1.10},\"s\":\"a\\nb\"}\n"
        );
    }

    #[test]
    fn a_rejected_record_keeps_what_was_sent_and_why() {
        let errors = [Violation::new("/a", "is required")];
        let record = Record::rejected(b"{\"b\":\x01", Some(&"page_view".parse().unwrap()), &errors, stamp());
        let line: Value = serde_json::from_slice(record.line()).unwrap();
        assert_eq!(line["event_type"], "rejected");
        assert_eq!(line["claimed_type"], "page_view");
        assert_eq!(line["body"], "{\"b\":\u{1}");
        assert_eq!(line["errors"], json!([{"path": "/a", "message": "is required"}]));
        let line: Value =
            serde_json::from_slice(Record::rejected(b"\xff", None, &errors, stamp()).line()).unwrap();
        assert_eq!(line["body_base64"], "/w==");
    }

    #[test]
    fn a_rejected_record_fits_however_large_the_body() {
        let errors = vec![Violation::new("\u{1}".repeat(400), "\u{1}".repeat(400)); 100];
        for body in [vec![1; 16 << 20], "é".repeat(8 << 20).into_bytes(), vec![255; 16 << 20]] {
            let record = Record::rejected(&body, None, &errors, stamp());
            assert!(record.line().len() <= MAX_RECORD_BYTES);
            let line: Value = serde_json::from_slice(record.line()).unwrap();
            assert_eq!(line["truncated"], true);
            let kept = line["body"].as_str().or(line["body_base64"].as_str()).unwrap().len();
            assert!(kept > 90 * 1024, "{kept}");
        }
    }

    #[test]
    fn the_largest_event_fits_a_record() {
        let text = format!("{{\"{}\":1}}", "x".repeat(MAX_EVENT_BYTES - 6));
        assert_eq!(text.len(), MAX_EVENT_BYTES);
        assert!(stored(&text).line().len() <= MAX_RECORD_BYTES);
    }

    #[test]
    fn lines_that_are_no_record_are_refused_with_a_reason() {
        for bad in [
            "",
            "{}",
            "null",
            "[]",
            r#"{"event_id":"1","username":"../x","event_type":"t","received_at":1}"#,
            r#"{"event_id":"1","username":"x","event_type":"T","received_at":1}"#,
            r#"{"event_id":"1","username":"x","event_type":"t","received_at":-1}"#,
            r#"{"event_id":"1","username":"x","event_type":"t","received_at":1e3}"#,
            r#"{"event_id":"","username":"x","event_type":"t","received_at":1}"#,
            r#"{"event_id":"1","username":"x","event_type":"t","received_at":253402207200001}"#,
            r#"{"event_id":"1","username":"x","username":"y","event_type":"t","received_at":1}"#,
        ] {
            let error = RecordHead::read(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("not a record: "), "{error}");
        }
        let list = RecordHead::read(br#"["1","x","t",1]"#).unwrap_err().to_string();
        assert_eq!(list, "not a record: not a JSON object");
        let skipped =
            b"{\"event_id\":\"1\",\"username\":\"x\",\"event_type\":\"t\",\"received_at\":1,\"x\":\"\xff\"}";
        assert_eq!(
            RecordHead::read(skipped).unwrap_err().to_string(),
            "not a record: not UTF-8 from byte 70"
        );
    }

    #[test]
    fn an_event_belongs_to_the_hour_in_which_it_happened_and_the_line_says_so() {
        let record = stored(r#"{"occurred_at":1767603900000,"x":1}"#);
        assert_eq!(record.time().millis(), 1_767_603_900_000);
        let line = std::str::from_utf8(record.line()).unwrap();
        assert!(line.starts_with(r#"{"time":1767603900000,"event_id":"#), "{line}");
        let head = RecordHead::read(line.as_bytes()).unwrap();
        assert_eq!(head.partition.hour.parts(), [2026, 1, 5, 9]);
        assert_eq!(head.received_at, stamp().received_at);
        let rejected = Record::rejected(br#"{"occurred_at":1767603900000}"#, None, &[], stamp());
        let head = RecordHead::read(rejected.line()).unwrap();
        assert_eq!(head.partition.hour, stamp().received_at.hour());
    }

    #[test]
    fn a_line_stored_without_a_time_is_of_its_arrival_whatever_its_client_calls_time() {
        let arrived = r#""event_id":"1","username":"x","event_type":"t","received_at":1795179605007"#;
        for time in ["", r#","time":1767603900000"#, r#","time":"noon""#, r#","time":null,"time":[1]"#] {
            let head = RecordHead::read(format!("{{{arrived}{time}}}").as_bytes()).unwrap();
            assert_eq!(head.partition.hour, stamp().received_at.hour(), "{time}");
        }
        // Weir stamps none of these.
        for time in ["1e3", "-1", "\"1\"", "253402207200001", " 1767603900000", ""] {
            let head = RecordHead::read(format!("{{\"time\":{time},{arrived}}}").as_bytes());
            assert!(head.is_err() || head.unwrap().partition.hour == stamp().received_at.hour(), "{time}");
        }
    }

    #[test]
    fn the_mark_of_a_bots_event_is_read_back_and_no_field_of_a_client_is_taken_for_it() {
        let of = |text: &str, is_marked: bool| {
            let mut event = Event::read(text).unwrap();
            if is_marked {
                event.mark_as_of_a_bot();
            }
            Record::accepted(&event, &"button_click".parse().unwrap(), None, stamp())
        };
        let line = |record: &Record| serde_json::from_slice::<Value>(record.line()).unwrap();
        for (text, is_marked, bot) in [
            ("{}", true, json!(true)),
            ("{}", false, json!(null)),
            (r#"{"bot":"R2-D2"}"#, true, json!("R2-D2")),
            (r#"{"bot":true}"#, false, json!(true)),
            (r#"{"bot":null}"#, true, json!(null)),
            (r#"{"n":{"bot":1}}"#, true, json!(true)),
        ] {
            let record = of(text, is_marked);
            let is_own = text.starts_with(r#"{"bot"#);
            assert_eq!(line(&record)["bot"], bot, "{text}");
            assert_eq!(record.is_of_a_bot(), is_marked && !is_own, "{text}");
            assert_eq!(RecordHead::read(record.line()).unwrap().is_of_a_bot, record.is_of_a_bot(), "{text}");
        }
        // Stored before there was a mark, or before there was a time.
        let arrived = r#""event_id":"1","username":"x","event_type":"t","received_at":1795179605007"#;
        for old in [
            format!(r#"{{"time":1795179605007,{arrived},"bot":true}}"#),
            format!(r#"{{{arrived},"bot":true}}"#),
            format!(r#"{{"bot":true,{arrived}}}"#),
            format!(r#"{{"time":1795179605007,"bot":"true",{arrived}}}"#),
        ] {
            assert!(!RecordHead::read(old.as_bytes()).unwrap().is_of_a_bot, "{old}");
        }
    }

    #[test]
    fn only_an_accepted_event_whose_client_gave_it_an_id_is_remembered() {
        let identity = stored(r#"{"event_id":"e-1"}"#).identity().to_remember();
        assert_eq!(identity.as_deref(), Some("ethan/e-1"));
        let made = Stamp::new(stamp().username, None, stamp().received_at, &crate::SeededRandom::new(1));
        let event = Event::read("{}").unwrap();
        let made = Record::accepted(&event, &"button_click".parse().unwrap(), None, made);
        assert!(!made.may_repeat());
        assert_eq!(made.identity().to_remember(), None);
        let rejected = Record::rejected(br#"{"event_id":"e-1"}"#, None, &[], stamp());
        assert_eq!(rejected.identity().to_remember(), None);
    }

    proptest! {
        #[test]
        fn every_event_that_reads_is_stored_as_one_line_that_says_the_same(
            name in "\\PC{1,10}", text in "\\PC{0,30}", number in any::<f64>(), spaces in "[ \n\r\t]{0,4}",
        ) {
            prop_assume!(!STAMPED.iter().chain(&ENVELOPE).any(|own| *own == name));
            let fields = json!({name: [text, {"n": number}]});
            let pretty = format!("{spaces}{}{spaces}", serde_json::to_string_pretty(&fields).unwrap());
            let record = stored(&pretty);
            prop_assert_eq!(record.line().split(|b| *b == b'\n').count(), 2);
            let mut line: Value = serde_json::from_slice(record.line()).unwrap();
            let object = line.as_object_mut().unwrap();
            for stamped in ["time", "event_id", "username", "event_type", "received_at"] { object.remove(stamped).unwrap(); }
            prop_assert_eq!(line, fields);
            let head = RecordHead::read(record.line()).unwrap();
            prop_assert_eq!(head.event_id.as_str(), "e-1");
            prop_assert_eq!(head.partition.hour, record.received_at().hour());
        }
    }
}
