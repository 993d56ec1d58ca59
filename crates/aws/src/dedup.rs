//! Dedup: the identities of recently stored events, in a table of their own, so that a repeated event is recognised.
//!
//! | attribute | |
//! | --- | --- |
//! | `id` | the key: `USERNAME/EVENT_ID` |
//! | `state` | `claimed` while a request stores the event, then `stored` |
//! | `by` | the request's token: who may change the item |
//! | `until` | the end of the claim, in milliseconds by DynamoDB's clock |
//! | `expires` | the time from which DynamoDB may remove the item, in seconds; it does so within days, and until then the id is known |
//! | others | for types with latest values, the record that is stored (`stored_value`) |
//!
//! The table also has the places of users' queries (`queries/places.rs`), under keys that are no event's.
//!
//! An id is claimed before its event is stored, on the condition that no other request has claimed it, and marked once the
//! event is stored. A claim is a lease: it expires, so a request that died does not keep the event from being sent again for
//! long. All three writes are idempotent: by its token a request recognises its own writes whose answer was lost.
//!
//! Claims of several processes are compared, so they go by DynamoDB's clock (`service_clock`). A process that has had no
//! answer yet reads before it claims: the answer carries the time.

mod forgetting;
pub(crate) mod service_clock;
mod stored_value;

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};
use weir_core::{
    EventId, Random, Record, Timestamp, Username,
    dedup::Identity,
    latest::LatestValue,
    ports::{Appended, Forgotten, PortError},
};

use crate::errors::{explained, port_error};
use service_clock::ServiceClock;

const WHAT: &str = "claiming an event's id";

/// The time for which a claim holds: longer than any request takes that stores events.
const LEASE: Duration = Duration::from_secs(30);

/// The time for which a stored event is remembered.
const REMEMBERED: Duration = Duration::from_hours(24);

/// The default time limit for marking stored ids and releasing the others: the caller still has to count the events after it.
const MARKING: Duration = Duration::from_secs(3);

/// The most calls of a request that are under way at once.
const CONCURRENT: usize = 64;

/// A table of recent ids.
#[derive(Clone)]
pub struct RecentIds {
    client: Client,
    table: String,
    clock: ServiceClock,
    random: Arc<dyn Random>,
    marking: Duration,
    lease: Duration,
    forgotten: Option<Arc<dyn Forgotten>>,
}

/// The decision about one record of a request.
#[derive(Debug, Clone)]
enum Claim {
    /// The record has no identity, so nothing is known of it.
    Free,
    /// This request stores the record, which has this identity.
    Own(String),
    /// The event was stored before, as a record that is this latest value, if it is one.
    Stored(Option<Box<LatestValue>>),
    /// It is unknown whether the event was stored, or is about to be.
    Refused(PortError),
    /// The same, and it is unknown whether this identity is claimed now.
    Unclear(String, PortError),
    /// The record is the same event as this earlier record of the request, which is this latest value, if it is one.
    SameAs(usize, Option<Box<LatestValue>>),
}

/// The claims of a request, one for each of its records.
pub(crate) struct Claims {
    claims: Vec<Claim>,
    token: String,
}

impl RecentIds {
    /// Makes a table of recent ids. The answers to `client` set `clock`.
    pub(crate) fn new(client: Client, table: &str, clock: ServiceClock, random: Arc<dyn Random>) -> Self {
        Self {
            client,
            table: table.to_owned(),
            clock,
            random,
            marking: MARKING,
            lease: LEASE,
            forgotten: None,
        }
    }

    /// Returns the same table, to which a retry of a forgotten event is one of an event that is stored.
    #[must_use]
    pub fn without(self, forgotten: Arc<dyn Forgotten>) -> Self {
        Self { forgotten: Some(forgotten), ..self }
    }

    /// Sets the time limit for marking stored ids and releasing the others.
    #[must_use]
    pub fn marking_within(self, marking: Duration) -> Self {
        Self { marking, ..self }
    }

