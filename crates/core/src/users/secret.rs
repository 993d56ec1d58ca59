//! Secrets and their stored hashes.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{NameError, Random};

/// The secret half of credentials. It is never printed by `Debug` and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The prefix of generated secrets, which distinguishes them from chosen ones without looking up a user (and lets secret
    /// scanners find leaked ones).
    const PREFIX: &str = "weir_";
    const RANDOM_BYTES: usize = 24;

    /// Makes a new secret of 192 random bits.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; Self::RANDOM_BYTES];
        random.fill(&mut bytes);
        Self(format!("{}{}", Self::PREFIX, BASE64.encode(bytes)))
    }

    /// Wraps a secret that a client presented.
    #[must_use]
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself, to hand it to its owner.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns whether it has the form of a generated secret.
    #[must_use]
    pub fn looks_generated(&self) -> bool {
        self.0.starts_with(Self::PREFIX)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// Why a chosen password is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to resist guessing, or so long that hashing it would be a burden.
    #[error("a password has 8 to 256 bytes")]
    Length,
    /// It would be taken for a generated secret.
    #[error("a password cannot begin with \"weir_\", as generated secrets do")]
    LooksGenerated,
    /// It holds a control character, which HTTP basic authentication cannot carry (RFC 7617, section 2).
    #[error("a password cannot hold control characters")]
    Control,
}

/// The stored hash of a secret. As text: `sha256$SALT$DIGEST`, or `argon2id$MEMORY,PASSES,LANES$SALT$DIGEST`, in unpadded
/// URL-safe base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretHash {
    /// The hash of a generated secret: it has far too many bits to be guessed, so one salted SHA-256 is enough.
    Generated {
        /// Random bytes that make equal secrets hash differently.
        salt: Vec<u8>,
        /// SHA-256 of salt and secret.
        digest: Vec<u8>,
    },
    /// The hash of a chosen password: argon2id, so that guessing costs memory and time.
    Password {
        /// Memory in KiB, passes, lanes.
        cost: (u32, u32, u32),
        /// Random bytes that make equal passwords hash differently.
        salt: Vec<u8>,
        /// The argon2id output of the two.
        digest: Vec<u8>,
    },
}

const NOT_A_HASH: NameError =
    NameError::new("a stored secret", "must be the name of its hash, the salt and the digest");

impl SecretHash {
    const SALT_BYTES: usize = 16;
    /// OWASP's first choice for argon2id, as memory in KiB, passes and lanes
    /// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
    const COST: (u32, u32, u32) = (19_456, 2, 1);

    /// Makes the hash of a generated secret.
    #[must_use]
    pub fn of_generated(secret: &Secret, random: &dyn Random) -> Self {
        let salt = salt(random);
        let digest = sha256(&salt, secret);
        Self::Generated { salt, digest }
    }

    /// Makes the hash of a chosen password.
    pub fn of_password(secret: &Secret, random: &dyn Random) -> Result<Self, PasswordError> {
        if !(8..=256).contains(&secret.0.len()) {
            return Err(PasswordError::Length);
        }
        if secret.looks_generated() {
            return Err(PasswordError::LooksGenerated);
        }
        if secret.0.contains(char::is_control) {
            return Err(PasswordError::Control);
        }
        let salt = salt(random);
        let digest = argon2id(Self::COST, &salt, secret);
        Ok(Self::Password { cost: Self::COST, salt, digest })
    }

    /// Returns a hash that matches nothing, to spend the same time on a user who does not exist.
    #[must_use]
    pub fn of_no_account() -> Self {
        Self::Password { cost: Self::COST, salt: vec![0; Self::SALT_BYTES], digest: vec![0; 32] }
    }

    /// Returns whether it is of a chosen password, and so slow to check.
    #[must_use]
    pub fn is_password(&self) -> bool {
        matches!(self, Self::Password { .. })
    }

    /// Returns whether it is the hash of this secret. The comparison takes the same time wherever two digests differ.
    #[must_use]
    pub fn matches(&self, secret: &Secret) -> bool {
        match self {
            Self::Generated { salt, digest } => sha256(salt, secret).ct_eq(digest).into(),
            Self::Password { cost, salt, digest } => argon2id(*cost, salt, secret).ct_eq(digest).into(),
        }
    }
}

fn salt(random: &dyn Random) -> Vec<u8> {
    let mut salt = vec![0; SecretHash::SALT_BYTES];
    random.fill(&mut salt);
    salt
}

fn sha256(salt: &[u8], secret: &Secret) -> Vec<u8> {
    Sha256::new().chain_update(salt).chain_update(secret.0.as_bytes()).finalize().to_vec()
}

