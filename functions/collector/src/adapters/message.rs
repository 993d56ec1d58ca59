//! A foreign message, and the event of the catalog that it becomes.
//!
//! A message whose name is a type of the catalog, in snake case, becomes an event of that type: its properties are the
//! fields. Any other becomes an event of a general type, which comes with Weir. A page is a `page_view` as well, where it has
//! what that type needs.

use std::borrow::Cow;

use serde_json::value::RawValue;
use weir_core::{
    Catalog, Event, EventId, EventType, Timestamp,
    catalog::{Budget, Sender},
    event::{ENVELOPE, STAMPED},
};

use crate::adapters::{
    identity, names,
    object::{self, Object, Part},
};

/// The general types, for messages whose name is no type of the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum General {
    Track,
    Page,
    Screen,
    Identify,
    Group,
    Alias,
}

impl General {
    pub(crate) const ALL: [Self; 6] =
        [Self::Track, Self::Page, Self::Screen, Self::Identify, Self::Group, Self::Alias];

    /// Returns the type's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Identify => "identify",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    /// Returns the type of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|general| general.name() == name)
    }
}

/// A foreign message in Weir's terms.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    /// The type, unless the name is one.
    pub(crate) general: General,
    /// The name of what happened, for [`General::Track`].
    pub(crate) event: Option<Cow<'a, str>>,
    /// A shorter name for it, which is looked for in the catalog after that one.
    pub(crate) event_below: Option<Cow<'a, str>>,
    /// The client's identity for the message. [`identity`] makes it of a foreign one.
    pub(crate) id: Option<EventId>,
    /// When it happened. A foreign time that cannot be read belongs into the context.
    pub(crate) occurred_at: Option<Timestamp>,
    /// Whom it is about.
    pub(crate) who: Who<'a>,
    /// The fields of the general type beside these: the `name` of a page, the `traits` of a visitor.
    pub(crate) fields: Object<'a>,
    /// The properties, as they were sent.
    pub(crate) properties: Option<&'a RawValue>,
    /// The rest of the envelope.
    pub(crate) context: Object<'a>,
    /// What a page view needs beside [`Self::who`], of a [`General::Page`].
    pub(crate) page: Option<Page<'a>>,
    /// The event's text, where nothing has to be translated. A message that the protocol does not know is kept so: it becomes
    /// a rejected event, and the catalog gives the reason.
    pub(crate) text: Option<Cow<'a, [u8]>>,
}

/// Whom a message is about.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_field_names, reason = "they are the names of the event's fields")]
pub(crate) struct Who<'a> {
    pub(crate) user_id: Option<Cow<'a, str>>,
    pub(crate) anonymous_id: Option<Cow<'a, str>>,
    pub(crate) session_id: Option<Cow<'a, str>>,
}

/// A page that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Page<'a> {
    pub(crate) url: Cow<'a, str>,
    pub(crate) referrer: Option<Cow<'a, str>>,
    pub(crate) user_agent: Option<Cow<'a, str>>,
}

/// Names that the fields of an event cannot have. Properties of these names are kept below `properties`.
const NOT_FIELDS: [&str; 2] = ["context", "properties"];

impl<'a> Message<'a> {
    /// Returns a message of a general type, with nothing in it.
    pub(crate) fn new(general: General) -> Self {
        Self {
            general,
            event: None,
            event_below: None,
            id: None,
            occurred_at: None,
            who: Who::default(),
            fields: Object::default(),
            properties: None,
            context: Object::default(),
            page: None,
            text: None,
        }
    }

    /// Returns a text that is no message. It becomes a rejected event.
    pub(crate) fn unknown(sent: &'a RawValue) -> Self {
        Self { text: Some(Cow::Borrowed(sent.get().as_bytes())), ..Self::new(General::Track) }
    }

    /// Returns an event in Weir's own form.
    pub(crate) fn own(event: &Object<'_>) -> Self {
        Self { text: Some(Cow::Owned(event.to_text())), ..Self::new(General::Track) }
    }

