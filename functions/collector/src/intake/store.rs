//! Validates, stamps, stores and counts events. It knows nothing of HTTP.

use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, field::Empty};
use weir_core::{
    Catalog, Event, EventId, EventType, MAX_RECORD_BYTES, Record, Stamp, Timestamp, Username, Violation,
    alike,
    catalog::{Budget, Definition, Refusal},
    counts, event_time, looks,
    ports::{Appended, PortError},
    sealing::is_kept,
    trace::TRACED,
};

use crate::{
    Collector, Taken,
    api::reason::Reason,
    intake::{
        bots::{self, Recognised},
        outcome::Outcome,
        sender::Sent,
    },
};

/// The most reasons in one answer; beyond them, each event has one. Otherwise the answer to thousands of bad events could
/// be many times their size.
const MAX_ERRORS: usize = 1000;

/// The most bytes of a body that a rejected record always has room for: in JSON, each may become six.
const MAX_PART: usize = 128 << 10;
const _: () = assert!(6 * MAX_PART < MAX_RECORD_BYTES - (16 << 10));

/// The warning for an event that retention removes.
const TOO_OLD: &str =
    "the event is older than events of its type are kept: it is counted, and retention removes it";

/// Events between validation and storage: the verdict on each so far, in the order of the request, and the records of those
/// that were checked.
#[derive(Debug)]
pub(crate) struct Prepared {
    records: Vec<Record>,
    verdicts: Vec<Verdict>,
}

impl Prepared {
    /// Returns the number of events.
    pub(crate) fn len(&self) -> usize {
        self.verdicts.len()
    }
}

#[derive(Debug)]
enum Verdict {
    Valid {
        client_id: Option<EventId>,
        warning: Option<&'static str>,
    },
    /// `claimed` is the type that the event names, if it names one.
    Invalid {
        claimed: Option<EventType>,
        errors: Vec<Violation>,
    },
    /// The event was not checked, and has no record: the events before it used up the work that a request may cause.
    Unchecked {
        client_id: Option<EventId>,
        claimed: EventType,
    },
}

impl Collector {
    /// Fills, validates and stamps events. `expected` is the type of the route, if the route belongs to one type.
    pub(crate) fn prepare(
        &self,
        username: &Username,
        sent: &Sent,
        events: &[&[u8]],
        expected: Option<&EventType>,
    ) -> Prepared {
        let received_at = self.host.clock.now();
        let mut errors_left = MAX_ERRORS;
        let mut shared = Shared {
            username,
            sent,
            expected,
            received_at,
            budget: Budget::of_a_request(),
            recognised: Recognised::default(),
        };
        let mut prepared = Prepared {
            records: Vec::with_capacity(events.len()),
            verdicts: Vec::with_capacity(events.len()),
        };
        for body in events {
            match self.accept(body, &mut shared) {
                Ok((record, verdict)) => {
                    prepared.records.push(record);
                    prepared.verdicts.push(verdict);
                }
                Err(NotAccepted::Unchecked { client_id, claimed }) => {
                    prepared.verdicts.push(Verdict::Unchecked { client_id, claimed });
                }
                Err(NotAccepted::Invalid(claimed, mut errors)) => {
                    errors.truncate(errors_left.max(1));
                    errors_left = errors_left.saturating_sub(errors.len());
                    let claimed = expected.cloned().or(claimed);
                    let stamp = self.stamp(username, None, received_at);
                    let body = self.catalog.redact_rejected(claimed.as_ref(), body);
                    prepared.records.push(Record::rejected(&body, claimed.as_ref(), &errors, stamp));
                    prepared.verdicts.push(Verdict::Invalid { claimed, errors });
                }
            }
        }
        let unchecked = prepared.verdicts.len() - prepared.records.len();
        if unchecked > 0 {
            tracing::warn!(
                unchecked,
                "events were not checked: those before them in their request took too much work"
            );
        }
        prepared
    }

    /// Prepares a body without recognisable events: one rejected event, or several with its parts if one cannot hold it.
    pub(crate) fn prepare_malformed(&self, username: &Username, body: &[u8], error: &Violation) -> Prepared {
        let received_at = self.host.clock.now();
        let body = self.catalog.redact_rejected(None, body);
        let parts = parts(&body);
        let prepare = |(number, part): (usize, &&[u8])| {
            let mut errors = vec![error.clone()];
            if parts.len() > 1 {
                let place = format!("this is part {} of {} of the body", number + 1, parts.len());
                errors.push(Violation::whole(place));
            }
            let record = Record::rejected(part, None, &errors, self.stamp(username, None, received_at));
            (record, Verdict::Invalid { claimed: None, errors })
        };
        let (records, verdicts) = parts.iter().enumerate().map(prepare).unzip();
        Prepared { records, verdicts }
    }