fn argon2id((memory, passes, lanes): (u32, u32, u32), salt: &[u8], secret: &Secret) -> Vec<u8> {
    let mut digest = vec![0; 32];
    // Costs are checked when a hash is read, salts and digests have fixed lengths, secrets are a header long.
    let params = Params::new(memory, passes, lanes, Some(digest.len())).expect("checked when it was read");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret.0.as_bytes(), salt, &mut digest)
        .expect("argon2id takes these lengths");
    digest
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> String {
        match hash {
            SecretHash::Generated { salt, digest } => {
                format!("sha256${}${}", BASE64.encode(salt), BASE64.encode(digest))
            }
            SecretHash::Password { cost: (memory, passes, lanes), salt, digest } => {
                format!(
                    "argon2id${memory},{passes},{lanes}${}${}",
                    BASE64.encode(salt),
                    BASE64.encode(digest)
                )
            }
        }
    }
}

impl TryFrom<String> for SecretHash {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let bytes = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
            BASE64.decode(text).ok().filter(|bytes| lengths.contains(&bytes.len())).ok_or(NOT_A_HASH)
        };
        match text.split('$').collect::<Vec<_>>()[..] {
            ["sha256", salt, digest] => {
                Ok(Self::Generated { salt: bytes(salt, 8..=64)?, digest: bytes(digest, 32..=32)? })
            }
            ["argon2id", cost, salt, digest] => {
                let cost: Vec<u32> = cost.split(',').filter_map(|n| n.parse().ok()).collect();
                let [memory, passes, lanes] = cost[..] else {
                    return Err(NOT_A_HASH);
                };
                // 1 GiB and 100 passes: beyond any sensible setting, below what would stall the process.
                let sane = memory <= 1 << 20 && passes <= 100 && lanes <= 16;
                if !sane || Params::new(memory, passes, lanes, Some(32)).is_err() {
                    return Err(NOT_A_HASH);
                }
                let (salt, digest) = (bytes(salt, 8..=64)?, bytes(digest, 32..=32)?);
                Ok(Self::Password { cost: (memory, passes, lanes), salt, digest })
            }
            _ => Err(NOT_A_HASH),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SeededRandom;

    #[test]
    fn only_the_secret_itself_matches_its_hash() {
        let random = SeededRandom::new(7);
        let secret = Secret::generate(&random);
        let hash = SecretHash::of_generated(&secret, &random);
        assert!(hash.matches(&secret));
        assert!(!hash.matches(&Secret::generate(&random)));
        let chosen = Secret::presented("correct horse");
        let hash = SecretHash::of_password(&chosen, &random).unwrap();
        assert!(hash.matches(&chosen));
        assert!(!hash.matches(&Secret::presented("correct horsf")));
        assert!(!SecretHash::of_no_account().matches(&chosen));
    }

    #[test]
    fn equal_secrets_are_stored_differently() {
        let random = SeededRandom::new(7);
        let secret = Secret::generate(&random);
        assert_ne!(SecretHash::of_generated(&secret, &random), SecretHash::of_generated(&secret, &random));
    }

    #[test]
    fn the_secret_is_in_no_debug_text_and_in_no_stored_text() {
        let random = SeededRandom::new(7);
        let secret = Secret::generate(&random);
        let hash = SecretHash::of_generated(&secret, &random);
        let told = format!("{secret:?} {hash:?} {}", String::from(hash.clone()));
        assert!(!told.contains(&secret.reveal()[5..]), "{told}");
    }

    #[test]
    fn passwords_that_cannot_work_are_refused() {
        let refused = |text: &str| {
            SecretHash::of_password(&Secret::presented(text), &SeededRandom::new(1)).unwrap_err()
        };
        assert_eq!(refused("short"), PasswordError::Length);
        assert_eq!(refused(&"x".repeat(257)), PasswordError::Length);
        assert_eq!(refused("weir_something"), PasswordError::LooksGenerated);
        assert_eq!(refused("line\nbreaks"), PasswordError::Control);
    }

    #[test]
    fn a_stored_hash_reads_back() {
        let random = SeededRandom::new(7);
        for hash in
            [SecretHash::of_generated(&Secret::generate(&random), &random), SecretHash::of_no_account()]
        {
            assert_eq!(SecretHash::try_from(String::from(hash.clone())), Ok(hash));
        }
    }

    proptest! {
        #[test]
        fn reading_a_stored_hash_never_panics_nor_makes_one_that_would(text in "(argon2id|sha256)\\$[0-9,$A-Za-z]{0,90}") {
            if let Ok(hash) = SecretHash::try_from(text) && !hash.is_password() {
                let _ = hash.matches(&Secret::presented("x"));
            }
        }
    }
}
