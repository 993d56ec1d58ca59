//! The events that clients make: valid ones of all types, with fields that no schema names, and broken ones.

use crate::{
    dice::Dice,
    ledger::{Form, Sent},
    operator::USERS,
};

/// Each type's name, route, what it is counted by, and its other required fields.
pub(crate) const TYPES: [(&str, &str, &str, &str); 4] = [
    ("button_click", "/button/click", "button_id", "\"session_id\":\"s1\""),
    ("page_view", "/web/page_view", "url", "\"session_id\": \"s2\""),
    ("prediction", "/ml/prediction", "model", "\"prediction_id\":\"p1\",\"label\":\"stays\",\"score\":0.50"),
    ("outcome", "/ml/outcome", "label", "\"prediction_id\":\"p1\""),
];

/// Texts of values that a careless writer would change.
const ODD: [&str; 7] = [
    "\"odd\":1.0e5",
    "\"odd\":12345678901234567890123",
    "\"odd\":\"\\u00e9 \\n \\\"q\\\" \\/\"",
    "\"odd\":{\"b\" : [1, {\"a\":null}], \"a\":-0}",
    "\"odd\":\"é\\u0000😀\"",
    "\"user\":\"carl-1\"",
    "\"user\":\"carl-1\",\"odd\":{}",
];

pub(crate) fn keys() -> [&'static str; 4] {
    ["a", "b#1", "ü/ä", "https://a.example/?q=1"]
}

/// When an event happened, by its client's clock: lately, long ago, or at a time that cannot be.
fn happened(dice: &Dice, now: u64) -> u64 {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    match dice.range(0..10) {
        0 => now - 400 * DAY - dice.range(0..DAY),
        1 => now - dice.range(0..401 * DAY),
        2 => now + dice.range(0..1_200_000),
        3 => now / 1000,
        _ => now - dice.range(0..9_000_000),
    }
}

/// Makes an event with this number; `of` is the type, where the request is for one type's own route.
pub(crate) fn make(
    dice: &Dice,
    number: usize,
    username: &str,
    now: u64,
    of: Option<usize>,
    large: bool,
) -> Sent {
    let (event_type, _, count_by, others) = TYPES[of.unwrap_or_else(|| dice.index(TYPES.len()))];
    let key = *dice.pick(&keys());
    let marker = format!("\"marker\":\"e{number}\"");
    let named = of.is_none() || dice.chance(300);
    let envelope = if named { format!("\"event_type\":\"{event_type}\",") } else { String::new() };
    if !large && dice.chance(150) {
        let text = match dice.range(0..5) {
            0 => format!("{{{envelope}{marker},\"{count_by}\":7}}"),
            1 => {
                format!("{{{envelope}{marker},\"username\":\"{}\",{others},\"{count_by}\":\"a\"}}", USERS[0])
            }
            2 => format!("{{{marker},\"event_type\":\"no_such_type\"}}"),
            3 => format!("{{{envelope}{marker},{others},\"{count_by}\":\"a\",\"received_at\":1}}"),
            _ => format!("{{{envelope}{marker},{others}}}"),
        };
        return Sent { username: username.to_owned(), text, form: Form::Invalid };
    }
    let event_id = dice.chance(700).then(|| format!("id-{username}-{number}"));
    let occurred_at = dice.chance(400).then(|| happened(dice, now));
    let mut rest = String::new();
    let mut fields = vec![marker, others.to_owned(), format!("\"{count_by}\":\"{key}\"")];
    if dice.chance(600) {
        fields.push((*dice.pick(&ODD)).to_owned());
    }
    if large {
        fields.push(format!("\"filler\":\"{}\"", "x".repeat(210_000)));
    }
    let fields = fields.join(",");
    if let Some(at) = occurred_at {
        rest += &format!(",\"occurred_at\":{at}");
    }
    // Around names and between members, white space is not kept.
    rest += &format!(",{}", fields.replace("\"session_id\": ", "\"session_id\":"));
    rest += "}";
    let id = event_id.as_ref().map_or_else(String::new, |id| format!("\"event_id\":\"{id}\","));
    let at = occurred_at.map_or_else(String::new, |at| format!("\"occurred_at\":{at},"));
    let text = format!("{{{envelope}{id}{at}{fields}}}");
    let form = Form::Valid { event_type, key: key.to_owned(), event_id, rest };
    Sent { username: username.to_owned(), text, form }
}