    /// Sets how long a claim holds: longer than any request may take.
    #[must_use]
    pub fn claiming_for(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Returns when the event was stored to which this user's client gave this id, a little early or late; `None` if no such
    /// event is remembered.
    pub(crate) async fn stored_at(
        &self,
        username: &Username,
        event_id: &EventId,
    ) -> Result<Option<Timestamp>, PortError> {
        let Some(id) = (Identity::Given { username, event_id }).to_remember() else { return Ok(None) };
        let read = self.client.get_item().table_name(&self.table).key("id", AttributeValue::S(id));
        let read = read.consistent_read(true).send().await;
        let read = read.map_err(|error| port_error("looking up an event's id", &error))?;
        let Some(item) = read.item().filter(|item| {
            item.get("state").and_then(|state| state.as_s().ok()).is_some_and(|state| state == "stored")
        }) else {
            return Ok(None);
        };
        let until = item.get("until").and_then(|until| until.as_n().ok()?.parse::<u64>().ok());
        let remembered = u64::try_from(REMEMBERED.as_millis()).unwrap_or(u64::MAX);
        Ok(until.map(|until| Timestamp::saturating(until.saturating_sub(remembered))))
    }

    /// Claims the ids of records. Records that cannot be claimed in time are refused, so that the others go on.
    pub(crate) async fn claim(&self, records: &[Record], deadline: Instant) -> Claims {
        let token = self.random.token();
        let gone = match self.gone(records, deadline).await {
            Ok(gone) => gone,
            Err(error) => {
                let refused = |record: &Record| {
                    if record.identity().is_given() { Claim::Refused(error.clone()) } else { Claim::Free }
                };
                return Claims { claims: records.iter().map(refused).collect(), token };
            }
        };
        let late = || Claim::Refused(PortError::unavailable(WHAT, "it took too long"));
        let (mut claims, mut first, mut claiming) = (Vec::new(), HashMap::new(), Vec::new());
        for (index, record) in records.iter().enumerate() {
            let Some(id) = record.identity().to_remember() else {
                claims.push(Claim::Free);
                continue;
            };
            if gone.has_id(&record.identity().digest()) {
                claims.push(Claim::Stored(None));
                continue;
            }
            if let Some(earlier) = first.get(&id) {
                let value = LatestValue::of(&records[*earlier]);
                claims.push(Claim::SameAs(*earlier, value.map(Box::new)));
                continue;
            }
            first.insert(id.clone(), index);
            claims.push(late());
            let token = &token;
            claiming.push(async move { (index, self.claim_one(id, record, token).await) });
        }
        if !claiming.is_empty()
            && let Err(error) = self.know_the_time(&token, deadline).await
        {
            drop(claiming);
            for index in first.into_values() {
                claims[index] = Claim::Refused(error.clone());
            }
            return Claims { claims, token };
        }
        for (index, claim) in all_until(claiming, deadline).await.0 {
            claims[index] = claim;
        }
        Claims { claims, token }
    }

    /// Makes sure that an answer has set the clock: if none has, it reads an item that does not exist.
    ///
    /// Without an answer, nothing is claimed. By a wrong clock, a claim could keep its event out for days, or take over
    /// another request's; and a table that does not answer takes no claim either. Any answer will do, even a refusal.
    /// Requests do not share the read: a read that hangs would hold up all others, and a process has few requests before its
    /// first answer.
    async fn know_the_time(&self, token: &str, deadline: Instant) -> Result<(), PortError> {
        if self.clock.is_set() {
            return Ok(());
        }
        // The token is in no table, and spreads the reads of many processes over it.
        let key = AttributeValue::S(token.to_owned());
        let read = self.client.get_item().table_name(&self.table).key("id", key).send();
        let answer = timeout_at(deadline, read).await;
        if self.clock.is_set() {
            return Ok(());
        }
        Err(match answer {
            Ok(Err(error)) => port_error(WHAT, &error),
            Ok(Ok(_)) | Err(_) => PortError::unavailable(WHAT, "it took too long"),
        })
    }

    async fn claim_one(&self, id: String, record: &Record, token: &str) -> Claim {
        let now = self.clock.now();
        let [until, expires] = ends(now, self.lease);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(stored_value::attributes(record))
            .item("id", AttributeValue::S(id.clone()))
            .item("state", AttributeValue::S("claimed".to_owned()))
            .item("by", AttributeValue::S(token.to_owned()))
            .item("until", until)
            .item("expires", expires)
            .condition_expression("attribute_not_exists(id) OR #state = :claimed AND #until < :now")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":claimed", AttributeValue::S("claimed".to_owned()))
            .expression_attribute_names("#until", "until")
            .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let Err(error) = put else { return Claim::Own(id) };
        let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error() else {
            // One of several attempts may have taken effect.
            return match port_error(WHAT, &error) {
                error @ PortError::Unavailable { .. } => Claim::Unclear(id, error),
                error => Claim::Refused(error),
            };
        };
        let of = |name: &str| failed.item()?.get(name)?.as_s().ok().map(String::as_str);
        if of("state") == Some("stored") {
            let value = failed.item().and_then(|claim| stored_value::read(claim, record));
            Claim::Stored(value.map(Box::new))
        } else if of("by") == Some(token) {
            // An earlier attempt of this call took effect, and its answer was lost.
            Claim::Own(id)
        } else {
            Claim::Refused(PortError::unavailable(WHAT, "another request is storing the event"))
        }
    }

