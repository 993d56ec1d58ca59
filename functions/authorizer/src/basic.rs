//! Credentials as a client sends them: the value of an `Authorization` header, read as RFC 7617 defines it.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use weir_core::{
    NameError, Username,
    users::{Secret, split_credentials},
};

/// The longest header value that is read, in bytes. The longest valid one (a name of 48 bytes and a password of 256) has
/// 414.
pub const MAX_HEADER_BYTES: usize = 1024;

/// RFC 7617 wants the padding; some clients omit it, and the value is unambiguous without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a header value holds no Basic credentials. The message never repeats the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// The value is longer than any valid one.
    #[error("the header has more than {MAX_HEADER_BYTES} bytes")]
    TooLong,
    /// The value has another scheme, such as `Bearer`.
    #[error("the scheme is not Basic")]
    NotBasic,
    /// The text after the scheme cannot be decoded.
    #[error("what follows Basic is not base64")]
    NotBase64,
    /// The name or secret holds a NUL, a line break or another control character, which RFC 7617 forbids.
    #[error("name or secret holds a control character")]
    ControlCharacter,
    /// No colon separates name and secret.
    #[error("there is no colon between name and secret")]
    NoColon,
}

/// The name and the secret that a client sent.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name; an error if it is no valid username. That is no reason to stop early: it is refused like any other name
    /// without an account.
    pub username: Result<Username, NameError>,
    /// The secret.
    pub secret: Secret,
}

impl Credentials {
    /// Reads the value of an `Authorization` header.
    pub fn read(header: &str) -> Result<Self, BasicError> {
        if header.len() > MAX_HEADER_BYTES {
            return Err(BasicError::TooLong);
        }
        let header = header.trim_matches([' ', '\t']);
        let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(BasicError::NotBasic);
        }
        let bytes = BASE64.decode(token.trim_start_matches(' ')).map_err(|_| BasicError::NotBase64)?;
        let text = text(bytes);
        if text.contains(char::is_control) {
            return Err(BasicError::ControlCharacter);
        }
        let (username, secret) = split_credentials(&text).ok_or(BasicError::NoColon)?;
        Ok(Self { username, secret })
    }
}

/// Reads UTF-8, as the challenge asks for. Other bytes are read as Latin-1, which some clients always send (`requests` in
/// Python, `btoa` in browsers). The bytes decide, so each secret has one reading and is checked once.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn basic(text: impl AsRef<[u8]>) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    fn read(header: &str) -> (String, String) {
        let credentials = Credentials::read(header).unwrap();
        (credentials.username.unwrap().to_string(), credentials.secret.reveal().to_owned())
    }

    #[test]
    fn the_example_of_the_rfc_is_read() {
        let credentials = Credentials::read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert!(credentials.username.is_err(), "Aladdin has an upper-case letter");
        assert_eq!(credentials.secret.reveal(), "open sesame");
        assert_eq!(read("Basic dGVzdDoxMjPCow=="), ("test".to_owned(), "123£".to_owned()));
    }

    #[test]
    fn scheme_spaces_and_padding_are_taken_as_they_come() {
        let expected = ("ethan".to_owned(), "some:secret".to_owned());
        let padded = basic("ethan:some:secret");
        for header in [
            padded.clone(),
            padded.replace("Basic", "basic"),
            padded.replace("Basic ", "BASIC    "),
            padded.trim_end_matches('=').to_owned(),
            format!("\t {padded} "),
        ] {
            assert_eq!(read(&header), expected, "{header:?}");
        }
    }

    #[test]
    fn the_name_ends_at_the_first_colon() {
        assert_eq!(read(&basic("a:b:c:")), ("a".to_owned(), "b:c:".to_owned()));
        let nameless = Credentials::read(&basic(":")).unwrap();
        assert!(nameless.username.is_err());
        assert_eq!(nameless.secret.reveal(), "");
    }

    #[test]
    fn what_is_not_basic_is_refused_with_its_reason() {
        for (header, reason) in [
            (String::new(), BasicError::NotBasic),
            ("Bearer abc".to_owned(), BasicError::NotBasic),
            (basic("a:b").replace(' ', ""), BasicError::NotBasic),
            (basic("a:b").replace(' ', "\t"), BasicError::NotBasic),
            ("Basic".to_owned(), BasicError::NoColon),
            (basic("no colon"), BasicError::NoColon),
            ("Basic ???".to_owned(), BasicError::NotBase64),
            (format!("{0},{0}", basic("a:b")), BasicError::NotBase64),
            ("Basic YTpi YTpi".to_owned(), BasicError::NotBase64),
            // The URL-safe alphabet, and bits after the last byte: two texts for one secret.
            ("Basic YTr_-_-_".to_owned(), BasicError::NotBase64),
            ("Basic YTpiY2==".to_owned(), BasicError::NotBase64),
            (basic(b"a:\xff\x85"), BasicError::ControlCharacter),
            (basic("a:b\0"), BasicError::ControlCharacter),
            (basic("a\n:b"), BasicError::ControlCharacter),
            (basic("a:\u{85}"), BasicError::ControlCharacter),
            (basic("a:".repeat(400)), BasicError::TooLong),
        ] {
            let error = Credentials::read(&header).unwrap_err();
            assert_eq!(error, reason, "{header:?}");
        }
    }

    #[test]
    fn a_header_is_read_up_to_its_longest_and_no_further() {
        let longest = format!("{:<MAX_HEADER_BYTES$}", basic("a:b"));
        assert!(Credentials::read(&longest).is_ok());
        assert_eq!(Credentials::read(&format!("{longest} ")).unwrap_err(), BasicError::TooLong);
    }

    #[test]
    fn the_secret_is_in_no_debug_text() {
        let credentials = Credentials::read(&basic("ethan:open sesame")).unwrap();
        assert!(!format!("{credentials:?}").contains("sesame"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(header in "\\PC{0,80}") {
            let _ = Credentials::read(&header);
        }

        #[test]
        fn anything_after_the_scheme_is_read_or_refused(token in "[A-Za-z0-9+/= ]{0,120}") {
            if let Ok(credentials) = Credentials::read(&format!("Basic {token}")) {
                prop_assert!(!credentials.secret.reveal().contains(char::is_control));
            }
        }

        #[test]
        fn what_a_client_encodes_arrives(name in "[a-z0-9]{1,48}", secret in "[^\\p{C}]{0,100}") {
            let (read_name, read_secret) = read(&basic(format!("{name}:{secret}")));
            prop_assert_eq!((read_name, read_secret), (name, secret));
        }
    }
}
