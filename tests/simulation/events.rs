//! The events that clients make: valid ones of all types, with fields that no schema names, and broken ones.

use weir_core::Catalog;

use crate::{
    ledger::{Form, Sent},
    operations::{Event, Id, Is},
    operator::USERS,
};

/// Each type's name, route, what it is counted by, and its other required fields.
pub(crate) const TYPES: [(&str, &str, &str, &str); 4] = [
    ("button_click", "/button/click", "button_id", "\"session_id\":\"s1\""),
    ("page_view", "/web/page_view", "url", "\"session_id\": \"s2\""),
    ("prediction", "/ml/prediction", "model", "\"prediction_id\":\"p1\",\"label\":\"stays\",\"score\":0.50"),
    ("outcome", "/ml/outcome", "label", "\"prediction_id\":\"p1\""),
];

/// The type whose latest values are kept, by what it is counted by.
pub(crate) const LATEST_TYPE: &str = "prediction";

/// The built-in catalog, in which one type has latest values.
pub(crate) fn catalog() -> Catalog {
    let prediction = include_str!("../../catalog/prediction.json");
    let counted = "\"count_by\": \"model\"";
    let prediction = prediction.replace(counted, &format!("{counted}, \"latest_by\": \"model\""));
    let catalog = Catalog::read([
        ("button_click.json", include_str!("../../catalog/button_click.json")),
        ("outcome.json", include_str!("../../catalog/outcome.json")),
        ("page_view.json", include_str!("../../catalog/page_view.json")),
        ("prediction.json", &prediction),
    ])
    .unwrap();
    assert!(catalog.get(&LATEST_TYPE.parse().unwrap()).unwrap().latest_by().is_some());
    catalog
}

/// Texts of values that a careless writer would change.
pub(crate) const ODD: [&str; 7] = [
    "\"odd\":1.0e5",
    "\"odd\":12345678901234567890123",
    "\"odd\":\"\\u00e9 \\n \\\"q\\\" \\/\"",
    "\"odd\":{\"b\" : [1, {\"a\":null}], \"a\":-0}",
    "\"odd\":\"é\\u0000😀\"",
    "\"user\":\"carl-1\"",
    "\"user\":\"carl-1\",\"odd\":{}",
];

/// The type of this name.
pub(crate) fn of_type(name: &str) -> (&'static str, &'static str, &'static str, &'static str) {
    *TYPES.iter().find(|(known, ..)| *known == name).unwrap()
}

pub(crate) fn keys() -> [&'static str; 4] {
    ["a", "b#1", "ü/ä", "https://a.example/?q=1"]
}

/// Makes an event with this number, which is the `nth` of its write; in a request for one type's own `route`, or with others.
pub(crate) fn make(
    event: &Event,
    (number, nth): (usize, usize),
    username: &str,
    now: u64,
    route: bool,
    large: bool,
) -> Sent {
    let (event_type, _, count_by, others) = of_type(event.kind);
    let key = event.key;
    let marker = format!("\"marker\":\"e{number}\"");
    let named = !route || event.named;
    let envelope = if named { format!("\"event_type\":\"{event_type}\",") } else { String::new() };
    let invalid = match event.is {
        _ if large => None,
        Is::Valid => None,
        Is::OfAnotherKind => Some(format!("{{{envelope}{marker},\"{count_by}\":7}}")),
        Is::NamingAUser => Some(format!(
            "{{{envelope}{marker},\"username\":\"{}\",{others},\"{count_by}\":\"a\"}}",
            USERS[0]
        )),
        Is::OfNoType => Some(format!("{{{marker},\"event_type\":\"no_such_type\"}}")),
        Is::Stamped => {
            Some(format!("{{{envelope}{marker},{others},\"{count_by}\":\"a\",\"received_at\":1}}"))
        }
        Is::WithoutItsKey => Some(format!("{{{envelope}{marker},{others}}}")),
    };
    if let Some(text) = invalid {
        return Sent { username: username.to_owned(), text, form: Form::Invalid };
    }
    let event_id = (event.id != Id::Without).then(|| format!("id-{username}-{}-{nth}", event.of));
    let occurred_at = event.ago.map(|ago| now.saturating_add_signed(-ago));
    let mut rest = String::new();
    let mut fields = vec![marker, others.to_owned(), format!("\"{count_by}\":\"{key}\"")];
    fields.extend(event.odd.map(|odd| ODD[odd].to_owned()));
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