    /// Makes the record of a valid event, and the verdict on it.
    fn accept(&self, body: &[u8], shared: &mut Shared<'_>) -> Result<(Record, Verdict), NotAccepted> {
        let Shared { username, sent, expected, received_at, budget, recognised } = shared;
        let text = std::str::from_utf8(body).map_err(|error| {
            let looks = looks::of_bytes(body).map(|looks| format!(": {looks}")).unwrap_or_default();
            let message = format!("not valid UTF-8, from byte {} on{looks}", error.valid_up_to());
            NotAccepted::Invalid(None, vec![Violation::whole(message)])
        })?;
        let mut event = Event::read(text).map_err(|errors| NotAccepted::Invalid(None, errors))?;
        let event_type = which_type(&self.catalog, &event, *expected)
            .map_err(|error| NotAccepted::Invalid(event.event_type.clone(), vec![error]))?;
        // `which_type` returns only types of the catalog.
        let (definition, mut key) = (self.catalog.get(&event_type), None);
        if let Some(definition) = definition {
            definition.fill(&mut event, &sent.sender);
            key = definition.check_within(&event, budget).map_err(|refusal| match refusal {
                Refusal::Invalid(errors) => NotAccepted::Invalid(event.event_type.clone(), errors),
                Refusal::Unchecked => {
                    NotAccepted::Unchecked { client_id: event.event_id.clone(), claimed: event_type.clone() }
                }
            })?;
        }
        let own = bots::user_agent_at(event.value(), sent.user_agents);
        let own = own.or_else(|| definition?.user_agent_of(&event));
        if own.or(sent.sender.user_agent.as_deref()).is_some_and(|found| recognised.is_bot(found)) {
            event.mark_as_of_a_bot();
        }
        // Behind all that looks at what was sent.
        if let Some(definition) = definition.filter(|definition| self.catalog.redact(definition, &mut event))
        {
            key = definition.key_of(&event);
        }
        let latest_key = definition.and_then(|definition| definition.latest_key(&event));
        let stamp = self.stamp(username, event.event_id.clone(), *received_at);
        let warning = event_time::warning(event.occurred_at, stamp.received_at);
        let warning = warning.or_else(|| {
            let days = definition.and_then(Definition::keep_days).or(self.host.keep_days)?;
            let time = event_time::of(event.occurred_at, stamp.received_at);
            (!is_kept(time, days, stamp.received_at)).then_some(TOO_OLD)
        });
        let record = Record::accepted(&event, &event_type, key, stamp).latest_under(latest_key);
        Ok((record, Verdict::Valid { client_id: event.event_id, warning }))
    }

    fn stamp(&self, username: &Username, event_id: Option<EventId>, received_at: Timestamp) -> Stamp {
        Stamp::new(username.clone(), event_id, received_at, &*self.host.random)
    }

    /// Stores prepared events, counts them and raises their latest values. Returns the outcome of each, and reports all of
    /// them to the observer.
    pub(crate) async fn store(&self, Prepared { records, verdicts }: Prepared) -> Vec<Outcome> {
        let began = Instant::now();
        let storing =
            tracing::debug_span!(target: TRACED, "store", weir.events = records.len().cast_signed());
        let mut appended = self.ports.stream.append(records.clone()).instrument(storing).await;
        let stored =
            records.iter().zip(&appended).filter(|(_, appended)| matches!(appended, Appended::Stored));
        let (count_failures, not_raised) = tokio::join!(
            self.count(began, stored.map(|(record, _)| record)),
            self.raise_latest(began, &records, &appended)
        );
        let mut taken = Taken { count_failures, ..Taken::default() };
        let refusal = appended.iter().find_map(|appended| match appended {
            Appended::Refused(error) => Some(error),
            _ => None,
        });
        if let Some(error) = refusal {
            let refused = appended.iter().filter(|appended| !appended.is_durable()).count();
            log_refusal(error, refused);
        }
        for (appended, error) in appended.iter_mut().zip(not_raised) {
            if let Some(error) = error {
                *appended = Appended::Refused(error);
            }
        }
        let mut outcomes = Vec::with_capacity(records.len());
        let mut durable = records.iter().zip(&appended);
        for verdict in verdicts {
            let checked = if matches!(verdict, Verdict::Unchecked { .. }) { None } else { durable.next() };
            // Type names outside the catalog are the client's own.
            let claimed = match &verdict {
                Verdict::Valid { .. } => checked.map(|(record, _)| &record.counter().event_type),
                Verdict::Invalid { claimed, .. } => claimed.as_ref(),
                Verdict::Unchecked { claimed, .. } => Some(claimed),
            };
            let event_type =
                claimed.and_then(|claimed| self.catalog.get(claimed)).map(Definition::event_type);
            let outcome = outcome(verdict, checked);
            taken.events[outcome.fate()] += 1;
            self.host.observe.event(event_type, outcome.fate());
            outcomes.push(outcome);
        }
        self.host.observe.taken(&taken);
        outcomes
    }

