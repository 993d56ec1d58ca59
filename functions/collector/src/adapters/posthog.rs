//! PostHog's clients: `posthog`, `posthog-node`, `posthog-js` and others.
//!
//! They send batches to `/batch`, single events or lists to `/capture`, `/e` and `/i/v0/e`, and events about language models to
//! `/i/v0/ai/batch`: as JSON, as gzip with a `Content-Encoding` or with `compression=gzip-js` in the query, or as a form with
//! `data=` in base64. The key is in the body: `api_key` or `token`, or each event has it.
//!
//! Clients also ask for feature flags and for settings ([`Settings`]), and go on without them.

use std::borrow::Cow;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use percent_encoding::{percent_decode, percent_decode_str};
use serde_json::{json, value::RawValue};
use weir_core::{Catalog, Violation};

use crate::{
    adapters::{
        identity,
        message::{General, Message, Page, time},
        object::{Members, Part, find, id, members, text},
        protocol::{Foreign, Protocol},
    },
    api::{
        problem::Problem,
        routes::Method::{self, Get, Post},
    },
    intake::{
        body::{GZIP, gunzip},
        bots::Path,
        outcome::Outcome,
    },
};

/// PostHog's protocol.
pub(crate) struct PostHog;

impl Protocol for PostHog {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[(Post, "/batch"), (Post, "/capture"), (Post, "/e"), (Post, "/i/v0/e"), (Post, "/i/v0/ai/batch")]
    }

    fn routes_with_slash(&self) -> &'static [(Method, &'static str)] {
        &[(Post, "/batch/"), (Post, "/capture/"), (Post, "/e/"), (Post, "/i/v0/e/")]
    }

    fn decoded(&self, request: &Foreign) -> Result<Option<Bytes>, Problem> {
        json_of(&request.body)
    }

    fn key(&self, request: &Foreign) -> Option<String> {
        let (envelope, events) = parts(&request.body).ok()?;
        let of_first = || members(events.first()?).and_then(|event| key(&event));
        key(&envelope).or_else(of_first).map(Cow::into_owned)
    }

    fn messages<'a>(&self, request: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        let (shared, events) = parts(&request.body)?;
        let bytes: usize = shared.iter().map(|(name, value)| name.len() + value.get().len()).sum();
        if bytes > MAX_SHARED {
            return Err(wrong("what stands beside its batch is too large"));
        }
        Ok(events.into_iter().map(|event| message(event, &shared)).collect())
    }

    fn user_agents(&self) -> &'static [Path] {
        &[
            &["properties", "$raw_user_agent"],
            &["properties", "$useragent"],
            &["$raw_user_agent"],
            &["$useragent"],
        ]
    }

    fn taken(&self, _outcomes: &[Outcome]) -> Response {
        // What PostHog answers. Clients look at the status, and the oldest ones at the number.
        Json(json!({"status": "Ok"})).into_response()
    }
}

/// The requests for feature flags and settings. Weir has neither, and answers with empty ones.
pub(crate) struct Settings;

impl Protocol for Settings {
    fn routes(&self) -> &'static [(Method, &'static str)] {
        &[(Post, "/flags"), (Post, "/decide"), (Get, "/array/{token}/config")]
    }

    fn routes_with_slash(&self) -> &'static [(Method, &'static str)] {
        &[(Post, "/flags/"), (Post, "/decide/")]
    }

    fn decoded(&self, request: &Foreign) -> Result<Option<Bytes>, Problem> {
        PostHog.decoded(request)
    }

    fn key(&self, request: &Foreign) -> Option<String> {
        let of_path = || {
            let token = request.path.strip_prefix("/array/")?.strip_suffix("/config")?;
            percent_decode_str(token).decode_utf8().ok().map(Cow::into_owned)
        };
        of_path().or_else(|| PostHog.key(request))
    }

    fn messages<'a>(&self, _: &'a Foreign, _: &Catalog) -> Result<Vec<Message<'a>>, Violation> {
        Ok(Vec::new())
    }

    fn taken(&self, _outcomes: &[Outcome]) -> Response {
        // A page then sends base64, which API Gateway does not destroy as it does gzip with the content type of text.
        let settings = json!({
            "flags": {}, "featureFlags": {}, "featureFlagPayloads": {}, "errorsWhileComputingFlags": false,
            "hasFeatureFlags": false, "supportedCompression": ["base64"], "sessionRecording": false,
            "surveys": false, "heatmaps": false, "capturePerformance": false, "captureDeadClicks": false,
            "autocaptureExceptions": false, "siteApps": [], "toolbarParams": {}, "isAuthenticated": false,
        });
        Json(settings).into_response()
    }
}

