//! SQS between raw and the fan-out: messages come at least once, late, in any order; what fails too often lies in the
//! dead-letter queue until an operator sends it back.

use serde_json::{Value, json};

use super::{RAW, World};
use crate::{
    dice::Dice,
    luck::Luck,
    operations::{What, Who},
};

/// As in `template.yaml`.
const VISIBILITY: u64 = 960_000;

/// Fewer than in `template.yaml`, so that messages get into the dead-letter queue within a run.
const MAX_RECEIVES: u32 = 5;

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) body: String,
    visible_at: u64,
    receives: u32,
}

#[derive(Default)]
pub(crate) struct Queue {
    messages: Vec<Message>,
    dead: Vec<Message>,
    sent: u64,
    /// Keys of batches that no message names yet.
    held_back: Vec<String>,
    announcements: u32,
}

/// What S3 says of objects that were created.
pub(crate) fn notification(keys: &[String]) -> Value {
    let record = |key: &String| {
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": RAW}, "object": {"key": key, "size": 1}},
        })
    };
    json!({"Records": keys.iter().map(record).collect::<Vec<_>>()})
}

impl Queue {
    pub(crate) fn send(&mut self, body: &Value, visible_at: u64) {
        self.sent += 1;
        let id = format!("m{}", self.sent);
        self.messages.push(Message { id, body: body.to_string(), visible_at, receives: 0 });
    }

    /// Hands out a message to a consumer; it comes again if it is not deleted.
    pub(crate) fn receive(&mut self, now: u64, who: Who, luck: &Luck) -> Option<Message> {
        let visible = self.messages.iter().enumerate().filter(|(_, message)| message.visible_at <= now);
        let visible: Vec<usize> = visible.map(|(at, _)| at).collect();
        if visible.is_empty() {
            return None;
        }
        let picked = luck.number(who, What::Picked, 0, |dice| dice.range(0..visible.len() as u64));
        let at = visible[usize::try_from(picked).unwrap() % visible.len()];
        let message = &mut self.messages[at];
        if message.receives >= MAX_RECEIVES {
            self.dead.push(self.messages.remove(at));
            return self.receive(now, who, luck);
        }
        message.receives += 1;
        message.visible_at = now + VISIBILITY;
        Some(message.clone())
    }

    pub(crate) fn delete(&mut self, id: &str) {
        self.messages.retain(|message| message.id != id);
    }

    /// A message that is handed out becomes visible to another consumer at once.
    pub(crate) fn show_again(&mut self, id: &str, now: u64) {
        self.messages
            .iter_mut()
            .filter(|message| message.id == id)
            .for_each(|message| message.visible_at = now);
    }

    /// Sends back what is in the dead-letter queue.
    pub(crate) fn redrive(&mut self, now: u64) {
        for message in self.dead.drain(..) {
            self.messages.push(Message { visible_at: now, receives: 0, ..message });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.dead.is_empty() && self.held_back.is_empty()
    }
}

impl World {
    /// Says that a batch was created: now or later, alone or with others, once or several times.
    pub(crate) fn announce(&self, key: &str) {
        let now = self.clock.millis();
        let mut queue = self.queue.lock().unwrap();
        let who = Who::Announcement(queue.announcements);
        queue.announcements += 1;
        queue.held_back.push(key.to_owned());
        if self.faults.chance(who, What::HeldBack, 250) {
            return;
        }
        let mut keys = std::mem::take(&mut queue.held_back);
        if keys.len() > 1 {
            let order = self.luck.number(who, What::Mixed, 0, |dice| dice.range(0..1_000_000));
            Dice::new(order, "mixed").shuffle(&mut keys);
        }
        let times = if self.faults.chance(who, What::Twice, 150) { 2 } else { 1 };
        for _ in 0..times {
            let soon = self.luck.number(who, What::After, 1_000, |dice| dice.range(0..2_000));
            let late = |dice: &Dice| if dice.chance(300) { dice.range(1..900_000) } else { 0 };
            let late = soon + self.faults.number(who, What::Late, late);
            queue.send(&notification(&keys), now + late);
        }
    }

    /// What was held back is said at last.
    pub(crate) fn announce_the_rest(&self) {
        let mut queue = self.queue.lock().unwrap();
        let keys = std::mem::take(&mut queue.held_back);
        if !keys.is_empty() {
            queue.send(&notification(&keys), self.clock.millis());
        }
    }
}
