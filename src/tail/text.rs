//! Formats an event on one line, for people: time, user, type, id and its fields; or why it was rejected, and the original.

use std::borrow::Cow;

use clap::builder::styling::{AnsiColor, Style};
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;
use weir_core::{EventType, Timestamp, json};

use crate::terminal::on_one_line;

/// The longest value that is shown whole, in characters.
const LONGEST: usize = 200;

/// Returns an event's line for people, with the time in this zone. A line that is not an event is shown as it is.
pub(super) fn of_line(line: &[u8], coloured: bool, zone: &TimeZone) -> String {
    let text = String::from_utf8_lossy(line);
    let Ok(members) = json::members(&text) else { return on_one_line(&text) };
    let style = |style: Style| if coloured { style } else { Style::new() };
    let find = |name: &str| {
        members.iter().find(|(found, _)| found == name).map_or(Cow::Borrowed(""), |(_, value)| shown(value))
    };
    let time = find("received_at");
    // Stamped, if it is the first member; elsewhere it is a client's.
    let stamped = members.first().is_some_and(|(name, _)| name == "time");
    let time = time.parse().ok().and_then(|millis| Timestamp::from_millis(millis).ok());
    let time = time.map_or_else(String::new, |time| local(time, zone));
    let event_type = find("event_type");
    let is_rejected = event_type == EventType::rejected().as_str();
    let kind = style(AnsiColor::Cyan.on_default().bold());
    let bad = style(AnsiColor::Red.on_default().bold());
    let faint = style(Style::new().dimmed());
    let said = if is_rejected { bad } else { kind };
    let mut out = format!(
        "{faint}{time}{faint:#} {} {said}{event_type}{said:#} {faint}{}{faint:#}",
        find("username"),
        find("event_id")
    );
    for (name, value) in members.iter().skip(usize::from(stamped)) {
        match &**name {
            "event_id" | "username" | "event_type" | "received_at" => {}
            "errors" if is_rejected => out += &format!(" {bad}{}{bad:#}", reasons(value)),
            "claimed_type" if is_rejected && value.get() == "null" => {}
            name => out += &format!(" {faint}{}={faint:#}{}", on_one_line(name), shown(value)),
        }
    }
    out
}

/// Formats a time in this zone with its offset from UTC, so that it is clear which zone is meant; UTC itself is `Z`.
fn local(time: Timestamp, zone: &TimeZone) -> String {
    let instant = i64::try_from(time.millis()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match instant.map(|instant| (instant, zone.to_offset(instant))) {
        Some((instant, offset)) if !offset.is_zero() => {
            format!("{:.3}", instant.display_with_offset(offset))
        }
        _ => time.to_string(),
    }
}

/// Formats a value: a text without its quotes if it cannot be mistaken for anything else.
fn shown(value: &RawValue) -> Cow<'_, str> {
    let text: Option<Cow<'_, str>> = serde_json::from_str::<String>(value.get()).ok().map(Cow::Owned);
    let is_plain =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
    let text = text.filter(|text| is_plain(text)).unwrap_or(Cow::Borrowed(value.get()));
    let text = match text.char_indices().nth(LONGEST) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => text,
    };
    Cow::Owned(on_one_line(&text))
}

/// Formats every reason.
fn reasons(errors: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Reason {
        path: String,
        message: String,
    }
    let reasons: Vec<Reason> = serde_json::from_str(errors.get()).unwrap_or_default();
    let say = |Reason { path, message }: &Reason| {
        if path.is_empty() { message.clone() } else { format!("{path} {message}") }
    };
    on_one_line(&reasons.iter().map(say).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_event_is_one_line_in_its_order_and_a_rejected_one_says_why() {
        let event = br#"{"event_id":"e-1","username":"ann","event_type":"button_click","received_at":1795179605007,"z":"a b","a":1.10,"t":"x\u001b[2J\n"}"#;
        assert_eq!(
            of_line(event, false, &TimeZone::UTC),
            "2026-11-20T13:00:05.007Z ann button_click e-1 z=\"a b\" a=1.10 t=\"x\\u001b[2J\\n\""
        );
        let rejected = br#"{"event_id":"e-2","username":"ann","event_type":"rejected","received_at":1795179605007,"claimed_type":null,"errors":[{"path":"/a","message":"is required"},{"path":"","message":"no"}],"body":"{}"}"#;
        assert_eq!(
            of_line(rejected, false, &TimeZone::UTC),
            "2026-11-20T13:00:05.007Z ann rejected e-2 /a is required; no body={}"
        );
        assert!(of_line(rejected, true, &TimeZone::UTC).contains("\u{1b}[1m\u{1b}[31mrejected\u{1b}[0m"));
        let long = format!(r#"{{"x":"{}"}}"#, "é".repeat(1000));
        assert!(of_line(long.as_bytes(), false, &TimeZone::UTC).chars().count() < 250);
    }

    #[test]
    fn the_time_is_local_and_its_zone_is_said() {
        let event =
            |at: u64| format!(r#"{{"event_id":"e","username":"a","event_type":"t","received_at":{at}}}"#);
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let shown = |at, zone: &TimeZone| of_line(event(at).as_bytes(), false, zone);
        assert_eq!(shown(1_795_179_605_007, &berlin), "2026-11-20T14:00:05.007+01:00 a t e");
        assert_eq!(shown(1_784_811_605_000, &berlin), "2026-07-23T15:00:05.000+02:00 a t e");
        let nepal = TimeZone::posix("<+0545>-5:45").unwrap();
        assert_eq!(shown(1_795_179_605_007, &nepal), "2026-11-20T18:45:05.007+05:45 a t e");
        assert_eq!(shown(1_795_179_605_007, &TimeZone::UTC), "2026-11-20T13:00:05.007Z a t e");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_in_a_line(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[\\x00-\\u{2fff}]{0,20}") {
            let event = serde_json::json!({&text: &text, "username": &text, "event_type": "rejected", "errors": [{"path": &text, "message": &text}]});
            for line in [bytes, event.to_string().into_bytes()] {
                let shown = of_line(&line, false, &TimeZone::UTC);
                prop_assert_eq!(on_one_line(&shown), shown);
            }
        }
    }
}
