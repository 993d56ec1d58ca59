//! Users and their access keys: who may call, and what they may do.

mod secret;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use secret::{PasswordError, Secret, SecretHash};

use crate::{NameError, Random, Timestamp, Username};

/// The permissions of an access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Allows posting events: fit for a browser.
    Write,
    /// Allows reading counts.
    Read,
    /// Allows posting events and reading counts.
    Both,
}

impl Scope {
    /// Returns its name: `write`, `read` or `both`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Both => "both",
        }
    }

    /// Returns whether it allows everything that `needed` does.
    #[must_use]
    pub fn allows(self, needed: Scope) -> bool {
        self == Self::Both || self == needed
    }
}

const NOT_A_SCOPE: NameError = NameError::new("a scope", "is write, read or both");

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        [Self::Write, Self::Read, Self::Both]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(NOT_A_SCOPE)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The name of an access key among its user's: 1 to 40 printable characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

const NOT_A_LABEL: NameError = NameError::new("a label", "must be 1 to 40 printable characters");

impl Label {
    /// Returns the label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let fits = (1..=40).contains(&text.chars().count()) && !text.contains(char::is_control);
        if fits { Ok(Self(text)) } else { Err(NOT_A_LABEL) }
    }
}

impl FromStr for Label {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.to_owned().try_into()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One of a user's access keys: a secret (its hash only), its permissions, and its expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its name among its user's keys.
    pub label: Label,
    /// Its permissions.
    pub scope: Scope,
    /// The hash of the secret.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// The time from which it is refused; `None` for never.
    pub expires_at: Option<Timestamp>,
}

impl AccessKey {
    /// Returns whether it is valid at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|expiry| now < expiry)
    }
}

/// A user with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's name.
    pub username: Username,
    /// The user's access keys, oldest first; expired ones too, until the next change drops them.
    pub access_keys: Vec<AccessKey>,
    /// The number of saves: a save succeeds only on the version that was read.
    pub version: u64,
}

/// A user as an engine stores it. The access keys are JSON text that is not parsed yet: the authorizer parses it, so that
/// every name costs the same work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    /// The user's name.
    pub username: Username,
    /// A JSON array with one object for each [`AccessKey`].
    pub access_keys: String,
    /// As in [`User`].
    pub version: u64,
}

impl StoredUser {
    /// Parses the access keys.
    pub fn read(self) -> Result<User, serde_json::Error> {
        let access_keys = serde_json::from_str(&self.access_keys)?;
        Ok(User { username: self.username, access_keys, version: self.version })
    }
}

impl TryFrom<&User> for StoredUser {
    type Error = serde_json::Error;

    fn try_from(user: &User) -> Result<Self, serde_json::Error> {
        let access_keys = serde_json::to_string(&user.access_keys)?;
        Ok(Self { username: user.username.clone(), access_keys, version: user.version })
    }
}

/// Why a change of a user's access keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessKeyError {
    /// A live key of that label exists.
    #[error("there is an access key labelled {0} already: rotate it, or give another label")]
    LabelTaken(Label),
    /// No live key has that label.
    #[error("there is no access key labelled {label}: the user has {}", list(labels))]
    NoSuchLabel {
        /// The label.
        label: Label,
        /// The labels of the user's keys.
        labels: Vec<Label>,
    },
    /// A key was to be the user's only one, and is not.
    #[error("{}", which(.0))]
    NotTheOnlyOne(
        /// The labels of the user's keys.
        Vec<Label>,
    ),
    /// The user has as many keys as a user can have.
    #[error("a user has at most {} access keys: remove one first", User::MAX_ACCESS_KEYS)]
    TooMany,
    /// The user has a chosen password already.
    #[error("a user has at most one chosen password: rotate it, or let a secret be generated")]
    SecondPassword,
}

impl User {
    /// The most access keys that a user can have.
    pub const MAX_ACCESS_KEYS: usize = 20;

    /// Makes a user without access keys, not saved yet.
    #[must_use]
    pub fn new(username: Username) -> Self {
        Self { username, access_keys: Vec::new(), version: 0 }
    }

