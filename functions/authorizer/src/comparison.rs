//! The constant-work computations that check a secret.
//!
//! The duration of a refusal must not reveal who has an account, how many access keys a user has or of which kind. So the
//! amount of work depends only on the form of the secret, which the client knows anyway:
//!
//! - for every name, as many stored keys are parsed as a user can have: decoys replace the missing ones;
//! - a secret of the generated form is compared with as many fast hashes as a user can have; decoys replace the missing
//!   ones;
//! - any other secret is compared with exactly one argon2id hash, a decoy's if the user has no password.
//!
//! No step is skipped because another one matched or because an access key has expired. (A hash made with other argon2id
//! costs than today's takes its own time to check, until that password is changed.)

use serde_json::value::RawValue;
use weir_core::{
    Timestamp,
    users::{AccessKey, Secret, SecretHash, User},
};

/// Parses one stored access key: `serde_json::from_str`, unless a test counts.
pub(crate) type Parse = dyn Fn(&str) -> Result<AccessKey, serde_json::Error> + Send + Sync;

/// Compares a secret with a hash: [`SecretHash::matches`], unless a test counts.
pub(crate) type Compare = dyn Fn(&SecretHash, &Secret) -> bool + Send + Sync;

/// A hash to compare a secret with.
pub(crate) enum Candidate {
    /// One of the user's access keys.
    Key(AccessKey),
    /// A hash that no secret matches, compared only for the time it takes.
    Decoy(SecretHash),
}

impl Candidate {
    fn hash(&self) -> &SecretHash {
        match self {
            Self::Key(key) => &key.hash,
            Self::Decoy(hash) => hash,
        }
    }
}

/// Stored access keys of no user, as text. One has a generated secret, the other a chosen password.
pub(crate) struct Decoys {
    generated: String,
    password: String,
}

impl Decoys {
    /// The most passwords among stored access keys: the valid one (`User::add` refuses a second one), and one that it
    /// replaced, until the user's next change.
    const MAX_PASSWORDS: usize = 2;

    /// Returns the decoys. They have the label and the scope that `weir user add` gives.
    pub(crate) fn new() -> Self {
        let text = |hash: SecretHash| {
            let hash = String::from(hash);
            format!(
                r#"{{"label":"default","scope":"both","hash":"{hash}","created_at":1700000000000,"expires_at":null}}"#
            )
        };
        let generated = SecretHash::Generated { salt: vec![0; 16], digest: vec![0; 32] };
        Self { generated: text(generated), password: text(SecretHash::of_no_account()) }
    }

    /// Returns the candidates for a secret among a user's stored access keys; `None` means a name without an account. It
    /// always parses twenty generated keys and two passwords.
    pub(crate) fn candidates(
        &self,
        stored: Option<&str>,
        secret: &Secret,
        parse: &Parse,
    ) -> Result<Vec<Candidate>, serde_json::Error> {
        let (mut generated, mut passwords) = (Vec::new(), Vec::new());
        for key in serde_json::from_str::<Vec<&RawValue>>(stored.unwrap_or("[]"))? {
            let key = parse(key.get())?;
            let of_its_kind = if key.hash.is_password() { &mut passwords } else { &mut generated };
            of_its_kind.push(Candidate::Key(key));
        }
        fill(&mut generated, User::MAX_ACCESS_KEYS, &self.generated, parse)?;
        // Only the newest password is valid.
        passwords.reverse();
        fill(&mut passwords, Self::MAX_PASSWORDS, &self.password, parse)?;
        if secret.looks_generated() {
            return Ok(generated);
        }
        passwords.truncate(1);
        Ok(passwords)
    }
}

/// Adds decoys until there are `count` candidates. Each is read like a stored key: found in its text, then parsed.
fn fill(
    candidates: &mut Vec<Candidate>,
    count: usize,
    decoy: &str,
    parse: &Parse,
) -> Result<(), serde_json::Error> {
    while candidates.len() < count {
        let key: &RawValue = serde_json::from_str(decoy)?;
        candidates.push(Candidate::Decoy(parse(key.get())?.hash));
    }
    Ok(())
}