fn wrong(what: &str) -> Violation {
    Violation::whole(format!("not a request of PostHog's protocol: {what}"))
}

/// The most bytes that the events of a batch share. Each event has them.
const MAX_SHARED: usize = 16 << 10;

/// Returns what stands beside the events of a body, and the events.
fn parts(body: &[u8]) -> Result<(Members<'_>, Vec<&RawValue>), Violation> {
    let body = std::str::from_utf8(body).map_err(|_| wrong("the body is not valid UTF-8"))?;
    let body = body.trim_start_matches('\u{feff}').trim_ascii();
    let whole: &RawValue =
        serde_json::from_str(body).map_err(|error| wrong(&format!("not valid JSON: {error}")))?;
    if body.starts_with('[') {
        return Ok((Vec::new(), list(whole)?));
    }
    let envelope = members(whole).ok_or_else(|| wrong("the body is neither an object nor an array"))?;
    match find(&envelope, "batch") {
        Some(batch) => {
            let events = list(batch)?;
            Ok((envelope.into_iter().filter(|(name, _)| name != "batch").collect(), events))
        }
        None => Ok((Vec::new(), vec![whole])),
    }
}

fn list(value: &RawValue) -> Result<Vec<&RawValue>, Violation> {
    serde_json::from_str(value.get()).map_err(|_| wrong("its batch is no array"))
}

/// Finds the key beside a batch, or in an event.
fn key<'a>(of: &Members<'a>) -> Option<Cow<'a, str>> {
    let own = |of: &Members<'a>| KEYS.iter().find_map(|name| find(of, name).and_then(text));
    own(of).or_else(|| own(&members(find(of, "properties")?)?))
}

/// The names of the key.
const KEYS: [&str; 2] = ["api_key", "token"];

/// Translates an event. `shared` is what stands beside the batch.
fn message<'a>(sent: &'a RawValue, shared: &Members<'a>) -> Message<'a> {
    let Some(members_sent) = members(sent) else { return Message::unknown(sent) };
    let Some(event) = find(&members_sent, "event").and_then(text) else { return Message::unknown(sent) };
    let properties = find(&members_sent, "properties").filter(|value| value.get().starts_with('{'));
    let said = properties.and_then(members).unwrap_or_default();
    let of_both = |name: &str| find(&members_sent, name).or_else(|| find(&said, name));
    let mut message = Message::new(general(&event));
    message.properties = properties;
    // A property called uuid is the sender's own, and may be in many events.
    let identity = find(&members_sent, "uuid").or_else(|| find(&said, "$insert_id"));
    message.id = identity.and_then(id).and_then(|id| identity::event_id(&id));
    message.occurred_at = find(&members_sent, "timestamp").and_then(time);
    let distinct = of_both("distinct_id").and_then(id);
    // A visitor who was not identified has a name that the client made up.
    let is = |name: &str, value: &str| find(&said, name).is_some_and(|found| found.get() == value);
    if is("$is_identified", "false") || is("$process_person_profile", "false") {
        message.who.anonymous_id = distinct;
    } else {
        message.who.user_id = distinct;
        let made_up = ["$anon_distinct_id", "$device_id"];
        message.who.anonymous_id = made_up.iter().find_map(|name| find(&said, name).and_then(id));
    }
    message.who.session_id = find(&said, "$session_id").and_then(id);
    let object = |name: &str| of_both(name).filter(|value| value.get().starts_with('{'));
    let field = match message.general {
        General::Page => find(&said, "$current_url").map(|url| ("url", url)),
        General::Screen => find(&said, "$screen_name").map(|name| ("name", name)),
        General::Group => find(&said, "$group_key").map(|key| ("group_id", key)),
        General::Alias => find(&said, "alias").map(|alias| ("previous_id", alias)),
        General::Identify | General::Track => None,
    };
    if let Some((name, value)) = field {
        message.fields.put_text(name, id(value));
    }
    let traits = match message.general {
        General::Identify => object("$set"),
        General::Group => object("$group_set"),
        _ => None,
    };
    if let Some(traits) = traits {
        message.fields.put("traits", Part::Raw(traits));
    }
    if message.general == General::Page {
        let told = |name: &str| find(&said, name).and_then(text).filter(|text| !text.is_empty());
        message.page = told("$current_url").map(|url| Page {
            url,
            referrer: told("$referrer").filter(|referrer| referrer != "$direct"),
            user_agent: told("$raw_user_agent"),
        });
    }
    for (name, value) in members_sent.iter().chain(shared) {
        let has_its_place = match &**name {
            "event" => message.general == General::Track,
            "api_key" | "token" => true,
            "uuid" => message.id.is_some(),
            "timestamp" => message.occurred_at.is_some(),
            "distinct_id" => message.who.user_id.is_some() || message.who.anonymous_id.is_some(),
            "properties" => properties.is_some(),
            _ => value.get() == "null",
        };
        if !has_its_place {
            message.context.put(name.clone(), Part::Raw(value));
        }
    }
    if message.general == General::Track {
        message.event = Some(event);
    }
    message
}

