//! Who runs it: makes users, and changes their access keys while everything is going on.

use std::sync::{Arc, Mutex};

use weir_aws::DynamoUsers;
use weir_core::{
    Clock, Timestamp,
    ports::{Saved, UserAdmin, Users},
    users::{Scope, User, generate},
};

use crate::{
    clock::wait,
    dice::Dice,
    ledger::{KeyLife, Ledger},
    operations::{Change, Op, What, Who},
    world::World,
};

pub(crate) const USERS: [&str; 3] = ["anna", "ben", "carl-1"];
pub(crate) const KEYS: [(&str, Scope); 3] =
    [("main", Scope::Both), ("web", Scope::Write), ("report", Scope::Read)];

/// The label of a key that is made with an end.
pub(crate) const GUEST: &str = "guest";

/// The operator, who manages users.
pub(crate) struct Operator {
    pub(crate) world: Arc<World>,
    pub(crate) users: DynamoUsers,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) dice: Dice,
}

impl Operator {
    /// Makes all users with their keys, while nothing goes wrong yet.
    pub(crate) async fn begin(&self) {
        for username in USERS {
            let origin = self.world.origin(Who::MakingUsers, false);
            let now = self.world.clock.now();
            let mut user = User::new(username.parse().unwrap());
            for (label, scope) in KEYS {
                let (key, secret) = generate(label.parse().unwrap(), scope, now, &self.dice);
                user.add(key, now).unwrap();
                self.ledger.lock().unwrap().keys.push(KeyLife {
                    username: username.to_owned(),
                    label: label.to_owned(),
                    secret: secret.reveal().to_owned(),
                    scope,
                    born: (now.millis(), now.millis()),
                    dead: None,
                    ends: None,
                });
            }
            let (mut guest, secret) = generate(GUEST.parse().unwrap(), Scope::Both, now, &self.dice);
            let after = |dice: &Dice| dice.range(120_000..1_200_000);
            let after = self.world.luck.number(Who::MakingUsers, What::GuestEnds, 600_000, after);
            let ends = now.millis() + after;
            guest.expires_at = Some(Timestamp::saturating(ends));
            user.add(guest, now).unwrap();
            self.ledger.lock().unwrap().keys.push(KeyLife {
                username: username.to_owned(),
                label: GUEST.to_owned(),
                secret: secret.reveal().to_owned(),
                scope: Scope::Both,
                born: (now.millis(), now.millis()),
                // The authorizer's clock may be ahead, so the key may be refused at any time.
                dead: Some((now.millis(), ends)),
                ends: Some(ends),
            });
            let saved = origin.run(self.users.save(&user)).await;
            assert!(matches!(saved, Some(Ok(Saved::Yes))), "{saved:?}");
        }
    }

    /// Rotates and removes keys, one after the other.
    pub(crate) async fn work(self) {
        for op in self.world.luck.people() {
            let Op::Change(change) = op else { continue };
            self.world.clock.until(change.at).await;
            let origin = self.world.origin(Who::Changing(change.n), false);
            origin.run(self.change(change)).await;
        }
    }

    /// Tries until it is done: what is not known to be saved is read again.
    async fn change(&self, change: &Change) {
        let Change { user: username, label, remove, grace, .. } = *change;
        let (_, scope) = *KEYS.iter().find(|(known, _)| *known == label).unwrap();
        let began = self.world.clock.millis();
        loop {
            let now = self.world.clock.now();
            let old = self.life(username, label);
            let Ok(Some(mut user)) = self.users.find(&username.parse().unwrap()).await else {
                wait(1000).await;
                continue;
            };
            let mut made = None;
            let mut end = now;
            if remove {
                let _ = user.remove(&label.parse().unwrap());
            } else {
                let (key, secret) = generate(label.parse().unwrap(), scope, now, &self.dice);
                end = Timestamp::saturating(now.millis() + grace);
                if user.rotate(&key.label, key.hash.clone(), end, now).is_err() && user.add(key, now).is_err()
                {
                    return;
                }
                made = Some(secret.reveal().to_owned());
            }
            // From now on, the new secret may be good, and the old one may not be.
            let at = made.map(|secret| self.made(username, label, scope, secret, now.millis()));
            if let Some(old) = old {
                self.ledger.lock().unwrap().keys[old].dead.get_or_insert((began, u64::MAX));
            }
            let saved = self.users.save(&user).await;
            let done = self.world.clock.millis();
            let mut ledger = self.ledger.lock().unwrap();
            if matches!(saved, Ok(Saved::Yes)) {
                if let Some(at) = at {
                    ledger.keys[at].born.1 = done;
                    ledger.keys[at].dead = None;
                }
                for key in ledger.keys.iter_mut().filter(|key| key.username == username && key.label == label)
                {
                    // A secret in its grace time ends with the one that is replaced now, at the latest.
                    if let Some(dead) = &mut key.dead {
                        dead.1 = dead.1.min(done.max(end.millis()));
                    }
                }
                self.world.note(&format!("{username}'s {label} is changed, {remove}"));
                return;
            }
            drop(ledger);
            wait(1000).await;
        }
    }

    fn life(&self, username: &str, label: &str) -> Option<usize> {
        let ledger = self.ledger.lock().unwrap();
        ledger
            .keys
            .iter()
            .rposition(|key| key.username == username && key.label == label && key.dead.is_none())
    }

    /// A key that may be good from now on. It is known to be good only once its user is saved.
    fn made(&self, username: &str, label: &str, scope: Scope, secret: String, now: u64) -> usize {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.keys.push(KeyLife {
            username: username.to_owned(),
            label: label.to_owned(),
            secret,
            scope,
            born: (now, u64::MAX),
            dead: Some((now, u64::MAX)),
            ends: None,
        });
        ledger.keys.len() - 1
    }
}
