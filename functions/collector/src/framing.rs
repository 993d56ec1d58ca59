//! From a body to the texts of its events: one JSON object, a JSON array of them, or NDJSON.

use serde_json::value::RawValue;
use weir_core::Violation;

/// What a body holds.
#[derive(Debug)]
pub(crate) enum Framed<'a> {
    /// The text of each event; whether it is a valid one is not known yet.
    Events(Vec<&'a [u8]>),
    /// Neither of the three.
    Malformed(Violation),
}

/// Finds the events of a body. `ndjson` says that the client announced one event a line; otherwise that is found out.
pub(crate) fn split(body: &[u8], ndjson: bool) -> Framed<'_> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.is_empty() {
        return Framed::Malformed(Violation::whole("the body is empty"));
    }
    if ndjson {
        return Framed::Events(lines(body).collect());
    }
    if body.starts_with(b"[") {
        return match serde_json::from_slice::<Vec<&RawValue>>(body) {
            Ok(items) => Framed::Events(items.into_iter().map(|item| item.get().as_bytes()).collect()),
            Err(error) => Framed::Malformed(Violation::whole(format!("not a valid JSON array: {error}"))),
        };
    }
    // More than one line, the first of which is an object by itself: these are lines, and others of them may be
    // broken. A single object that is written over many lines, broken or not, has no such first line; a later one
    // would prove nothing, as it may be a part of the object.
    if lines(body).nth(1).is_some() && lines(body).next().is_some_and(is_object) {
        return Framed::Events(lines(body).collect());
    }
    Framed::Events(vec![body])
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
    fn one_object_an_array_and_lines_are_told_apart() {
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
    fn what_holds_no_events_is_malformed() {
        assert_eq!(events(" \n"), ["the body is empty"]);
        assert!(events("[{},")[0].starts_with("not a valid JSON array: "));
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