    /// Adds the texts of the message's events: one, or two for a page that is a page view.
    pub(crate) fn write(
        self,
        catalog: &Catalog,
        sender: &Sender,
        budget: &mut Budget,
        texts: &mut Vec<Vec<u8>>,
    ) {
        if let Some(text) = self.text {
            return texts.push(text.into_owned());
        }
        let page_view = self.page_view(catalog, sender, budget);
        texts.push(self.text(catalog));
        texts.extend(page_view);
    }

    fn text(self, catalog: &Catalog) -> Vec<u8> {
        let own = self.own_type(catalog);
        let Self { general, event, id, occurred_at, who, fields, properties, mut context, .. } = self;
        let mut object = Object::default();
        let event_type = own.as_ref().map_or(general.name(), EventType::as_str).to_owned();
        put_head(&mut object, event_type, id.as_ref(), occurred_at);
        match (&own, event) {
            // The name in snake case is the type's; another writing of it is kept.
            (Some(own), Some(event)) if event != own.as_str() => context.put("event", Part::Text(event)),
            (None, Some(event)) => object.put("event", Part::Text(event)),
            _ => {}
        }
        let flat = own.is_some().then(|| properties.and_then(object::members)).flatten();
        match flat {
            Some(members) => {
                let mut others = Object::default();
                for (name, value) in members {
                    let is_field = !(STAMPED.contains(&&*name)
                        || ENVELOPE.contains(&&*name)
                        || NOT_FIELDS.contains(&&*name));
                    if is_field { &mut object } else { &mut others }.put(name, Part::Raw(value));
                }
                if !others.is_empty() {
                    object.put("properties", Part::Object(others));
                }
            }
            None => {
                if let Some(properties) = properties {
                    object.put("properties", Part::Raw(properties));
                }
            }
        }
        object.append(fields);
        // A property of the same name is the field; the envelope's value is then in the context.
        for (name, value) in who.named() {
            let Some(value) = value else { continue };
            if object.has(name) { &mut context } else { &mut object }.put(name, Part::Text(value));
        }
        if !context.is_empty() {
            object.put("context", Part::Object(context));
        }
        object.to_text()
    }

    /// Returns the type of the catalog that the message's name is. A general type is no such type.
    fn own_type(&self, catalog: &Catalog) -> Option<EventType> {
        if self.general != General::Track {
            return None;
        }
        let is_own =
            |named: &EventType| General::named(named.as_str()).is_none() && catalog.get(named).is_some();
        let names = [&self.event, &self.event_below].into_iter().flatten();
        names.filter_map(|name| names::event_type(name)).find(is_own)
    }

    /// Returns the page view that the message is, if the catalog's type of that name takes it.
    fn page_view(&self, catalog: &Catalog, sender: &Sender, budget: &mut Budget) -> Option<Vec<u8>> {
        let (page, session) = (self.page.as_ref()?, self.who.session_id.as_ref()?);
        let definition = catalog.get(&"page_view".parse().ok()?)?;
        let id = self.id.as_ref().and_then(|id| identity::of_parts(&["page_view", id.as_str()]));
        let mut object = Object::default();
        put_head(&mut object, "page_view".to_owned(), id.as_ref(), self.occurred_at);
        object.put("url", Part::Text(page.url.clone()));
        object.put("session_id", Part::Text(session.clone()));
        object.put_text("referral_url", page.referrer.clone());
        object.put_text("useragent", page.user_agent.clone());
        object.put_text("user_id", self.who.user_id.clone());
        object.put_text("anonymous_id", self.who.anonymous_id.clone());
        let text = object.to_text();
        let mut event = Event::read(std::str::from_utf8(&text).ok()?).ok()?;
        definition.fill(&mut event, sender);
        definition.check_within(&event, budget).is_ok().then_some(text)
    }
}

impl<'a> Who<'a> {
    fn named(self) -> [(&'static str, Option<Cow<'a, str>>); 3] {
        [("user_id", self.user_id), ("anonymous_id", self.anonymous_id), ("session_id", self.session_id)]
    }
}

