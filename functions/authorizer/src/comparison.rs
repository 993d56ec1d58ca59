//! What is computed to check a secret.
//!
//! How long a refusal takes must not tell who has an account, how many access keys they have or of which kind. So
//! the amount of work depends on nothing but the form of the secret, which the client knows anyway:
//!
//! - a secret of the generated form is compared with as many fast hashes as a user can have, of nobody where the
//!   user has fewer;
//! - any other is compared with exactly one argon2id hash, of nobody where the user has no password.
//!
//! Nothing is skipped because something else matched or because an access key has expired. (A hash that was made
//! with other argon2id costs than today's takes its own time to check, until that password is changed.)

use weir_core::{
    Timestamp,
    users::{AccessKey, Secret, SecretHash, User},
};

/// Compares a secret with a hash: [`SecretHash::matches`], unless a test counts.
pub(crate) type Compare = dyn Fn(&SecretHash, &Secret) -> bool + Send + Sync;

/// What a secret is compared with.
pub(crate) enum Candidate {
    /// One of the user's access keys.
    Key(AccessKey),
    /// A hash that nothing matches, for the time it takes.
    Nobody(SecretHash),
}

impl Candidate {
    fn hash(&self) -> &SecretHash {
        match self {
            Self::Key(key) => &key.hash,
            Self::Nobody(hash) => hash,
        }
    }
}

/// What this secret is to be compared with, if this is the user who was asked for.
pub(crate) fn candidates(user: Option<User>, secret: &Secret) -> Vec<Candidate> {
    let keys = user.map(|user| user.access_keys).unwrap_or_default().into_iter();
    if secret.looks_generated() {
        let mut candidates: Vec<_> = keys.filter(|key| !key.hash.is_password()).map(Candidate::Key).collect();
        while candidates.len() < User::MAX_ACCESS_KEYS {
            candidates
                .push(Candidate::Nobody(SecretHash::Generated { salt: vec![0; 16], digest: vec![0; 32] }));
        }
        candidates
    } else {
        // A user has one password at the most (`User::add` sees to it); of two, the newer would count.
        let password = keys.rev().find(|key| key.hash.is_password());
        vec![password.map_or_else(|| Candidate::Nobody(SecretHash::of_nobody()), Candidate::Key)]
    }
}

/// The access key among the candidates that the secret belongs to, if it still counts. All of them are compared.
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::fixtures::{expired, generated, now, password, user};

    /// How many fast hashes and how many argon2id computations a check takes, and what it says.
    fn work(user: Option<User>, secret: &Secret) -> (usize, usize, Option<AccessKey>) {
        let (fast, slow) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let found = matching(candidates(user, secret), secret, now(), |hash, secret| {
            let counter = if hash.is_password() { &slow } else { &fast };
            counter.fetch_add(1, Ordering::Relaxed);
            hash.is_password() || hash.matches(secret)
        });
        (fast.into_inner(), slow.into_inner(), found)
    }

    #[test]
    fn a_generated_secret_takes_twenty_fast_hashes_whoever_is_asked_for() {
        let (key, secret) = generated("web", 1);
        let (other, wrong) = generated("other", 2);
        let twenty: Vec<_> = (0..20).map(|n| generated(&format!("k{n}"), 10 + n).0).collect();
        for (case, asked_for, presented) in [
            ("nobody", None, &secret),
            ("without keys", Some(user(vec![])), &secret),
            ("right", Some(user(vec![key.clone()])), &secret),
            ("right at once", Some(user(vec![key.clone(), other.clone()])), &secret),
            ("wrong", Some(user(vec![key.clone()])), &wrong),
            ("expired", Some(user(vec![expired(key.clone())])), &secret),
            ("beside a password", Some(user(vec![password("p"), key.clone()])), &secret),
            ("a password only", Some(user(vec![password("p")])), &secret),
            ("all keys", Some(user(twenty)), &wrong),
        ] {
            let (fast, slow, _) = work(asked_for, presented);
            assert_eq!((fast, slow), (20, 0), "{case}");
        }
    }

    #[test]
    fn a_chosen_secret_takes_one_argon2id_computation_whoever_is_asked_for() {
        let (key, _) = generated("web", 1);
        let secret = Secret::presented("correct horse");
        for (case, asked_for) in [
            ("nobody", None),
            ("without keys", Some(user(vec![]))),
            ("no password", Some(user(vec![key.clone()]))),
            ("a password", Some(user(vec![password("p")]))),
            ("a password among keys", Some(user(vec![key.clone(), password("p"), key.clone()]))),
            ("expired", Some(user(vec![expired(password("p"))]))),
        ] {
            let (fast, slow, _) = work(asked_for, &secret);
            assert_eq!((fast, slow), (0, 1), "{case}");
        }
    }

    #[test]
    fn the_computations_of_nobody_cost_what_those_of_somebody_do() {
        let chosen = Secret::presented("correct horse");
        let cost = |user| match candidates(user, &chosen).remove(0).hash() {
            SecretHash::Password { cost, salt, digest } => (*cost, salt.len(), digest.len()),
            SecretHash::Generated { .. } => panic!("a fast hash"),
        };
        assert_eq!(cost(None), cost(Some(user(vec![password("p")]))));
        let (key, secret) = generated("web", 1);
        for candidate in candidates(Some(user(vec![key])), &secret) {
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
        let found = |keys| work(Some(user(keys)), &secret).2.map(|key| key.label.to_string());
        assert_eq!(found(vec![other.clone(), key.clone(), other.clone()]), Some("web".to_owned()));
        assert_eq!(found(vec![expired(key.clone()), other.clone()]), None);
        assert_eq!(found(vec![other]), None);
        let chosen = Secret::presented("correct horse");
        assert!(work(Some(user(vec![password("p")])), &chosen).2.is_some());
        assert!(work(Some(user(vec![expired(password("p"))])), &chosen).2.is_none());
    }

    #[test]
    fn nothing_matches_nobody() {
        for secret in [Secret::presented("weir_AAAA"), Secret::presented("x"), Secret::presented("")] {
            let always = |_: &SecretHash, _: &Secret| true;
            assert!(matching(candidates(None, &secret), &secret, now(), always).is_none());
        }
    }
}