/// Returns the general type of an event's name.
fn general(event: &str) -> General {
    match event {
        "$pageview" => General::Page,
        "$screen" => General::Screen,
        "$identify" | "$set" => General::Identify,
        "$groupidentify" => General::Group,
        "$create_alias" | "$merge_dangerously" => General::Alias,
        _ => General::Track,
    }
}

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the JSON of a body that is a form, base64 or gzip; `None` if it is JSON already, or nothing that is known.
fn json_of(body: &[u8]) -> Result<Option<Bytes>, Problem> {
    if body.starts_with(GZIP) {
        return gunzip(body).map(Some);
    }
    // API Gateway takes it for text by its content type, and has replaced all bytes that are not UTF-8.
    if body.starts_with("\u{1f}\u{fffd}".as_bytes()) {
        return Err(Problem::CompressedAsText);
    }
    let Some(value) = form_data(body) else { return Ok(None) };
    let data: Vec<u8> = percent_decode(value).collect();
    if data.starts_with(b"{") || data.starts_with(b"[") {
        // A form's space is a plus sign.
        let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        return Ok(Some(percent_decode(&spaced).collect::<Vec<u8>>().into()));
    }
    // Base64 has plus signs and no spaces, and old clients did not encode them.
    let data: Vec<u8> = data.into_iter().map(|byte| if byte == b' ' { b'+' } else { byte }).collect();
    match BASE64.decode(&data) {
        Ok(bytes) => Ok(Some(bytes.into())),
        // The reader of JSON refuses it with a reason.
        Err(_) => Ok(Some(data.into())),
    }
}