fn put_head(object: &mut Object<'_>, event_type: String, id: Option<&EventId>, at: Option<Timestamp>) {
    object.put("event_type", Part::Text(event_type.into()));
    object.put_text("event_id", id.map(|id| id.as_str().to_owned()));
    if let Some(at) = at {
        object.put("occurred_at", Part::Number(at.millis()));
    }
}

/// Reads a foreign time: RFC 3339, or milliseconds since 1970.
pub(crate) fn time(value: &RawValue) -> Option<Timestamp> {
    match object::text(value) {
        Some(text) => Timestamp::from_rfc3339(&text).ok(),
        None => value.get().parse().ok().and_then(|millis| Timestamp::from_millis(millis).ok()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn texts(message: Message<'_>) -> Vec<Value> {
        let mut texts = Vec::new();
        message.write(
            &Catalog::built_in().unwrap(),
            &Sender::default(),
            &mut Budget::of_a_request(),
            &mut texts,
        );
        texts.iter().map(|text| serde_json::from_slice(text).unwrap()).collect()
    }

    fn raw(value: &Value) -> Box<RawValue> {
        RawValue::from_string(value.to_string()).unwrap()
    }

    #[test]
    fn a_name_of_the_catalog_makes_its_properties_fields_and_loses_none() {
        let properties =
            raw(&json!({"button_id": "abc", "time": 1, "context": 2, "session_id": "p", "more": [1]}));
        let mut message = Message::new(General::Track);
        message.event = Some("Button Click".into());
        message.properties = Some(&properties);
        message.who = Who { user_id: Some("u".into()), session_id: Some("e".into()), ..Who::default() };
        message.context.put("ip", Part::Text("192.0.2.1".into()));
        assert_eq!(
            texts(message),
            [
                json!({"event_type": "button_click", "button_id": "abc", "session_id": "p", "more": [1], "user_id": "u",
                "properties": {"time": 1, "context": 2}, "context": {"ip": "192.0.2.1", "event": "Button Click", "session_id": "e"}})
            ]
        );
    }

    #[test]
    fn any_other_name_is_a_track_and_so_is_the_name_of_a_general_type() {
        for name in ["Order Completed", "Page", "track", ""] {
            let properties = raw(&json!({"a": 1}));
            let mut message = Message::new(General::Track);
            message.event = Some(name.into());
            message.properties = Some(&properties);
            assert_eq!(
                texts(message),
                [json!({"event_type": "track", "event": name, "properties": {"a": 1}})]
            );
        }
    }

    #[test]
    fn a_page_is_a_page_view_too_where_it_has_what_that_needs() {
        let page = |session: Option<&'static str>| {
            let mut message = Message::new(General::Page);
            message.id = "m1".parse().ok();
            message.who.session_id = session.map(Cow::Borrowed);
            message.page =
                Some(Page { url: "https://a.example/".into(), referrer: None, user_agent: Some("x".into()) });
            texts(message)
        };
        assert_eq!(page(None).len(), 1);
        let [page, view] = &page(Some("s"))[..] else { panic!() };
        assert_eq!((&page["event_type"], &page["event_id"]), (&json!("page"), &json!("m1")));
        assert_eq!(
            (&view["event_type"], &view["url"], &view["useragent"]),
            (&json!("page_view"), &json!("https://a.example/"), &json!("x"))
        );
        assert!(view["event_id"].as_str().unwrap().starts_with("id.sha256:"));
    }

    #[test]
    fn times_are_read_as_texts_and_as_milliseconds() {
        for (sent, expected) in [
            (json!("2026-11-20T13:00:05.007Z"), Some(1_795_179_605_007)),
            (json!("2026-11-20T13:00:05.007123+00:00"), Some(1_795_179_605_007)),
            (json!(1_795_179_605_007_u64), Some(1_795_179_605_007)),
            (json!("yesterday"), None),
            (json!(-1), None),
            (json!(null), None),
        ] {
            assert_eq!(time(&raw(&sent)).map(Timestamp::millis), expected, "{sent}");
        }
    }
}