    /// Marks stored ids as stored, and releases the ids of refused records; `outcomes` are those of the records to be stored.
    /// Returns the outcomes of all records.
    pub(crate) async fn settle(&self, claims: Claims, outcomes: Vec<Appended>) -> Vec<Appended> {
        let (mut settled, mut outcomes) = (Vec::with_capacity(claims.claims.len()), outcomes.into_iter());
        let (mut marking, mut releasing) = (Vec::new(), Vec::new());
        for claim in claims.claims {
            let outcome = match claim {
                Claim::Free | Claim::Own(_) => outcomes
                    .next()
                    .unwrap_or_else(|| Appended::Refused(PortError::unavailable(WHAT, "it was not sent"))),
                Claim::Stored(ref stored) => Appended::Duplicate { stored: stored.clone() },
                Claim::Refused(ref error) | Claim::Unclear(_, ref error) => Appended::Refused(error.clone()),
                Claim::SameAs(earlier, ref value) => match &settled[earlier] {
                    Appended::Counted | Appended::Stored => Appended::Duplicate { stored: value.clone() },
                    same => same.clone(),
                },
            };
            if let Claim::Own(id) | Claim::Unclear(id, _) = claim {
                if outcome.is_durable() { marking.push(id) } else { releasing.push(id) }
            }
            settled.push(outcome);
        }
        let deadline = Instant::now() + self.marking;
        let token = &claims.token;
        let marks = marking.into_iter().map(|id| self.mark(id, token)).collect();
        let releases = releasing.into_iter().map(|id| self.release(id, token)).collect();
        let ((marks, late), _) = tokio::join!(all_until(marks, deadline), all_until(releases, deadline));
        let failed: Vec<String> = marks.into_iter().filter_map(Result::err).collect();
        if late + failed.len() > 0 {
            let error = failed.first().map_or("it took too long", String::as_str);
            let events = late + failed.len();
            tracing::warn!(
                events,
                error,
                "stored events may be stored again, if they come again: they cannot be remembered"
            );
        }
        settled
    }

    /// Marks an event's id as stored.
    async fn mark(&self, id: String, token: &str) -> Result<(), String> {
        let [until, expires] = ends(self.clock.now(), REMEMBERED);
        let marked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id))
            .update_expression("SET #state = :stored, #until = :until, #expires = :expires")
            .condition_expression("#by = :token")
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#until", "until")
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_names("#by", "by")
            .expression_attribute_values(":stored", AttributeValue::S("stored".to_owned()))
            .expression_attribute_values(":until", until)
            .expression_attribute_values(":expires", expires)
            .expression_attribute_values(":token", AttributeValue::S(token.to_owned()))
            .send()
            .await;
        marked.map(drop).map_err(|error| explained(&error))
    }

    /// Releases the id of an event that was not stored. If that fails, the claim expires.
    async fn release(&self, id: String, token: &str) {
        let released = self
            .client
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id))
            .condition_expression("#by = :token")
            .expression_attribute_names("#by", "by")
            .expression_attribute_values(":token", AttributeValue::S(token.to_owned()))
            .send()
            .await;
        if let Err(error) = released {
            tracing::debug!(error = explained(&error), "an event's id stays claimed for a while");
        }
    }
}

impl Claims {
    /// Returns the records to store.
    pub(crate) fn to_store(&self) -> impl Iterator<Item = usize> {
        let is_to_store = |claim: &Claim| matches!(claim, Claim::Free | Claim::Own(_));
        self.claims.iter().enumerate().filter(move |(_, claim)| is_to_store(claim)).map(|(index, _)| index)
    }
}

/// Returns the attributes `until` and `expires` of an item that holds for this long.
fn ends(now: Timestamp, after: Duration) -> [AttributeValue; 2] {
    let until = u128::from(now.millis()) + after.as_millis();
    [until, until / 1000 + 1].map(|number| AttributeValue::N(number.to_string()))
}

/// Does as much of the work as it can until the deadline, several at a time; returns how many are not done.
async fn all_until<T>(work: Vec<impl Future<Output = T>>, deadline: Instant) -> (Vec<T>, usize) {
    let all = work.len();
    let mut done = Vec::with_capacity(all);
    let mut doing = stream::iter(work).buffer_unordered(CONCURRENT);
    while let Ok(Some(one)) = timeout_at(deadline, doing.next()).await {
        done.push(one);
    }
    let left = all - done.len();
    (done, left)
}

#[cfg(test)]
mod tests;