    /// Gives the user one more access key. A user has at most one chosen password, as each costs the time of argon2id to
    /// check and the time of a refusal must not depend on the name that was asked for.
    pub fn add(&mut self, key: AccessKey, now: Timestamp) -> Result<(), AccessKeyError> {
        self.access_keys.retain(|key| key.is_live(now));
        if self.access_keys.iter().any(|other| other.label == key.label && other.expires_at.is_none()) {
            return Err(AccessKeyError::LabelTaken(key.label));
        }
        if key.hash.is_password() && self.access_keys.iter().any(|other| other.hash.is_password()) {
            return Err(AccessKeyError::SecondPassword);
        }
        if self.access_keys.len() >= Self::MAX_ACCESS_KEYS {
            return Err(AccessKeyError::TooMany);
        }
        self.access_keys.push(key);
        Ok(())
    }

    /// Replaces the secret of the key labelled `label`. The old one stays valid until `old_until`. Older secrets of the
    /// key end then, too, unless they end before. A chosen password ends at once if another chosen one replaces it.
    pub fn rotate(
        &mut self,
        label: &Label,
        hash: SecretHash,
        old_until: Timestamp,
        now: Timestamp,
    ) -> Result<(), AccessKeyError> {
        let old = self.access_keys.iter().position(|key| key.label == *label && key.expires_at.is_none());
        let old = old.ok_or_else(|| self.no_such(label))?;
        let new = AccessKey { hash, created_at: now, ..self.access_keys[old].clone() };
        let both_chosen = new.hash.is_password() && self.access_keys[old].hash.is_password();
        for earlier in self.access_keys.iter_mut().filter(|key| key.label == *label) {
            earlier.expires_at = Some(earlier.expires_at.map_or(old_until, |end| end.min(old_until)));
        }
        if both_chosen {
            self.access_keys[old].expires_at = Some(now);
        }
        self.add(new, now)
    }

    /// Removes an access key.
    pub fn remove(&mut self, label: &Label) -> Result<(), AccessKeyError> {
        let before = self.access_keys.len();
        self.access_keys.retain(|key| key.label != *label);
        if self.access_keys.len() < before { Ok(()) } else { Err(self.no_such(label)) }
    }

    /// Returns the label of the user's only live key, which may have two secrets for a while.
    pub fn only_label(&self, now: Timestamp) -> Result<Label, AccessKeyError> {
        let labels = labels(self.access_keys.iter().filter(|key| key.is_live(now)));
        if let [only] = &labels[..] { Ok(only.clone()) } else { Err(AccessKeyError::NotTheOnlyOne(labels)) }
    }

    fn no_such(&self, label: &Label) -> AccessKeyError {
        AccessKeyError::NoSuchLabel { label: label.clone(), labels: labels(self.access_keys.iter()) }
    }
}

/// Returns the labels of keys. A rotated key has two secrets for a while.
fn labels<'a>(keys: impl Iterator<Item = &'a AccessKey>) -> Vec<Label> {
    let labels: std::collections::BTreeSet<Label> = keys.map(|key| key.label.clone()).collect();
    labels.into_iter().collect()
}

fn which(labels: &[Label]) -> String {
    if labels.is_empty() {
        "the user has no access key: weir user add makes one".to_owned()
    } else {
        format!("which access key? Name its label, of: {}", list(labels))
    }
}

fn list(labels: &[Label]) -> String {
    let labels: Vec<&str> = labels.iter().map(Label::as_str).collect();
    if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
}

/// Splits `NAME:SECRET`, as RFC 7617 joins them: the name ends at the first colon.
#[must_use]
pub fn split_credentials(text: &str) -> Option<(Result<Username, NameError>, Secret)> {
    let (name, secret) = text.split_once(':')?;
    Some((name.parse(), Secret::presented(secret)))
}

