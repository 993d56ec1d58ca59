//! `GET /events/stream`: the caller's own events as they are stored, as server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
//!
//! No event is handed to a stream. It is notified that something was stored, and reads it from the engine once its client
//! has taken the earlier events. So a slow client slows only itself, and takes the memory of one page.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use weir_core::{
    following::{FollowRequest, FollowedPage},
    newest::{NewestEvent, Position},
};

use crate::{
    Collector,
    api::{
        authentication::NotAuthenticated,
        caller::Reader,
        events::shown,
        parameters::{self, invalid},
        problem::{LiveProblem, Problem},
        read::{Pairs, known, pairs},
    },
    host::streams::Place,
};

/// The time between two heartbeats. The second one after a client has gone cannot be written, which ends the stream.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The time between two checks of the access key. A host may cache the result of a check for some seconds.
const CHECKED_EVERY: Duration = Duration::from_secs(1);

/// The least time between two reads of new events: however fast they come, a stream reads ten times a second at the most.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// How long a client may take to make room for one more event. Less than a host waits for a client that takes nothing at all.
const PATIENCE: Duration = Duration::from_secs(5);

/// The time after which a client should connect again.
const RETRY: Duration = Duration::from_secs(1);

/// The header with the id of the last event that a client got.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Why a stream ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The client takes events too slowly.
    TooSlow,
    /// The access key was removed or has expired, or may not read any more.
    SignedOut,
    /// The host stops.
    Stopping,
    /// The engine or the store of users did not answer.
    Unavailable,
}

impl End {
    /// Returns the name of the reason.
    fn name(self) -> &'static str {
        match self {
            Self::TooSlow => "too-slow",
            Self::SignedOut => "signed-out",
            Self::Stopping => "stopping",
            Self::Unavailable => "unavailable",
        }
    }
}

/// `GET /events/stream`.
pub(crate) async fn stream(
    State(collector): State<Arc<Collector>>,
    reader: Reader,
    query: Pairs,
    parts: Parts,
) -> Result<Response, Problem> {
    let mut event_type = None;
    for (name, value) in pairs(query)? {
        match name.as_str() {
            "event_type" => event_type = Some(known(&collector, value)?),
            other => parameters::refuse_near_miss(other, &["event_type"])?,
        }
    }
    let last = collector.ports.follow.last().ok_or(Problem::Live(LiveProblem::NoStream))?;
    let after = came_to(&parts.headers)?.unwrap_or(last);
    let place =
        collector.limits.streams().place(&reader.0).ok_or(Problem::Live(LiveProblem::TooManyStreams))?;
    let ending = collector.limits.streams().ending();
    let now = Instant::now();
    let open = Open {
        request: FollowRequest { event_type, after: after.clone() },
        given: after,
        waiting: VecDeque::from([Waiting::Begin]),
        given_at: None,
        has_more: true,
        looked: None,
        checked: now,
        beaten: now,
        is_over: false,
        collector,
        reader,
        parts,
        ending,
        _place: place,
    };
    let events = stream::unfold(open, |mut open| async move {
        let event = open.next().await?;
        Some((Ok::<_, Infallible>(event), open))
    });
    let headers = [
        // A proxy that compresses would hold events back until it has enough of them.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache, no-transform")),
        // Without this header, nginx buffers some kilobytes of a response before it passes anything on.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    let mut answer = Sse::new(events).into_response();
    answer.headers_mut().extend(headers);
    Ok(answer)
}

/// Returns the position after which a client wants to continue.
fn came_to(headers: &HeaderMap) -> Result<Option<Position>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse().ok());
    let said = || invalid("Last-Event-ID is the id of an event that came on a stream.".to_owned());
    position.map(Some).ok_or_else(said)
}

/// Returns whether an access key could not be checked.
fn is_unavailable(problem: &Problem) -> bool {
    matches!(problem, Problem::Unauthorized(NotAuthenticated::Unavailable(_)))
}

/// Something that the client has not taken yet.
enum Waiting {
    /// The first heartbeat. It has the position, so that a client that is disconnected before the first event misses none.
    Begin,
    Event(Position, NewestEvent),
    /// Some stored events cannot be read.
    Gap,
    End(End),
}

