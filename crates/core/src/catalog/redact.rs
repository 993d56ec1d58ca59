//! `redact` of `x-weir`: the fields of an event type whose values are redacted before they are stored.

use std::{borrow::Cow, collections::BTreeMap};

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::own::{Fault, fault, is_text};
use crate::{Event, InstallationSecret, Redaction};

/// The redacted fields of an event type.
#[derive(Debug, Default)]
pub struct Redact(BTreeMap<String, Redaction>);

/// Keywords that say nothing about a value, and lengths, which are compared.
const HARMLESS: [&str; 11] = [
    "type",
    "title",
    "description",
    "examples",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "minLength",
    "maxLength",
];

impl Redact {
    pub(super) fn read(own: &Map<String, Value>, properties: &Map<String, Value>) -> Result<Self, Fault> {
        let Some(redact) = own.get("redact") else { return Ok(Self::default()) };
        let Some(redact) = redact.as_object() else {
            let message = "redact must be an object, like {\"ipaddress\": \"truncate\", \"email\": \"hash\"}";
            return Err(fault(&["x-weir", "redact"], message.to_owned()));
        };
        let mut fields = BTreeMap::new();
        for (name, how) in redact {
            let shown = name.escape_debug();
            let redaction = match how.as_str() {
                Some("truncate") => Redaction::Truncate,
                Some("hash") => Redaction::Hash,
                _ => {
                    let message =
                        format!("redact can truncate or hash {shown}: say \"truncate\" or \"hash\"");
                    return Err(fault(&["x-weir", "redact", name], message));
                }
            };
            let Some(schema) = properties.get(name) else {
                let message = format!("redact names {shown}, which is not among the properties");
                return Err(fault(&["x-weir", "redact", name], message));
            };
            if !is_text(schema) {
                let message = format!("redact names {shown}, whose type must be \"string\" to be redacted");
                return Err(fault(&["properties", name], message));
            }
            if let Some(keyword) = in_the_way(schema, redaction) {
                let message = format!(
                    "redact names {shown}, whose redacted values would not meet its {}: remove one of the two",
                    keyword.escape_debug()
                );
                return Err(fault(&["properties", name, keyword], message));
            }
            fields.insert(name.clone(), redaction);
        }
        Ok(Self(fields))
    }

    /// Looks for an example that would be no valid event once it is redacted, because of a rule that is not the field's own.
    pub(super) fn disagrees(&self, schema: &Map<String, Value>, validator: &Validator) -> Option<Fault> {
        let examples = schema.get("examples")?.as_array()?;
        let at = examples.iter().position(|example| {
            let mut example = example.clone();
            for (name, redaction) in self.iter() {
                if let Some(Value::String(text)) = example.get_mut(name) {
                    // Any text of a hash's length will do.
                    *text = match redaction {
                        Redaction::Hash => "0".repeat(Redaction::HASH_CHARS),
                        Redaction::Truncate => redaction.of(text, None),
                    };
                }
            }
            !validator.is_valid(&example)
        })?;
        let message = "the example would not be a valid event any more once it is redacted";
        Some(fault(&["examples", &at.to_string()], message.to_owned()))
    }

    /// Returns whether nothing is redacted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how a field is redacted, if it is.
    #[must_use]
    pub fn of(&self, field: &str) -> Option<Redaction> {
        self.0.get(field).copied()
    }

    /// Returns the fields, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Redaction)> {
        self.0.iter().map(|(name, redaction)| (name.as_str(), *redaction))
    }

    /// Returns whether a field is hashed.
    pub(super) fn hashes(&self) -> bool {
        self.0.values().any(|redaction| *redaction == Redaction::Hash)
    }

    pub(super) fn event(&self, event: &mut Event<'_>, secret: Option<&InstallationSecret>) {
        for (name, redaction) in self.iter() {
            event.replace_text(name, |text| redaction.of(text, secret));
        }
    }
}

/// Returns a keyword of a field's schema that redacted values may not meet.
fn in_the_way(schema: &Value, redaction: Redaction) -> Option<&str> {
    let (keywords, hash) = (schema.as_object()?, Redaction::HASH_CHARS as u64);
    let refused = |(keyword, value): (&String, &Value)| match (keyword.as_str(), redaction) {
        ("minLength", Redaction::Truncate) => value.as_u64() != Some(0),
        ("minLength", Redaction::Hash) => value.as_u64().is_none_or(|least| least > hash),
        ("maxLength", Redaction::Hash) => value.as_u64().is_none_or(|most| most < hash),
        ("format", Redaction::Truncate) => !matches!(value.as_str(), Some("ipv4" | "ipv6")),
        (keyword, _) => !HARMLESS.contains(&keyword),
    };
    keywords.iter().find(|keyword| refused(*keyword)).map(|(keyword, _)| keyword.as_str())
}

