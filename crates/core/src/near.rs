//! The name that was probably meant by one that does not exist. Events are many, and so are their faults: for them,
//! [`alike`] takes a step a letter, where [`nearest`] takes as many as the letters of both names multiplied.

use strsim::osa_distance;

/// The longest name that resembles another. Comparing longer ones would take time, and help no reader.
const LONGEST: usize = 128;

/// Returns the known name with the smallest edit distance, if that is at most a third of the name's length.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (name.len() / 3).max(1);
    // Other lengths are that far away at least.
    let near = known.filter(|known| name.len() <= LONGEST && known.len().abs_diff(name.len()) <= 4 * most);
    let (wrong, nearest) = near.map(|known| (osa_distance(name, known), known)).min()?;
    (wrong <= most).then_some(nearest)
}

/// Returns whether two names differ only in case, blanks and signs between words: `sessionId` and `session_id` do not
/// otherwise.
#[must_use]
pub fn alike(one: &str, other: &str) -> bool {
    let plain = |name: &str| name.len() <= LONGEST && name.bytes().any(|byte| byte.is_ascii_alphanumeric());
    let letters = |name: &str| -> Vec<char> {
        name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    plain(one) && plain(other) && letters(one) == letters(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_where_only_case_and_signs_differ() {
        for other in ["sessionId", "session-id", "SESSION ID", "session_id"] {
            assert!(alike("session_id", other), "{other}");
        }
        for other in ["session", "session_ids", "", "_"] {
            assert!(!alike("session_id", other), "{other}");
        }
        assert!(!alike("", "_") && !alike(&"a".repeat(200), &"A".repeat(200)));
    }

    #[test]
    fn a_name_is_near_where_at_most_a_third_of_its_letters_is_wrong() {
        let types = ["button_click", "page_view", "outcome"];
        for (typed, meant) in [
            ("page_veiw", Some("page_view")),
            ("pageview", Some("page_view")),
            ("buton_clik", Some("button_click")),
            ("outcomes", Some("outcome")),
            ("click", None),
            ("x", None),
            ("", None),
            (&"outcome".repeat(100), None),
        ] {
            assert_eq!(nearest(typed, types.into_iter()), meant, "{typed}");
        }
    }
}
