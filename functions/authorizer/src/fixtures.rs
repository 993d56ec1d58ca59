//! Users, credentials and grants for tests.

use std::{
    collections::HashMap,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{sync::Semaphore, task::yield_now, time::timeout};
use weir_core::{
    SeededRandom, Timestamp, Username,
    ports::{PortError, Users},
    users::{AccessKey, Scope, Secret, SecretHash, StoredUser, User, generate},
};

use crate::Grant;

/// The secret of [`password`].
pub(crate) const PASSWORD: &str = "correct horse";

/// The time at which tests begin, in 2026.
pub(crate) fn now() -> Timestamp {
    Timestamp::saturating(1_795_179_605_007)
}

/// Returns an `Authorization` header.
pub(crate) fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{secret}")))
}

/// Returns a user called ethan.
pub(crate) fn user(access_keys: Vec<AccessKey>) -> User {
    User { access_keys, ..User::new("ethan".parse().unwrap()) }
}

/// Returns the form in which an engine stores a user.
pub(crate) fn stored(user: &User) -> StoredUser {
    user.try_into().unwrap()
}

/// Returns an access key with a generated secret.
pub(crate) fn generated(label: &str, seed: u64) -> (AccessKey, Secret) {
    generate(label.parse().unwrap(), Scope::Both, now(), &SeededRandom::new(seed))
}

/// Returns an access key with the chosen secret [`PASSWORD`].
pub(crate) fn password(label: &str) -> AccessKey {
    static HASH: LazyLock<SecretHash> = LazyLock::new(|| {
        SecretHash::of_password(&Secret::presented(PASSWORD), &SeededRandom::new(1)).unwrap()
    });
    AccessKey { hash: HASH.clone(), ..generated(label, 1).0 }
}

/// Returns the same key, expired in this very millisecond.
pub(crate) fn expired(key: AccessKey) -> AccessKey {
    AccessKey { expires_at: Some(now()), ..key }
}

/// Returns the grant of ethan's key with that label.
pub(crate) fn grant(label: &str) -> Grant {
    Grant {
        username: "ethan".parse().unwrap(),
        scope: Scope::Both,
        access_key: label.parse().unwrap(),
        usage_key: "0".repeat(64),
        expires_at: None,
    }
}

/// The timeout of a test's wait; only a bug reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// Lets other tasks run until the condition is true.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}

/// Returns whether an IAM resource with stars covers this one.
pub(crate) fn covers(pattern: &str, resource: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == resource,
        Some((before, after)) => resource.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && covers(after, &rest[at..]))
        }),
    }
}

/// Users in memory. They count their lookups, and can fail or stall.
pub(crate) struct Directory {
    users: Mutex<HashMap<Username, User>>,
    asked: AtomicUsize,
    failing: AtomicBool,
    spoilt: AtomicBool,
    gate: Semaphore,
}

impl Directory {
    pub(crate) fn of(users: impl IntoIterator<Item = User>) -> Self {
        let users = users.into_iter().map(|user| (user.username.clone(), user));
        Self {
            users: Mutex::new(users.collect()),
            asked: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            spoilt: AtomicBool::new(false),
            gate: Semaphore::new(1),
        }
    }

    pub(crate) fn put(&self, user: User) {
        self.users.lock().unwrap().insert(user.username.clone(), user);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    /// Truncates the stored access keys of all users.
    pub(crate) fn spoil(&self) {
        self.spoilt.store(true, Ordering::SeqCst);
    }

    /// Blocks every lookup until [`Self::release`].
    pub(crate) fn hold(&self) {
        self.gate.try_acquire().unwrap().forget();
    }

    pub(crate) fn release(&self) {
        self.gate.add_permits(1);
    }
}

#[async_trait]
impl Users for Directory {
    async fn stored(&self, username: &Username) -> Result<Option<StoredUser>, PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _passed = self.gate.acquire().await.unwrap();
        if self.failing.load(Ordering::SeqCst) {
            return Err(PortError::unavailable("finding a user", "on purpose"));
        }
        let mut found = self.users.lock().unwrap().get(username).map(stored);
        if let Some(user) = found.as_mut().filter(|_| self.spoilt.load(Ordering::SeqCst)) {
            user.access_keys.pop();
        }
        Ok(found)
    }
}
