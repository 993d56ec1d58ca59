//! Formats numbers with their nouns.

/// Formats a number with its noun: `1 batch`, `2 batches`, `0 batches`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Groups the digits of a whole number by thousands: `1,234,567`. Any other text stays as it is.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let before = |at: usize| if at > 0 && (digits.len() - at).is_multiple_of(3) { "," } else { "" };
    let text: String = digits.char_indices().map(|(at, digit)| format!("{}{digit}", before(at))).collect();
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_thousands() {
        let said = ["0", "999", "1000", "1234567", "-1000", "", "1.5", "x"].map(grouped);
        assert_eq!(said, ["0", "999", "1,000", "1,234,567", "-1,000", "", "1.5", "x"]);
    }

    #[test]
    fn one_is_singular_and_every_other_number_is_plural() {
        let said = [0, 1, 2, 11].map(|number| counted(number, "batch", "batches"));
        assert_eq!(said, ["0 batches", "1 batch", "2 batches", "11 batches"]);
    }
}
