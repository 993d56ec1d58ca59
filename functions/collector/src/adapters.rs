//! Vendors' clients, unmodified: their protocols, and what they share.
//!
//! A protocol is one file: [`protocol::Protocol`] says what it knows, from a foreign request to [`message::Message`]s and
//! from their outcomes to the answer that its client expects. Everything else is the same for all of them:
//!
//! - `take`: the steps of a request: key, body, messages, and then the way of every event (`intake`);
//! - `key`: write keys in other places than the `Authorization` header; `redact`: no secret is stored with an event;
//! - `message`: from a foreign message to an event of the catalog; `object`: JSON objects whose values keep their text;
//! - `names`: a foreign event's name as an event type; `identity`: a foreign id as an `event_id`.
//!
//! # To add a protocol
//!
//! 1. Write `adapters/NAME.rs` with a unit struct and `impl Protocol` for it. `routes` lists its methods and paths, without
//!    a slash at the end; each is also served below `/k/USER:SECRET`. `key` finds a key in the body, where the protocol has
//!    it there. `messages` translates; it names nothing that is in no request and drops nothing that is: members without a
//!    place of their own go into [`message::Message::context`]. `decoded` undoes an encoding that is no `Content-Encoding`.
//! 2. Add it to [`PROTOCOLS`], and its routes to `template.yaml` without an authorizer.
//! 3. Test the translation beside it, and the vendor's own client in `tests/it/vendors/`, against a real server.
//!
//! A route that takes no events, such as a vendor's settings, is an open route of `api/routes.rs`.

pub(crate) mod cloudevents;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod object;
mod pixel;
mod posthog;
pub(crate) mod protocol;
pub(crate) mod redact;
mod segment;
mod snowplow;
pub(crate) mod take;

use protocol::Protocol;

/// All protocols with routes of their own. CloudEvents come by the route of all events.
pub(crate) const PROTOCOLS: [&dyn Protocol; 6] = [
    &pixel::Pixel,
    &segment::Segment,
    &posthog::PostHog,
    &posthog::Settings,
    &snowplow::Lists,
    &snowplow::Picture,
];
