//! Lambda in front of the fan-out: takes messages from the queue, and deletes those that the function has not named as
//! failed. What the function does with an event is what `functions/fan-out/src/main.rs` does.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use fan_out::{FanOut, Mention, Notification, RawPlace};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_aws::RAW_PREFIX;
use weir_core::BatchKey;

use crate::{
    clock::wait,
    operations::{What, Who},
    planted::Bug,
    world::{RAW, World, queue::Message},
};

/// As in `template.yaml`.
const TIMEOUT: Duration = Duration::from_mins(2);

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
            let origin = self.world.origin(who, true);
            let event = self.event(&messages);
            if self.world.has(Bug::DeletedFirst) {
                for message in &messages {
                    self.world.queue.lock().unwrap().delete(&message.id);
                }
            }
            let answer = timeout(TIMEOUT, origin.run(self.answer(&event))).await;
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

    fn receive(&self, who: Who) -> Vec<Message> {
        let now = self.world.clock.millis();
        let mut queue = self.world.queue.lock().unwrap();
        let luck = &self.world.luck;
        let wanted = luck.number(who, What::Wanted, 3, |dice| dice.range(1..4));
        let messages: Vec<Message> = (0..wanted).map_while(|_| queue.receive(now, who, luck)).collect();
        for message in &messages {
            if self.world.faults.chance(who, What::GivenTwice, 60) {
                queue.show_again(&message.id, now);
            }
        }
        messages
    }

    fn event(&self, messages: &[Message]) -> Value {
        let record = |message: &Message| {
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
    async fn answer(&self, event: &Value) -> Value {
        let raw = RawPlace { bucket: RAW.to_owned(), prefix: RAW_PREFIX };
        let Notification::Queue(messages) = Notification::read(event, &raw) else {
            panic!("this is an event of a queue: {event}")
        };
        let mut failed = Vec::new();
        for message in messages {
            if !self.file(message.batches).await {
                failed.push(json!({"itemIdentifier": message.id}));
            }
        }
        json!({"batchItemFailures": failed})
    }

    async fn file(&self, mentions: Vec<Mention>) -> bool {
        let mut all = true;
        for mention in mentions {
            let batch = mention.expect("these notifications are understood");
            if self.world.has(Bug::NotedBeforeFiled) && !self.noted.lock().unwrap().insert(batch.clone()) {
                continue;
            }
            let filed = self.fan_out.file(&batch).await;
            if let Err(error) = &filed {
                self.world.note(&format!("{batch} is not filed: {error}"));
            }
            all &= filed.is_ok();
        }
        all
    }
}