/// Returns the candidate access key that the secret matches, if it is still valid. It compares all of them.
pub(crate) fn matching(
    candidates: Vec<Candidate>,
    secret: &Secret,
    now: Timestamp,
    compare: impl Fn(&SecretHash, &Secret) -> bool,
) -> Option<AccessKey> {
    let mut found = None;
    for candidate in candidates {
        let matches = compare(candidate.hash(), secret);
        if let Candidate::Key(key) = candidate
            && matches
            && key.is_live(now)
        {
            found = Some(key);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::fixtures::{expired, generated, now, password, stored, user};

    /// The operations of one check.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Work {
        parsed: usize,
        fast: usize,
        slow: usize,
    }

    fn candidates(user: Option<&User>, secret: &Secret) -> Vec<Candidate> {
        let stored = user.map(|user| stored(user).access_keys);
        Decoys::new().candidates(stored.as_deref(), secret, &|text| serde_json::from_str(text)).unwrap()
    }

    /// Returns the amount of work of a check, and the access key that it finds.
    fn work(user: Option<&User>, secret: &Secret) -> (Work, Option<AccessKey>) {
        let [parsed, fast, slow] = [const { AtomicUsize::new(0) }; 3].map(Arc::new);
        let stored = user.map(|user| stored(user).access_keys);
        let parse = {
            let parsed = parsed.clone();
            move |text: &str| {
                parsed.fetch_add(1, Ordering::Relaxed);
                serde_json::from_str(text)
            }
        };
        let candidates = Decoys::new().candidates(stored.as_deref(), secret, &parse).unwrap();
        let found = matching(candidates, secret, now(), |hash, secret| {
            let counter = if hash.is_password() { &slow } else { &fast };
            counter.fetch_add(1, Ordering::Relaxed);
            hash.is_password() || hash.matches(secret)
        });
        let [parsed, fast, slow] = [parsed, fast, slow].map(|counter| counter.load(Ordering::Relaxed));
        (Work { parsed, fast, slow }, found)
    }

    #[test]
    fn a_generated_secret_takes_the_same_parses_and_twenty_fast_hashes_for_every_name() {
        let (key, secret) = generated("web", 1);
        let (other, wrong) = generated("other", 2);
        let twenty: Vec<_> = (0..20).map(|n| generated(&format!("k{n}"), 10 + n).0).collect();
        for (case, asked_for, presented) in [
            ("no account", None, &secret),
            ("without keys", Some(user(vec![])), &secret),
            ("right", Some(user(vec![key.clone()])), &secret),
            ("right at once", Some(user(vec![key.clone(), other.clone()])), &secret),
            ("wrong", Some(user(vec![key.clone()])), &wrong),
            ("expired", Some(user(vec![expired(key.clone())])), &secret),
            ("beside a password", Some(user(vec![password("p"), key.clone()])), &secret),
            ("a password only", Some(user(vec![password("p")])), &secret),
            ("all keys", Some(user(twenty)), &wrong),
        ] {
            let (work, _) = work(asked_for.as_ref(), presented);
            assert_eq!(work, Work { parsed: 22, fast: 20, slow: 0 }, "{case}");
        }
    }

    #[test]
    fn a_chosen_secret_takes_the_same_parses_and_one_argon2id_computation_for_every_name() {
        let (key, _) = generated("web", 1);
        let secret = Secret::presented("correct horse");
        for (case, asked_for) in [
            ("no account", None),
            ("without keys", Some(user(vec![]))),
            ("no password", Some(user(vec![key.clone()]))),
            ("a password", Some(user(vec![password("p")]))),
            ("a password among keys", Some(user(vec![key.clone(), password("p"), key.clone()]))),
            ("a password that was replaced", Some(user(vec![expired(password("p")), password("p")]))),
            ("expired", Some(user(vec![expired(password("p"))]))),
        ] {
            let (work, _) = work(asked_for.as_ref(), &secret);
            assert_eq!(work, Work { parsed: 22, fast: 0, slow: 1 }, "{case}");
        }
    }

    #[test]
    fn the_computations_without_an_account_cost_what_those_with_one_do() {
        let chosen = Secret::presented("correct horse");
        let cost = |user: Option<User>| match candidates(user.as_ref(), &chosen).remove(0).hash() {
            SecretHash::Password { cost, salt, digest } => (*cost, salt.len(), digest.len()),
            SecretHash::Generated { .. } => panic!("a fast hash"),
        };
        assert_eq!(cost(None), cost(Some(user(vec![password("p")]))));
        let (key, secret) = generated("web", 1);
        for candidate in candidates(Some(&user(vec![key])), &secret) {
            let SecretHash::Generated { salt, digest } = candidate.hash() else {
                panic!("a slow hash");
            };
            assert_eq!((salt.len(), digest.len()), (16, 32));
        }
    }

    #[test]
    fn the_key_that_matches_is_found_unless_it_has_expired() {
        let (key, secret) = generated("web", 1);
        let (other, _) = generated("other", 2);
        let found = |keys| work(Some(&user(keys)), &secret).1.map(|key| key.label.to_string());
        assert_eq!(found(vec![other.clone(), key.clone(), other.clone()]), Some("web".to_owned()));
        assert_eq!(found(vec![expired(key.clone()), other.clone()]), None);
        assert_eq!(found(vec![other]), None);
        let chosen = Secret::presented("correct horse");
        assert!(work(Some(&user(vec![password("p")])), &chosen).1.is_some());
        assert!(work(Some(&user(vec![expired(password("p"))])), &chosen).1.is_none());
    }

    #[test]
    fn nothing_matches_without_an_account() {
        for secret in [Secret::presented("weir_AAAA"), Secret::presented("x"), Secret::presented("")] {
            let always = |_: &SecretHash, _: &Secret| true;
            assert!(matching(candidates(None, &secret), &secret, now(), always).is_none());
        }
    }
}