/// Returns the value of `data` in a form, as it was sent. A form begins with a name.
fn form_data(body: &[u8]) -> Option<&[u8]> {
    body.first().filter(|first| first.is_ascii_alphanumeric() || **first == b'_')?;
    body.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"data="))
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::adapters::protocol::testing::{decoded, events, request};

    fn of(body: &Value) -> Vec<Value> {
        events(&PostHog, request("/batch", &[], body.to_string())).unwrap()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
        std::io::Read::read_to_end(&mut encoder, &mut bytes).unwrap();
        bytes
    }

    /// What an event of this name and these properties becomes, without its context and the properties themselves.
    fn plain(event: &str, properties: &Value) -> Vec<Value> {
        let mut events = of(&json!({"event": event, "distinct_id": "u1", "properties": properties}));
        for event in &mut events {
            event.as_object_mut().unwrap().retain(|name, _| name != "properties" && name != "context");
        }
        events
    }

    #[test]
    fn an_event_keeps_all_it_has_but_the_key() {
        let batch = json!({"api_key": "ann:weir_x", "sent_at": "2026-11-20T13:00:06Z", "batch": [{
            "event": "Order Completed", "distinct_id": "u1", "uuid": "0198d5d0-0000-7000-8000-000000000001",
            "timestamp": "2026-11-20T13:00:05.007123+00:00", "properties": {"total": 25, "$session_id": "s1", "$device_id": "d1"},
            "type": "capture", "library": null,
        }]});
        assert_eq!(
            of(&batch),
            [
                json!({"event_type": "track", "event": "Order Completed", "event_id": "0198d5d0-0000-7000-8000-000000000001",
                "occurred_at": 1_795_179_605_007_u64, "user_id": "u1", "anonymous_id": "d1", "session_id": "s1",
                "properties": {"total": 25, "$session_id": "s1", "$device_id": "d1"},
                "context": {"type": "capture", "sent_at": "2026-11-20T13:00:06Z"}})
            ]
        );
    }

    #[test]
    fn its_own_names_are_general_types() {
        let page = json!({"$current_url": "https://a.example/", "$referrer": "$direct", "$session_id": "s1"});
        let [event, view] = &plain("$pageview", &page)[..] else { panic!() };
        assert_eq!((&event["event_type"], &event["url"]), (&json!("page"), &json!("https://a.example/")));
        assert_eq!((&view["event_type"], &view["session_id"]), (&json!("page_view"), &json!("s1")));
        assert_eq!(view["referral_url"], Value::Null);
        for (event, properties, expected) in [
            ("$pageview", json!({}), json!({"event_type": "page"})),
            ("$screen", json!({"$screen_name": "Home"}), json!({"event_type": "screen", "name": "Home"})),
            ("$identify", json!({"$set": {"a": 1}}), json!({"event_type": "identify", "traits": {"a": 1}})),
            ("$set", json!({"$set": 7}), json!({"event_type": "identify"})),
            (
                "$groupidentify",
                json!({"$group_key": "g1", "$group_set": {"a": 1}}),
                json!({"event_type": "group", "group_id": "g1", "traits": {"a": 1}}),
            ),
            ("$create_alias", json!({"alias": "a1"}), json!({"event_type": "alias", "previous_id": "a1"})),
            ("$autocapture", json!({}), json!({"event_type": "track", "event": "$autocapture"})),
            ("page", json!({}), json!({"event_type": "track", "event": "page"})),
        ] {
            let mut expected = expected;
            expected["user_id"] = json!("u1");
            assert_eq!(plain(event, &properties), [expected], "{event}");
        }
        let click = plain("button click", &json!({"session_id": "s1", "button_id": "b"}));
        assert_eq!((&click[0]["event_type"], &click[0]["button_id"]), (&json!("button_click"), &json!("b")));
    }

    #[test]
    fn an_event_is_identified_by_its_own_id_and_not_by_a_property() {
        for (event, expected) in [
            (json!({"event": "x", "uuid": "1", "properties": {"uuid": "2", "$insert_id": "3"}}), json!("1")),
            (json!({"event": "x", "properties": {"uuid": "2", "$insert_id": "3"}}), json!("3")),
            (json!({"event": "x", "properties": {"uuid": "2"}}), json!(null)),
        ] {
            assert_eq!(of(&event)[0]["event_id"], expected, "{event}");
        }
    }

    #[test]
    fn who_was_not_identified_is_anonymous() {
        for (properties, user, anonymous) in [
            (json!({}), json!("u1"), json!(null)),
            (json!({"$is_identified": true, "$device_id": "d1"}), json!("u1"), json!("d1")),
            (json!({"$is_identified": false, "$device_id": "d1"}), json!(null), json!("u1")),
            (json!({"$process_person_profile": false}), json!(null), json!("u1")),
            (json!({"$anon_distinct_id": "a1", "$device_id": "d1"}), json!("u1"), json!("a1")),
        ] {
            let event = plain("x", &properties).remove(0);
            assert_eq!((&event["user_id"], &event["anonymous_id"]), (&user, &anonymous), "{properties}");
        }
    }

    #[test]
    fn events_and_keys_are_found_in_all_bodies() {
        let properties = json!({"token": "ann:weir_x", "distinct_id": "u1", "$current_url": "https://a.example/?a&data=b"});
        let event = json!({"event": "x y+z", "properties": properties});
        let text = event.to_string();
        let list = json!([event]).to_string();
        let batch = json!({"token": "ann:weir_x", "batch": [event]}).to_string();
        let form = |value: &str| {
            format!(
                "ver=1&data={}&x",
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC)
            )
        };
        let base64 = BASE64_STANDARD.encode(&text);
        for body in [
            text.clone().into_bytes(),
            list.clone().into_bytes(),
            batch.into_bytes(),
            format!("\u{feff} {text}\n").into_bytes(),
            gzip(&list),
            form(&text).into_bytes(),
            form(&text).replace("%20", "+").into_bytes(),
            form(&base64).into_bytes(),
            format!("data={base64}").into_bytes(),
            format!("data={}", base64.trim_end_matches('=')).into_bytes(),
        ] {
            let request = decoded(&PostHog, request("/e", &[], body.clone()));
            assert_eq!(PostHog.key(&request).as_deref(), Some("ann:weir_x"), "{}", body.escape_ascii());
            let found = events(&PostHog, request).unwrap();
            assert_eq!((&found[0]["event"], &found[0]["user_id"]), (&json!("x y+z"), &json!("u1")));
        }
        for path in ["/array/ann:weir_x/config", "/array/ann%3Aweir_x/config"] {
            assert_eq!(Settings.key(&request(path, &[], "")).as_deref(), Some("ann:weir_x"));
        }
        assert_eq!(
            Settings.key(&request("/flags", &[], r#"{"token":"a:weir_b"}"#)).as_deref(),
            Some("a:weir_b")
        );
    }

    #[test]
    fn gzip_that_was_taken_for_text_on_its_way_is_refused_and_not_kept_as_broken() {
        let destroyed = String::from_utf8_lossy(&gzip("{}")).into_owned();
        let refused = PostHog.decoded(&request("/e", &[], destroyed));
        assert!(matches!(refused, Err(Problem::CompressedAsText)), "{refused:?}");
    }

    #[test]
    fn a_body_that_holds_no_events_says_why_and_an_event_that_is_none_is_kept() {
        for body in ["", "[", "7", "{\"batch\":{}}", "data=%%%", "data=AAAA"] {
            let said = events(&PostHog, request("/e", &[], body)).unwrap_err();
            assert!(said.starts_with("not a request of PostHog's protocol: "), "{body}");
        }
        assert_eq!(of(&json!({"batch": [7, {"distinct_id": "u1"}, {"event": 7}]})).len(), 3);
        assert_eq!(of(&json!({"batch": []})).len(), 0);
        let shared = json!({"batch": [], "x": "x".repeat(MAX_SHARED)});
        assert!(events(&PostHog, request("/batch", &[], shared.to_string())).is_err());
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "data=[A-Za-z0-9+/=%]{0,40}".prop_map(String::into_bytes),
            "\\{\"batch\":\\[[\\[\\]{}\",:a0]{0,30}\\]\\}".prop_map(String::into_bytes),
        ]) {
            let request = decoded(&PostHog, request("/e", &[], body));
            let _ = (PostHog.key(&request), PostHog.messages(&request, &Catalog::default()));
        }

        #[test]
        fn members_of_any_kind_become_events_that_can_be_read(
            name in "event|distinct_id|properties|timestamp|uuid|token|context|time|username|event_id|session_id|user_id|url|name|traits",
            event in r"\$pageview|\$screen|\$identify|\$groupidentify|\$create_alias|button click|x",
            value in prop_oneof![Just(json!(7)), Just(json!([1])), Just(json!("")), Just(json!({"time": 1, "$set": 2, "alias": {}}))],
        ) {
            let mut sent = json!({"event": event, "distinct_id": "u1", "properties": {"$session_id": "s", "url": 1}});
            sent[&name] = value.clone();
            let events = of(&sent);
            prop_assert!((1..=2).contains(&events.len()));
            let kept = events[0].to_string();
            // The key is not kept, a name may be that of a type, and the properties of such an event are its fields.
            let is_elsewhere = name == "token" || name == "event" || (name == "properties" && event == "button click");
            prop_assert!(is_elsewhere || kept.contains(&value.to_string()), "{value} is not in {kept}");
        }
    }
}
