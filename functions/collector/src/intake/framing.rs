//! Splits a body into the texts of its events: one JSON object, a JSON array of them, or NDJSON.

use std::borrow::Cow;

use serde_json::value::RawValue;
use weir_core::{Violation, looks};

use crate::intake::elements;

/// The content of a body.
#[derive(Debug)]
pub(crate) enum Framed<'a> {
    /// The text of each event, not validated yet.
    Events(Vec<&'a [u8]>),
    /// The body has no recognisable form.
    Malformed(Violation),
}

/// Finds the events of a body. `ndjson` means that the client announced one event a line; otherwise the format is detected.
pub(crate) fn split(body: &[u8], ndjson: bool) -> Framed<'_> {
    if let Some(looks) = looks::of_bytes(body)
        && !lines(body).any(is_object)
    {
        return Framed::Malformed(Violation::whole(format!("not JSON: {looks}")));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.is_empty() {
        return Framed::Malformed(Violation::whole("the body is empty"));
    }
    if ndjson {
        return Framed::Events(lines(body).collect());
    }
    match readable(body) {
        Cow::Borrowed(body) => find(body),
        Cow::Owned(readable) => match find(&readable) {
            Framed::Events(events) => {
                let place = |event: &[u8]| event.as_ptr().addr() - readable.as_ptr().addr();
                Framed::Events(events.into_iter().map(|event| &body[place(event)..][..event.len()]).collect())
            }
            Framed::Malformed(violation) => Framed::Malformed(violation),
        },
    }
}

/// Returns the body with a question mark for each byte that is no part of a UTF-8 character. The length stays the same, so
/// a wrong byte hides only itself from the parser.
fn readable(body: &[u8]) -> Cow<'_, [u8]> {
    if std::str::from_utf8(body).is_ok() {
        return Cow::Borrowed(body);
    }
    let mut text = Vec::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.extend_from_slice(chunk.valid().as_bytes());
        text.resize(text.len() + chunk.invalid().len(), b'?');
    }
    Cow::Owned(text)
}

/// Finds the events of a body that is UTF-8 and not empty.
fn find(body: &[u8]) -> Framed<'_> {
    if body.starts_with(b"[") {
        let error = match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(items) => {
                return Framed::Events(items.into_iter().map(|item| item.get().as_bytes()).collect());
            }
            Err(error) => error,
        };
        if let Some(elements) = elements::apart(body) {
            return Framed::Events(elements);
        }
        if !first_line_is_no_array(body) {
            let message = format!(
                "not a valid JSON array: {error}; where its elements begin and end is not certain, so none of them was \
                 stored, and the body is kept"
            );
            return Framed::Malformed(Violation::whole(message));
        }
    }
    if lines(body).nth(1).is_some() && is_ndjson(body) {
        return Framed::Events(lines(body).collect());
    }
    Framed::Events(vec![body])
}

/// Returns whether a body of several lines is unannounced NDJSON. Any of its lines may be broken.
///
/// A single object over many lines also has lines that are objects by themselves: parts of it. So where the first line may
/// be the beginning of such an object, a later line counts only if it names its type and comes after the point up to which
/// the body reads as one object.
fn is_ndjson(body: &[u8]) -> bool {
    let Some(first) = lines(body).next() else { return false };
    if is_object(first) {
        return true;
    }
    if !is_beginning(first) {
        return lines(body).skip(1).any(is_object);
    }
    let mut documents = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    let end = match documents.next() {
        Some(Ok(_)) => documents.byte_offset(),
        Some(Err(error)) if error.is_eof() => body.len(),
        Some(Err(error)) => offset(body, error.line(), error.column()),
        None => return false,
    };
    // The line of the syntax error may be the event itself.
    let line = body[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    lines(&body[line..]).any(|line| is_object(line) && names_its_type(line))
}

/// Returns whether a body that begins like an array is lines instead: its first line is complete, or wrong, by itself
/// (`[1]`, `[INFO] …`), and another line is an event.
fn first_line_is_no_array(body: &[u8]) -> bool {
    lines(body).next().is_some_and(|first| !is_beginning(first)) && lines(body).skip(1).any(is_object)
}

/// Returns whether a line is an incomplete beginning of JSON.
fn is_beginning(line: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(line).is_err_and(|error| error.is_eof())
}

/// Returns the position at which the parser stopped. Lines count from 1; column 0 is the end of the line before.
fn offset(body: &[u8], line: usize, column: usize) -> usize {
    let ends = body.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = std::iter::once(0).chain(ends).nth(line.saturating_sub(1)).unwrap_or(body.len());
    (start + column).saturating_sub(1).clamp(start.min(body.len()), body.len())
}

fn names_its_type(line: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "event_type")]
        _event_type: &'a RawValue,
    }
    serde_json::from_slice::<Named<'_>>(line).is_ok()
}

fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn is_document(text: &[u8]) -> bool {
    serde_json::from_slice::<&RawValue>(text).is_ok()
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && is_document(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(body: &str) -> Vec<String> {
        match split(body.as_bytes(), false) {
            Framed::Events(events) => {
                events.into_iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
            }
            Framed::Malformed(violation) => vec![violation.message],
        }
    }

    #[test]
    fn one_object_an_array_and_lines_are_distinguished() {
        assert_eq!(events(" {\"a\":1}\n"), ["{\"a\":1}"]);
        assert_eq!(events("{\n \"a\": {\n }\n}"), ["{\n \"a\": {\n }\n}"]);
        assert_eq!(events("[{\"a\":1}, 2,\n{}]"), ["{\"a\":1}", "2", "{}"]);
        assert_eq!(events("[]"), Vec::<String>::new());
        assert_eq!(events("{\"a\":1}\r\n\r\n{\"b\":2}"), ["{\"a\":1}", "{\"b\":2}"]);
        assert_eq!(events("\u{feff}{}"), ["{}"]);
    }

    #[test]
    fn a_broken_line_is_an_event_of_its_own() {
        assert_eq!(events("{\"a\":1}\noops\n{\"b\":"), ["{\"a\":1}", "oops", "{\"b\":"]);
        let Framed::Events(announced) = split(b"oops\n{}", true) else { panic!() };
        assert_eq!(announced, [&b"oops"[..], b"{}"]);
    }

    #[test]
    fn a_broken_object_over_many_lines_stays_whole() {
        for broken in ["{\n\"a\": 1,\n}", "{\"a\":\n{\"event_type\":\"t\"}\n\"b\": 1}", "{\"a\":\n{\"b\":1}"]
        {
            assert_eq!(events(broken), [broken]);
        }
    }

    #[test]
    fn lines_are_found_although_the_first_one_is_broken_and_nothing_announced_them() {
        let good = r#"{"event_type":"t","a":{"b":1}}"#;
        for first in [
            "oops",
            "{",
            r#"{"event_type":"t"#,
            r#"{"a":1,"#,
            r#"{"a":nope}"#,
            r#"{"a":1}}"#,
            "\"text\"",
            "7",
            "[1]",
            "[INFO] starting",
            "event_type,a",
            "\u{feff}x",
        ] {
            assert_eq!(events(&format!("{first}\n{good}\n{good}")).len(), 3, "{first}");
            assert_eq!(events(&format!("\n\r\n{first}\r\n{good}\r\n")).len(), 2, "{first}");
        }
        // A line cut before a member's value takes the next line for the value; the line after that proves that these are
        // lines.
        assert_eq!(events(&format!("{{\"a\":\n{good}\n{good}")).len(), 3);
        // A cut or broken array stays one event: it announced itself as a whole.
        assert_eq!(events(&format!("[\n{good},\n{good}")).len(), 1);
    }

    #[test]
    fn a_byte_that_is_not_utf_8_hides_no_event_but_its_own() {
        let texts = [
            &br#"{"a":1}"#[..],
            b"{\"a\":\"caf\xe9, [\"}",
            b"{\"\xff\xf0\x9f\":[{}]}",
            "{\"é\":2}".as_bytes(),
        ];
        let array = [b"[", &texts.join(&b',')[..], b"]"].concat();
        let (lines, broken) = (texts.join(&b'\n'), texts[1..3].join(&b'\n'));
        for (body, expected) in [(array, &texts[..]), (lines, &texts[..]), (broken, &texts[1..3])] {
            let Framed::Events(found) = split(&body, false) else { panic!("{}", body.escape_ascii()) };
            assert_eq!(found, expected, "{}", body.escape_ascii());
        }
        // Announced lines are lines, whatever the first one begins like.
        assert!(matches!(split(b"\x1f\x8b?\n{}\n{}", true), Framed::Events(lines) if lines.len() == 3));
        // A byte outside of any text may stand for a quote.
        assert!(matches!(split(b"[{},\xe9{}]", false), Framed::Malformed(_)));
    }

    #[test]
    fn a_broken_element_of_an_array_is_an_event_of_its_own() {
        let found = events("[{\"a\":NaN},\n{\"b\":1}\n]");
        assert_eq!(found, ["{\"a\":NaN}", "{\"b\":1}"]);
        assert_eq!(events("[{\"b\":1},\n]"), ["{\"b\":1}", ""]);
    }

    #[test]
    fn what_holds_no_events_is_malformed() {
        assert_eq!(events(" \n"), ["the body is empty"]);
        for cut in ["[{},", "[{}{}]", "[{\"a\":\"x},{}]"] {
            assert!(events(cut)[0].starts_with("not a valid JSON array: "), "{cut}");
            assert!(events(cut)[0].contains("is not certain"), "{cut}");
        }
        for (body, announced) in
            [(&b"\xff\xfe{\0}\0\n\0"[..], true), (b"{\0}\0", false), (b"\x1f\x8b\n\n?\n?", true)]
        {
            assert!(matches!(split(body, announced), Framed::Malformed(_)), "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_list_of_objects_is_found_again_in_both_forms(numbers in proptest::collection::vec(any::<u32>(), 2..20)) {
            let texts: Vec<String> = numbers.iter().map(|n| format!("{{\"n\":{n}}}")).collect();
            prop_assert_eq!(events(&texts.join("\n")), texts.clone());
            prop_assert_eq!(events(&format!("[{}]", texts.join(" ,"))), texts);
        }

        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200), ndjson: bool) {
            let _ = split(&body, ndjson);
        }
    }
}