/// An open stream.
struct Open {
    request: FollowRequest,
    /// The last position that the client was given.
    given: Position,
    waiting: VecDeque<Waiting>,
    /// The time at which the last event was given to the connection, until the connection asks for the next one.
    given_at: Option<Instant>,
    /// Whether there may be events that were not read yet.
    has_more: bool,
    looked: Option<Instant>,
    checked: Instant,
    beaten: Instant,
    is_over: bool,
    collector: Arc<Collector>,
    reader: Reader,
    parts: Parts,
    ending: watch::Receiver<bool>,
    _place: Place,
}

impl Open {
    /// Returns the next item for the client; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        if self.given_at.take().is_some_and(|given| given.elapsed() > PATIENCE) {
            self.end(End::TooSlow);
        }
        loop {
            self.end_if_due().await;
            if let Some(waiting) = self.waiting.pop_front() {
                return Some(self.give(waiting));
            }
            self.step().await;
            if self.waiting.is_empty() && self.beaten.elapsed() >= HEARTBEAT {
                // A heartbeat also has the position up to which events were searched. After a reconnect they are not
                // searched again.
                self.given = self.request.after.clone();
                self.beaten = Instant::now();
                return Some(Event::default().comment("").id(self.given.to_string()));
            }
        }
    }

    /// Ends the stream if the host stops, or if the access key may not read any more: also while events wait for a slow client.
    async fn end_if_due(&mut self) {
        if let Some(Waiting::End(_)) = self.waiting.front() {
            return;
        }
        if *self.ending.borrow_and_update() {
            return self.end(End::Stopping);
        }
        let now = Instant::now();
        if now >= self.checked + CHECKED_EVERY {
            self.checked = now;
            if let Err(problem) = self.reader.still(&self.parts, &self.collector).await {
                self.end(if is_unavailable(&problem) { End::Unavailable } else { End::SignedOut });
            }
        }
    }

    /// Reads a page, or waits until there is something to do.
    async fn step(&mut self) {
        let now = Instant::now();
        let may_look = self.looked.map_or(now, |looked| looked + LOOKS_EVERY);
        if self.has_more && now >= may_look {
            return self.look(now).await;
        }
        let mut wake = (self.checked + CHECKED_EVERY).min(self.beaten + HEARTBEAT);
        if self.has_more {
            wake = wake.min(may_look);
        }
        let follow = &*self.collector.ports.follow;
        tokio::select! {
            () = follow.stored_after(&self.request.after), if !self.has_more => self.has_more = true,
            _ = self.ending.changed() => {}
            () = sleep_until(wake) => {}
        }
    }

    async fn look(&mut self, now: Instant) {
        self.looked = Some(now);
        let page = self.collector.ports.follow.page(&self.reader.0, &self.request).await;
        let FollowedPage { events, up_to, has_gap, has_more } = match page {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "the engine failed");
                return self.end(End::Unavailable);
            }
        };
        if has_more {
            // The stream catches up without a pause, at the pace of its client.
            self.looked = None;
        }
        (self.request.after, self.has_more) = (up_to, has_more);
        if has_gap {
            self.waiting.push_back(Waiting::Gap);
        }
        self.waiting.extend(events.into_iter().map(|(position, event)| Waiting::Event(position, event)));
    }

    fn end(&mut self, reason: End) {
        // Events that were read but not given are read again after a reconnect.
        self.waiting = VecDeque::from([Waiting::End(reason)]);
    }

    fn give(&mut self, waiting: Waiting) -> Event {
        self.beaten = Instant::now();
        self.given_at = Some(self.beaten);
        match waiting {
            Waiting::Begin => Event::default().comment("").retry(RETRY).id(self.given.to_string()),
            Waiting::Event(position, event) => {
                self.given = position;
                let event = shown(&self.collector, event);
                let name = if event.is_rejected() { "rejected" } else { "accepted" };
                // The JSON of an event has no line breaks.
                let data = serde_json::to_string(&event).unwrap_or_default();
                Event::default().event(name).id(self.given.to_string()).data(data)
            }
            Waiting::Gap => Event::default().event("gap").data("{}"),
            Waiting::End(reason) => {
                self.is_over = true;
                Event::default().event("end").data(json!({"reason": reason.name()}).to_string())
            }
        }
    }
}
