//! Parameters of a query that a route does not know.
//!
//! A cache buster (`_=1699`) or a tracking parameter (`utm_source=…`) changes nothing. A misspelt one would change the
//! answer without a word, so it is refused by the name that was probably meant.

use crate::{problem::Problem, read::invalid};

/// Refuses a name that is like one of those that the route knows.
pub(crate) fn refuse_near_miss(name: &str, known: &[&str]) -> Result<(), Problem> {
    match known.iter().find(|known| is_like(name, known)) {
        Some(known) => Err(invalid(format!("There is no parameter {name:?} here: is {known} meant?"))),
        None => Ok(()),
    }
}

/// Whether a name is the other one but for its spelling: other case or other signs between the words, a part of it, or up to
/// two letters added, missing, other or swapped.
fn is_like(name: &str, known: &str) -> bool {
    let [name, known] = [name, known].map(|name| {
        name.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect::<String>()
    });
    let [shorter, longer] = if name.len() < known.len() { [&name, &known] } else { [&known, &name] };
    // A name of a kilobyte is like no other, and takes no time.
    longer.len() <= 2 * known.len() + 8
        && (name == known
            || (shorter.len() >= 3 && longer.contains(shorter.as_str()))
            || (shorter.len() >= 2
                && known == *longer
                && (known.starts_with(&name) || known.ends_with(&name)))
            || (shorter.len() >= 4 && distance(name.as_bytes(), known.as_bytes()) <= 2))
}

/// How many letters must be added, taken away, changed or swapped with their neighbour to make one of the other.
fn distance(one: &[u8], other: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut cost = (row[j] + 1).min(last[j + 1] + 1).min(last[j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

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
