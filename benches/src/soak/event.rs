//! The soak's events, as its clients send them.

use serde_json::{Value, json};

/// An event of a client.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(super) number: u64,
    pub(super) id: Option<String>,
    pub(super) kind: Kind,
    pub(super) filler: usize,
    /// When it happened, in milliseconds; a client need not say so.
    pub(super) occurred_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Click,
    View,
    /// A click that its schema rejects.
    Broken,
}

impl Event {
    /// The event as it is sent, in a version; a client that sends other content under an id changes the version.
    pub(crate) fn json(&self, version: u8, has_type: bool) -> Value {
        let mut event = json!({"n": self.number, "v": version, "filler": "x".repeat(self.filler)});
        event["session_id"] = if self.kind == Kind::Broken { json!(7) } else { json!("s") };
        match self.kind {
            Kind::Click | Kind::Broken => event["button_id"] = json!(format!("b{}", self.number % 5)),
            Kind::View => event["url"] = json!("https://example.com/"),
        }
        if has_type {
            event["event_type"] = json!(if self.kind == Kind::View { "page_view" } else { "button_click" });
        }
        if let Some(occurred_at) = self.occurred_at {
            event["occurred_at"] = json!(occurred_at);
        }
        if let Some(id) = &self.id {
            event["event_id"] = json!(id);
        }
        event
    }

    pub(crate) fn route(&self) -> &'static str {
        if self.kind == Kind::View { "/web/page_view" } else { "/button/click" }
    }
}