/// Redacts the members of these names in a text that may not be JSON, at any depth: each name in quotation marks with a colon
/// behind it, and the value that follows. The text is not parsed from its beginning, so a fault in it hides nothing behind it.
pub(super) fn body<'a>(
    body: &'a [u8],
    rules: &[(&str, Redaction)],
    secret: Option<&InstallationSecret>,
) -> Cow<'a, [u8]> {
    let (mut redacted, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(quote) = body[at..].iter().position(|byte| *byte == b'"').filter(|_| !rules.is_empty()) {
        at += quote + 1;
        let named = rules.iter().find_map(|(name, rule)| Some((behind_name(body, at, name)?, *rule)));
        let Some((colon, rule)) = named else { continue };
        let begin = behind_space(body, colon + 1);
        let value = body[begin..value_end(body, begin)].trim_ascii_end();
        let end = begin + value.len();
        at = end;
        if value != b"null" {
            let text = serde_json::from_slice::<String>(value);
            let text = text.unwrap_or_else(|_| String::from_utf8_lossy(value).into_owned());
            redacted.extend_from_slice(&body[copied..begin]);
            redacted.extend_from_slice(Value::from(rule.of(&text, secret)).to_string().as_bytes());
            copied = end;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(body);
    }
    redacted.extend_from_slice(&body[copied..]);
    Cow::Owned(redacted)
}

/// Returns the place of the colon behind a member's name, if the text has this name at `at`, without regard to case.
fn behind_name(body: &[u8], mut at: usize, name: &str) -> Option<usize> {
    for expected in name.encode_utf16() {
        let (unit, next) = unit(body, at)?;
        let fold = |unit: u16| u8::try_from(unit).map_or(unit, |byte| byte.to_ascii_lowercase().into());
        if fold(unit) != fold(expected) {
            return None;
        }
        at = next;
    }
    let at = if body.get(at) == Some(&b'"') { behind_space(body, at + 1) } else { return None };
    (body.get(at) == Some(&b':')).then_some(at)
}

/// Reads the UTF-16 code unit at a place within a JSON string; returns the place behind it, too.
fn unit(body: &[u8], at: usize) -> Option<(u16, usize)> {
    let rest = body.get(at..)?;
    if let [b'\\', b'u', rest @ ..] = rest {
        let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
        return Some((u16::from_str_radix(digits, 16).ok()?, at + 6));
    }
    if let [b'\\', escaped, ..] = rest {
        return Some((u16::from(*escaped), at + 2));
    }
    let length = match rest.first()? {
        0..0x80 => 1,
        0..0xe0 => 2,
        0..0xf0 => 3,
        // No name of a field needs it: it is left unredacted only if it is sent raw.
        _ => return None,
    };
    let char = std::str::from_utf8(rest.get(..length)?).ok()?.chars().next()?;
    Some((u16::try_from(u32::from(char)).ok()?, at + length))
}

fn behind_space(body: &[u8], at: usize) -> usize {
    at + body[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Returns the end of the value that begins at `at`: of a string, an object or an array, or else before the next comma, bracket
/// or line. A value that does not end takes all of the text.
fn value_end(body: &[u8], at: usize) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in body[at..].iter().enumerate() {
        let here = at + offset;
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return here + 1;
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return here + 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' | b',' | b'\n' if depth == 0 => return here,
            _ => {}
        }
    }
    body.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{Catalog, EventType, Record, SeededRandom, Stamp, Timestamp};

    const SIGNUP: &str = r#"{"type": "object", "required": ["email"],
        "properties": {"email": {"type": "string"}, "ip": {"type": ["string", "null"]}, "plan": {"type": "string"}},
        "x-weir": {"route": "/signup", "count_by": "email", "latest_by": "email", "redact": {"email": "hash", "ip": "truncate"}}}"#;

    fn catalog() -> Catalog {
        let secret = InstallationSecret::generate(&SeededRandom::new(1));
        Catalog::read([("signup.json", SIGNUP)]).unwrap().with_secret(Some(secret))
    }

    fn signup() -> EventType {
        "signup".parse().unwrap()
    }

    fn hash(text: &str) -> String {
        catalog().redacted(catalog().get(&signup()).unwrap(), "email", text).unwrap()
    }

    /// Stores an event as the collector does.
    fn stored(text: &str) -> Record {
        let catalog = catalog();
        let definition = catalog.get(&signup()).unwrap();
        let mut event = Event::read(text).unwrap();
        definition.check(&event).unwrap();
        assert!(catalog.redact(definition, &mut event));
        let stamp = Stamp {
            username: "ann".parse().unwrap(),
            event_id: "1".parse().unwrap(),
            received_at: Timestamp::saturating(7),
        };
        let latest = definition.latest_key(&event);
        Record::accepted(&event, &signup(), definition.key_of(&event), stamp).latest_under(latest)
    }

    #[test]
    fn a_field_that_cannot_hold_what_is_stored_is_refused_with_its_line() {
        for (redact, email, said) in [
            (
                r#"{"mail": "hash"}"#,
                r#"{"type": "string"}"#,
                "a.json:3: redact names mail, which is not among",
            ),
            (r#"{"email": "mask"}"#, r#"{"type": "string"}"#, "a.json:3: redact can truncate or hash email"),
            ("[]", r#"{"type": "string"}"#, "a.json:3: redact must be an object"),
            (r#"{"email": "hash"}"#, r#"{"type": "integer"}"#, "a.json:2: redact names email, whose type"),
            (r#"{"email": "hash"}"#, "{}", "a.json:2: redact names email, whose type"),
            (
                r#"{"email": "hash"}"#,
                r#"{"type": "string", "format": "email"}"#,
                "a.json:2: redact names email, whose redacted values would not meet its format",
            ),
            (
                r#"{"email": "truncate"}"#,
                r#"{"type": "string", "format": "email"}"#,
                "a.json:2: redact names",
            ),
            (
                r#"{"email": "hash"}"#,
                r#"{"type": "string", "enum": ["a"]}"#,
                "a.json:2: redact names email, whose redacted values would not meet its enum",
            ),
            (r#"{"email": "hash"}"#, r#"{"type": "string", "pattern": "@"}"#, "a.json:2: redact names"),
            (r#"{"email": "hash"}"#, r#"{"type": "string", "const": "a"}"#, "a.json:2: redact names"),
            (r#"{"email": "hash"}"#, r#"{"type": "string", "maxLength": 31}"#, "a.json:2: redact names"),
            (r#"{"email": "hash"}"#, r#"{"type": "string", "minLength": 33}"#, "a.json:2: redact names"),
            (r#"{"email": "truncate"}"#, r#"{"type": "string", "minLength": 1}"#, "a.json:2: redact names"),
            (r#"{"email": "hash"}"#, r##"{"type": "string", "$ref": "#"}"##, "a.json:2: redact names"),
        ] {
            let text = format!(
                "{{\"type\": \"object\", \"properties\": {{\n\"email\": {email}}}, \"x-weir\": {{\"route\": \"/a\",\n\"redact\": {redact}}}}}"
            );
            let refusal = Catalog::read([("a.json", &*text)]).unwrap_err().to_string();
            assert!(refusal.starts_with(said), "{refusal}\n  should begin with\n{said}");
        }
        let elsewhere = r#"{"type": "object", "properties": {"email": {"type": "string"}},
            "allOf": [{"properties": {"email": {"pattern": "@"}}}],
            "examples": [{"email": "a@b"}], "x-weir": {"route": "/a", "redact": {"email": "hash"}}}"#;
        let refusal = Catalog::read([("a.json", elsewhere)]).unwrap_err().to_string();
        assert!(refusal.starts_with("a.json:3: the example would not be a valid event"), "{refusal}");
    }

    #[test]
    fn fields_that_can_be_redacted_are_taken_and_only_hashes_need_a_secret() {
        for (redact, schema, needs) in [
            ("hash", r#"{"type": "string", "description": "whose", "minLength": 3, "maxLength": 254}"#, true),
            ("hash", r#"{"type": ["string", "null"]}"#, true),
            ("truncate", r#"{"type": "string", "format": "ipv4", "minLength": 0, "maxLength": 45}"#, false),
        ] {
            let text = format!(
                r#"{{"type": "object", "properties": {{"a": {schema}}}, "x-weir": {{"route": "/a", "redact": {{"a": "{redact}"}}}}}}"#
            );
            assert_eq!(Catalog::read([("a.json", &*text)]).unwrap().needs_secret(), needs);
        }
    }

    #[test]
    fn what_is_stored_counted_and_kept_as_latest_is_the_redacted_value() {
        let record = stored(
            r#"{"email": "ann@example.com", "ip": "203.0.113.7", "plan": "ann@example.com", "n": 1.10}"#,
        );
        let line = std::str::from_utf8(record.line()).unwrap();
        let hash = hash("ann@example.com");
        assert!(
            line.ends_with(&format!(
                "\"email\":\"{hash}\",\"ip\":\"203.0.113.0\",\"plan\":\"ann@example.com\",\"n\":1.10}}\n"
            )),
            "{line}"
        );
        assert_eq!(record.counter().key.as_ref().unwrap().as_str(), hash);
        assert_eq!(record.latest_key().unwrap().as_str(), hash);
        assert!(stored(r#"{"email": "a", "ip": null}"#).line().ends_with(b"\"ip\":null}\n"));
    }

    #[test]
    fn rejected_bodies_are_redacted_wherever_the_name_is_recognised() {
        let hash = hash("ann@example.com");
        let hashed = |text: &str| self::hash(text);
        for (sent, kept) in [
            (r#"{"email": "ann@example.com", "x": 1}"#, format!(r#"{{"email": "{hash}", "x": 1}}"#)),
            (
                r#"{"data": [{"EMAIL" : "ann@example.com"}]}"#,
                format!(r#"{{"data": [{{"EMAIL" : "{hash}"}}]}}"#),
            ),
            (r#"{"em\u0061il":"\u0061nn@example.com"}"#, format!(r#"{{"em\u0061il":"{hash}"}}"#)),
            (r#"{"a: "email":"ann@example.com"}"#, format!(r#"{{"a: "email":"{hash}"}}"#)),
            (r#"{"email": null, "ip": 7}"#, r#"{"email": null, "ip": ""}"#.to_owned()),
            (
                r#"{"email": {"a": ["}"]}, "b": 1}"#,
                format!(r#"{{"email": "{}", "b": 1}}"#, hashed(r#"{"a": ["}"]}"#)),
            ),
            (r#"{"email": 12}"#, format!(r#"{{"email": "{}"}}"#, hashed("12"))),
            (r#"{"email": ann@example.com, "b"#, format!(r#"{{"email": "{hash}", "b"#)),
            (r#"{"email": "ann"#, format!(r#"{{"email": "{}""#, hashed("\"ann"))),
            (
                r#"{"mail": "ann@example.com", "x": "email"}"#,
                r#"{"mail": "ann@example.com", "x": "email"}"#.to_owned(),
            ),
        ] {
            for claimed in [None, Some(signup()), Some("unknown".parse().unwrap())] {
                let redacted = catalog().redact_rejected(claimed.as_ref(), sent.as_bytes()).into_owned();
                assert_eq!(String::from_utf8(redacted).unwrap(), kept);
            }
        }
    }

    proptest! {
        #[test]
        fn no_redacted_value_is_left_in_any_event(
            name in "[a-z]{1,8}", before in "\\PC{0,12}", after in "\\PC{0,12}", spaces in "[ \n\t]{0,3}",
        ) {
            let secret = format!("{before}MARK{after}");
            let (text, other) = (json!(secret), json!(after));
            let event = format!("{{{spaces}\"ip\":{spaces}{text},\"x{name}\":{other}{spaces},\"email\":{text}}}");
            let line = stored(&event).line().to_vec();
            let line = std::str::from_utf8(&line).unwrap();
            prop_assert!(!line.contains("MARK"), "{}", line);
            let value: Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(&value["email"], &json!(hash(&secret)));
            prop_assert_eq!(&value[format!("x{name}")], &other);
        }

        #[test]
        fn no_redacted_value_is_left_in_a_body_whatever_is_around_it(
            before in "\\PC{0,20}", after in "\\PC{0,20}", inner in "\\PC{0,12}", name in "(email|Email|ip)",
        ) {
            let value = json!(format!("MARK{inner}MARK"));
            let sent = format!("{before}\"{name}\" : {value}{after}");
            let redacted = catalog().redact_rejected(None, sent.as_bytes()).into_owned();
            prop_assert!(!String::from_utf8(redacted).unwrap().contains("MARK"));
        }

        #[test]
        fn whatever_comes_redacting_never_panics(sent in proptest::collection::vec(any::<u8>(), 0..60)) {
            let sent = [&b"\"ip\":"[..], &sent].concat();
            let _ = catalog().redact_rejected(None, &sent);
        }
    }
}