/// Makes a new access key with a generated secret.
#[must_use]
pub fn generate(label: Label, scope: Scope, now: Timestamp, random: &dyn Random) -> (AccessKey, Secret) {
    let secret = Secret::generate(random);
    let hash = SecretHash::of_generated(&secret, random);
    (AccessKey { label, scope, hash, created_at: now, expires_at: None }, secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRandom;

    fn key(label: &str, seed: u64) -> AccessKey {
        generate(label.parse().unwrap(), Scope::Both, Timestamp::saturating(0), &SeededRandom::new(seed)).0
    }

    fn password(label: &str) -> AccessKey {
        let hash = SecretHash::of_password(&Secret::presented("long enough"), &SeededRandom::new(1)).unwrap();
        AccessKey { hash, ..key(label, 1) }
    }

    const NOW: fn() -> Timestamp = || Timestamp::saturating(1000);

    #[test]
    fn labels_are_unique_among_the_keys_that_stay() {
        let mut user = User::new("a".parse().unwrap());
        user.add(key("web", 1), NOW()).unwrap();
        assert_eq!(user.add(key("web", 2), NOW()), Err(AccessKeyError::LabelTaken("web".parse().unwrap())));
        user.add(key("other", 3), NOW()).unwrap();
        user.remove(&"web".parse().unwrap()).unwrap();
        let refused = user.remove(&"web".parse().unwrap()).unwrap_err();
        assert_eq!(refused.to_string(), "there is no access key labelled web: the user has other");
        let mut without = User::new("b".parse().unwrap());
        let refused = without.rotate(&"web".parse().unwrap(), key("x", 1).hash, NOW(), NOW()).unwrap_err();
        assert_eq!(refused.to_string(), "there is no access key labelled web: the user has none");
        assert_eq!(user.access_keys.len(), 1);
    }

    #[test]
    fn a_rotated_key_stays_good_for_the_time_given_and_is_then_dropped() {
        let label: Label = "web".parse().unwrap();
        let mut user = User::new("a".parse().unwrap());
        user.add(key("web", 1), NOW()).unwrap();
        user.rotate(&label, key("n", 2).hash, NOW().plus_millis(60), NOW()).unwrap();
        assert!(user.access_keys.iter().all(|key| key.is_live(NOW().plus_millis(59))));
        assert!(!user.access_keys[0].is_live(NOW().plus_millis(60)));
        user.rotate(&label, key("n", 3).hash, NOW(), NOW().plus_millis(60)).unwrap();
        assert_eq!(user.access_keys.len(), 1, "{user:?}");
    }

    #[test]
    fn a_secret_in_its_grace_time_stays_good_no_longer_than_a_later_rotation_says() {
        let label: Label = "web".parse().unwrap();
        let ends = |later: u64| {
            let mut user = User::new("a".parse().unwrap());
            user.add(key("web", 1), NOW()).unwrap();
            user.add(key("other", 9), NOW()).unwrap();
            user.rotate(&label, key("n", 2).hash, NOW().plus_millis(60), NOW()).unwrap();
            user.rotate(&label, key("n", 3).hash, NOW().plus_millis(later), NOW()).unwrap();
            let end = |key: &AccessKey| key.expires_at.map(|end| end.millis() - NOW().millis());
            user.access_keys.iter().map(end).collect::<Vec<_>>()
        };
        // What leaked may be the one in its grace time.
        assert_eq!(ends(0), [None, None]);
        assert_eq!(ends(20), [Some(20), None, Some(20), None]);
        assert_eq!(ends(90), [Some(60), None, Some(90), None]);
    }

    #[test]
    fn there_is_one_chosen_password_and_twenty_keys_at_the_most() {
        let mut user = User::new("a".parse().unwrap());
        user.add(password("one"), NOW()).unwrap();
        assert_eq!(user.add(password("two"), NOW()), Err(AccessKeyError::SecondPassword));
        user.rotate(&"one".parse().unwrap(), password("n").hash, NOW().plus_millis(99), NOW()).unwrap();
        for n in user.access_keys.len()..20 {
            user.add(key(&format!("k{n}"), 1), NOW()).unwrap();
        }
        assert_eq!(user.add(key("last", 1), NOW()), Err(AccessKeyError::TooMany));
    }

    #[test]
    fn scopes_allow_what_they_name() {
        assert!(Scope::Both.allows(Scope::Read) && Scope::Both.allows(Scope::Write));
        assert!(!Scope::Write.allows(Scope::Read) && !Scope::Read.allows(Scope::Write));
        assert_eq!("both".parse(), Ok(Scope::Both));
        assert_eq!("all".parse::<Scope>(), Err(NOT_A_SCOPE));
    }
}
