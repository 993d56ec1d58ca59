//! Formats numbers with their nouns.

/// Formats a number with its noun: `1 batch`, `2 batches`, `0 batches`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_every_other_number_is_plural() {
        let said = [0, 1, 2, 11].map(|number| counted(number, "batch", "batches"));
        assert_eq!(said, ["0 batches", "1 batch", "2 batches", "11 batches"]);
    }
}
