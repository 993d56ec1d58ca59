//! Redaction: replaces values of an event before it is stored, as its type's `redact` says. An address is truncated, and any
//! other text is replaced by a keyed hash: equal texts have equal hashes, and without the secret no text can be looked up.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Random;

/// How the values of a field are redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redaction {
    /// Keeps the network of an IP address: the first 24 bits of IPv4, 48 of IPv6. Any other text becomes empty.
    Truncate,
    /// Replaces a text by its keyed hash, [`Self::HASH_CHARS`] hexadecimal digits.
    Hash,
}

impl Redaction {
    /// The length of a hash.
    pub const HASH_CHARS: usize = 32;

    /// Returns the value that is stored instead of `text`. Without a secret a hash is empty, as no other would hide the text.
    #[must_use]
    pub fn of(self, text: &str, secret: Option<&InstallationSecret>) -> String {
        match (self, secret) {
            (Self::Truncate, _) => truncated(text),
            (Self::Hash, Some(secret)) => secret.hash(text),
            (Self::Hash, None) => String::new(),
        }
    }
}

fn truncated(text: &str) -> String {
    text.parse::<IpAddr>().map(|address| network(address).to_string()).unwrap_or_default()
}

/// Returns the network of an address: its first 24 bits (IPv4), or 48 (IPv6). An address of IPv6 that has one of IPv4 in it
/// keeps no more than that one does.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    // The canonical form of ::ffff:203.0.113.7 is the address of IPv4 in it.
    match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << 8)).into(),
        IpAddr::V6(address) => {
            // An address of 6to4 (RFC 3056) has one of IPv4 behind its first 16 bits.
            let kept = if address.segments()[0] == 0x2002 { 16 + 24 } else { 48 };
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - kept))).into()
        }
    }
}

/// The secret of an installation by which texts are hashed. It is never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct InstallationSecret(String);

impl InstallationSecret {
    /// The least length, in bytes: hashes by a short secret could be looked up by trying all secrets.
    pub const MIN_BYTES: usize = 32;

    /// Makes a new secret of 256 random bits.
    #[must_use]
    pub fn generate(random: &dyn Random) -> Self {
        let mut bytes = [0; 32];
        random.fill(&mut bytes);
        Self(hex(&bytes))
    }

    /// Returns the secret itself, to keep it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    fn hash(&self, text: &str) -> String {
        hex(&self.digest(text.as_bytes())[..Redaction::HASH_CHARS / 2])
    }

    /// Returns the keyed digest (HMAC-SHA-256) of some bytes.
    pub(crate) fn digest(&self, bytes: &[u8]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(bytes);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for InstallationSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("InstallationSecret(…)")
    }
}

/// Why a text cannot be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret of an installation has {} bytes at least", InstallationSecret::MIN_BYTES)]
pub struct SecretTooShort;

impl FromStr for InstallationSecret {
    type Err = SecretTooShort;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.len() < Self::MIN_BYTES { Err(SecretTooShort) } else { Ok(Self(text.to_owned())) }
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SeededRandom;

    fn secret(seed: u64) -> InstallationSecret {
        InstallationSecret::generate(&SeededRandom::new(seed))
    }

    #[test]
    fn addresses_are_truncated_in_all_their_forms_and_any_other_text_is_removed() {
        for (sent, kept) in [
            ("203.0.113.7", "203.0.113.0"),
            ("2001:db8:a:b:c:d:e:f", "2001:db8:a::"),
            ("::ffff:203.0.113.7", "203.0.113.0"),
            ("2002:cb00:7107::1", "2002:cb00:7100::"),
            ("::203.0.113.7", "::"),
            ("::1", "::"),
            ("", ""),
            ("203.0.113.7:443", ""),
            ("203.0.113.7, 10.0.0.1", ""),
            (" 203.0.113.7", ""),
            ("fe80::1%eth0", ""),
            ("ann@example.com", ""),
        ] {
            assert_eq!(Redaction::Truncate.of(sent, None), kept, "{sent}");
        }
    }

    #[test]
    fn a_hash_is_the_one_of_hmac_sha_256() {
        // By another implementation.
        let secret: InstallationSecret = "0123456789abcdef0123456789abcdef".parse().unwrap();
        assert_eq!(secret.hash("ann@example.com"), HASHED);
    }

    /// `printf ann@example.com | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`, the first 32 digits.
    const HASHED: &str = "093e3dd9df951c5008225d533a017547";

    #[test]
    fn a_secret_is_never_short_and_never_printed() {
        assert_eq!("0123456789abcdef0123456789abcde\n".parse::<InstallationSecret>(), Err(SecretTooShort));
        let secret = secret(1);
        assert_eq!(format!("{}\n", secret.reveal()).parse(), Ok(secret.clone()));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        assert_eq!(Redaction::Hash.of("ann@example.com", None), "");
    }

    proptest! {
        #[test]
        fn a_truncated_address_says_its_network_only(address: u32, other: u128, host: u8) {
            let other = Ipv6Addr::from_bits(other);
            let sibling = Ipv6Addr::from_bits(other.to_bits() ^ u128::from(host));
            for (one, two) in [
                (Ipv4Addr::from_bits(address).to_string(), Ipv4Addr::from_bits(address ^ u32::from(host)).to_string()),
                (other.to_string(), sibling.to_string()),
            ] {
                let kept = Redaction::Truncate.of(&one, None);
                prop_assert_eq!(&kept, &Redaction::Truncate.of(&two, None));
                prop_assert_eq!(&kept, &Redaction::Truncate.of(&kept, None));
                prop_assert!(kept.parse::<IpAddr>().is_ok());
            }
        }

        #[test]
        fn equal_texts_have_equal_hashes_under_one_secret_only(one in "\\PC{0,40}", two in "\\PC{0,40}") {
            let hash = |text: &str, seed| Redaction::Hash.of(text, Some(&secret(seed)));
            prop_assert_eq!(hash(&one, 1) == hash(&two, 1), one == two);
            prop_assert_ne!(hash(&one, 1), hash(&one, 2));
            let hash = hash(&one, 1);
            prop_assert!(hash.len() == Redaction::HASH_CHARS && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
    }
}
