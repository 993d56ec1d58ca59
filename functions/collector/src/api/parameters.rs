//! Query parameters that a route does not know.
//!
//! A cache buster (`_=1699`) or a tracking parameter (`utm_source=…`) changes nothing. A misspelt parameter would silently
//! change the answer, so it is refused, and the error names the probable one.

use strsim::osa_distance;

use crate::api::problem::Problem;

/// A query that cannot be answered, and why.
pub(crate) fn invalid(detail: String) -> Problem {
    Problem::InvalidQuery { detail }
}

/// Names that other APIs have for a parameter.
const ELSEWHERE: [(&str, &[&str]); 3] = [
    ("from", &["start", "since", "begin", "after"]),
    ("to", &["end", "until", "before"]),
    ("limit", &["top", "size", "page_size", "per_page"]),
];

/// Refuses a name that resembles one of the route's names, or that other APIs have for one of them.
pub(crate) fn refuse_near_miss(name: &str, known: &[&str]) -> Result<(), Problem> {
    let elsewhere = |known: &str| {
        let names = ELSEWHERE.iter().find(|(own, _)| *own == known);
        names.is_some_and(|(_, names)| names.contains(&name))
    };
    match known.iter().find(|known| is_like(name, known) || elsewhere(known)) {
        Some(known) => Err(invalid(format!("There is no parameter {name:?} here: is {known} meant?"))),
        None => Ok(()),
    }
}

/// Returns whether a name resembles a known one: other case or other signs between the words, a part of it, or up to two
/// letters added, missing, other or swapped.
fn is_like(name: &str, known: &str) -> bool {
    let [name, known] = [name, known].map(|name| {
        name.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect::<String>()
    });
    let [shorter, longer] = if name.len() < known.len() { [&name, &known] } else { [&known, &name] };
    // A name of a kilobyte resembles no other, and takes no time.
    longer.len() <= 2 * known.len() + 8
        && (name == known
            || (shorter.len() >= 3 && longer.contains(shorter.as_str()))
            || (shorter.len() >= 2
                && known == *longer
                && (known.starts_with(&name) || known.ends_with(&name)))
            || (shorter.len() >= 4 && osa_distance(&name, &known) <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_other_apis_have_for_a_parameter_is_refused_with_the_own_one_where_there_is_one() {
        let range = ["from", "to"];
        for (name, meant) in [("start", "from"), ("since", "from"), ("until", "to"), ("end", "to")] {
            let Err(Problem::InvalidQuery { detail }) = refuse_near_miss(name, &range) else {
                panic!("{name}")
            };
            assert_eq!(detail, format!("There is no parameter {name:?} here: is {meant} meant?"));
            assert!(refuse_near_miss(name, &["limit", "model"]).is_ok(), "{name}");
        }
        assert!(refuse_near_miss("top", &["from", "to", "limit"]).is_err());
        assert!(refuse_near_miss("top", &range).is_ok());
    }

    #[test]
    fn a_misspelt_parameter_is_like_the_known_one_and_a_strange_one_is_not() {
        for (name, known) in [
            ("buton_id", "button_id"),
            ("buttonId", "button_id"),
            ("button-id", "button_id"),
            ("BUTTON_ID", "button_id"),
            ("button_ids", "button_id"),
            ("button", "button_id"),
            ("id", "button_id"),
            ("buttno_id", "button_id"),
            ("limt", "limit"),
            ("from_date", "from"),
            ("page_url", "url"),
            ("page.limit", "limit"),
        ] {
            assert!(is_like(name, known), "{name} {known}");
        }
        for name in [
            "_",
            "t",
            "ts",
            "v",
            "cb",
            "rand",
            "nocache",
            "timestamp",
            "utm_source",
            "utm_medium",
            "utm_term",
            "utm_content",
            "utm_campaign",
            "gclid",
            "fbclid",
            "msclkid",
            "mc_cid",
            "_ga",
            "ref",
            "yclid",
            "",
            "é",
            &"button_id".repeat(9),
        ] {
            for known in ["button_id", "limit", "after", "from", "to", "url", "model"] {
                assert!(!is_like(name, known), "{name} {known}");
            }
        }
    }
}
