//! Lambda in front of the fan-out: takes messages from the queue, and deletes those that the function has not named as
//! failed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use fan_out::{FanOut, Filed, Message, NotFiled, RawPlace};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_aws::RAW_PREFIX;
use weir_core::BatchKey;

use crate::{
    clock::wait,
    operations::{What, Who},
    planted::Bug,
    world::{RAW, World, queue},
};

/// As in `template.yaml`.
const TIMEOUT: Duration = Duration::from_mins(15);

/// What is left of an invocation's time once the function has kept its reserve, where a batch of very many partitions is not
/// filed in time, in milliseconds.
const HURRY: std::ops::Range<u64> = 3_001..3_120;

/// The fan-out behind its queue.
pub(crate) struct Filing {
    world: Arc<World>,
    fan_out: FanOut,
    /// Batches that a planted bug has noted as filed.
    noted: Mutex<BTreeSet<BatchKey>>,
}

impl Filing {
    pub(crate) fn new(world: &Arc<World>, fan_out: FanOut) -> Self {
        Self { world: world.clone(), fan_out, noted: Mutex::default() }
    }

    /// Takes messages for as long as the run goes on; several of these are at work at once.
    pub(crate) async fn poll(self: Arc<Self>, name: u32) {
        for invocation in 0.. {
            let who = Who::Filing(name, invocation);
            wait(self.world.luck.number(who, What::Polled, 5_000, |dice| dice.range(200..20_000))).await;
            let messages = self.receive(who);
            if messages.is_empty() {
                continue;
            }
            if self.world.faults.is_throttled(who) {
                // The function is not called. The messages come again after their visibility timeout, received once more.
                self.world.note(&format!("{who} is throttled"));
                if self.world.has(Bug::ThrottledTakenForDone) {
                    self.delete(&messages);
                }
                continue;
            }
            let origin = self.world.origin(who, true);
            let event = self.event(&messages);
            if self.world.has(Bug::DeletedFirst) {
                self.delete(&messages);
            }
            let time = self.world.faults.hurry(who, HURRY).map_or(TIMEOUT, Duration::from_millis);
            let answer = timeout(time, origin.run(self.answer(&event, time))).await;
            // The function ended in time, and did not die: what it does not name as failed is done.
            let Ok(Some(answer)) = answer else { continue };
            let failed: Vec<&str> = answer["batchItemFailures"]
                .as_array()
                .unwrap()
                .iter()
                .map(|failure| failure["itemIdentifier"].as_str().unwrap())
                .collect();
            self.world.note(&format!("{}: failed {failed:?}", origin.who));
            let ignored = self.world.has(Bug::FailuresIgnored);
            for message in &messages {
                // A message can come again although it was handled: its deletion is lost.
                if (ignored || !failed.contains(&message.id.as_str()))
                    && !self.world.faults.chance(who, What::DeletionLost, 100)
                {
                    self.world.queue.lock().unwrap().delete(&message.id);
                }
            }
        }
    }

    fn delete(&self, messages: &[queue::Message]) {
        let mut queue = self.world.queue.lock().unwrap();
        messages.iter().for_each(|message| queue.delete(&message.id));
    }

    fn receive(&self, who: Who) -> Vec<queue::Message> {
        let now = self.world.clock.millis();
        let mut queue = self.world.queue.lock().unwrap();
        let luck = &self.world.luck;
        let wanted = luck.number(who, What::Wanted, 3, |dice| dice.range(1..4));
        let messages: Vec<queue::Message> =
            (0..wanted).map_while(|_| queue.receive(now, who, luck)).collect();
        for message in &messages {
            if self.world.faults.chance(who, What::GivenTwice, 60) {
                queue.show_again(&message.id, now);
            }
        }
        messages
    }

    fn event(&self, messages: &[queue::Message]) -> Value {
        let record = |message: &queue::Message| {
            let mut body: Value = serde_json::from_str(&message.body).unwrap();
            if self.world.has(Bug::FirstRecordOnly)
                && let Some(records) = body["Records"].as_array_mut()
            {
                records.truncate(1);
            }
            json!({"messageId": message.id, "eventSource": "aws:sqs", "body": body.to_string()})
        };
        json!({"Records": messages.iter().map(record).collect::<Vec<_>>()})
    }

    /// The function.
    async fn answer(&self, event: &Value, left: Duration) -> Value {
        let raw = RawPlace { bucket: RAW.to_owned(), prefix: RAW_PREFIX };
        let mut messages = Message::read_all(event, &raw).expect("this is an event of a queue");
        if self.world.has(Bug::NotedBeforeFiled) {
            let mut noted = self.noted.lock().unwrap();
            for message in &mut messages {
                message.batches.retain(|batch| noted.insert(batch.clone().unwrap()));
            }
        }
        let mut out_of_time = false;
        let observe = |batch: Option<&BatchKey>, outcome: Result<&Filed, &NotFiled>| {
            if let Err(error) = outcome {
                out_of_time |= matches!(error, NotFiled::OutOfTime);
                self.world.note(&format!("{batch:?} is not filed: {error}"));
            }
        };
        let mut failed = self.fan_out.file_messages(messages, Some(left), observe).await;
        if out_of_time && self.world.has(Bug::OutOfTimeTakenForDone) {
            failed.clear();
        }
        let failed: Vec<Value> = failed.into_iter().map(|id| json!({"itemIdentifier": id})).collect();
        json!({"batchItemFailures": failed})
    }
}