    /// Counts stored events, and notes the rejected ones, where the engine does not do so itself. A failure of either
    /// leaves the events stored, so no answer depends on it. Returns the number of counts that may be too low.
    async fn count(&self, began: Instant, stored: impl Iterator<Item = &Record> + Clone) -> usize {
        let increments = counts::increments(stored.clone());
        if increments.is_empty() {
            return 0;
        }
        let rejected: Vec<Record> = stored.filter(|record| record.is_rejected()).cloned().collect();
        let noting = async {
            if !rejected.is_empty()
                && let Err(error) = self.ports.rejected.note(&rejected).await
            {
                tracing::warn!(%error, "rejected events are stored, and not in the list of the latest");
            }
        };
        let counters = increments.len().cast_signed();
        let counting =
            tracing::debug_span!(target: TRACED, "count", weir.counters = counters, otel.status_code = Empty);
        let both =
            async { tokio::join!(self.ports.live.raise(&increments).instrument(counting.clone()), noting).0 };
        let raised = match self.host.counted_within {
            None => both.await,
            Some(within) => timeout_at(began + within, both)
                .await
                .unwrap_or_else(|late| Err(PortError::unavailable("raising counts", late))),
        };
        counting.record("otel.status_code", raised.is_err().then_some("ERROR"));
        let Err(error) = raised else { return 0 };
        tracing::warn!(%error, counters = increments.len(), "live counts were not raised for stored events");
        increments.len()
    }
}

/// Splits a body into parts that always fit into a rejected record; it cuts UTF-8 between characters.
fn parts(mut body: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while body.len() > MAX_PART {
        let is_within = |at: &usize| body[*at] & 0b1100_0000 == 0b1000_0000;
        let at = (MAX_PART - 3..=MAX_PART).rev().find(|at| !is_within(at)).unwrap_or(MAX_PART);
        let (part, rest) = body.split_at(at);
        parts.push(part);
        body = rest;
    }
    parts.push(body);
    parts
}

/// What the events of a request share while they are checked.
struct Shared<'a> {
    username: &'a Username,
    sent: &'a Sent,
    expected: Option<&'a EventType>,
    received_at: Timestamp,
    budget: Budget,
    recognised: Recognised,
}

/// The reason why an event has no record of its type.
enum NotAccepted {
    /// The type that the event claims, if any, and its errors.
    Invalid(Option<EventType>, Vec<Violation>),
    Unchecked {
        client_id: Option<EventId>,
        claimed: EventType,
    },
}

/// Returns the outcome of an event, from its verdict and from the stream's result for its record, if it has one.
fn outcome(verdict: Verdict, checked: Option<(&Record, &Appended)>) -> Outcome {
    let not_stored = |event_id, reason| Outcome::NotStored { event_id, reason };
    match (verdict, checked) {
        // A rejected event that was not put aside: it will be when it is sent again.
        (Verdict::Invalid { .. }, Some((_, Appended::Refused(error)))) => not_stored(None, error.into()),
        (Verdict::Invalid { errors, .. }, Some(_)) => Outcome::Rejected { errors },
        (Verdict::Invalid { .. }, None) => not_stored(None, Reason::Unavailable),
        (Verdict::Valid { client_id, .. }, Some((_, Appended::Refused(error)))) => {
            not_stored(client_id, error.into())
        }
        (Verdict::Valid { client_id, .. }, None) => not_stored(client_id, Reason::Unavailable),
        (Verdict::Unchecked { client_id, .. }, _) => not_stored(client_id, Reason::TooMuchWork),
        (Verdict::Valid { .. }, Some((record, Appended::Duplicate { .. }))) => {
            Outcome::Duplicate { event_id: record.event_id().clone() }
        }
        (Verdict::Valid { warning, .. }, Some((record, Appended::Counted | Appended::Stored))) => {
            Outcome::Stored { event_id: record.event_id().clone(), warnings: warning.into_iter().collect() }
        }
    }
}

fn log_refusal(error: &PortError, refused: usize) {
    tracing::error!(%error, refused, "events were not stored");
}

/// Returns the type of an event: the route's, or the one that the event names.
fn which_type(
    catalog: &Catalog,
    event: &Event<'_>,
    expected: Option<&EventType>,
) -> Result<EventType, Violation> {
    let fault = |message: String| Err(Violation::new("/event_type", message));
    match (expected, &event.event_type) {
        (Some(expected), Some(named)) if expected != named => {
            fault(format!("this route takes {expected} only"))
        }
        (Some(expected), _) => Ok(expected.clone()),
        (None, Some(named)) if catalog.get(named).is_some() => Ok(named.clone()),
        (None, Some(named)) => {
            let mut types = catalog.iter().map(|definition| definition.event_type().as_str());
            let meant = types.find(|known| alike(known, named.as_str()));
            let meant = meant.map(|meant| format!("; {meant} may be meant")).unwrap_or_default();
            fault(format!("the catalog has no event type {named}{meant}"))
        }
        (None, None) => fault("is required".to_owned()),
    }
}
