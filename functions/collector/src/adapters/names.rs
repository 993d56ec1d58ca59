//! A foreign event's name as an event type: `Button Clicked` is `button_clicked`.

use weir_core::EventType;

/// Returns the name in snake case, if that is the name of a type. A name with letters beyond ASCII is no type's.
pub(crate) fn event_type(name: &str) -> Option<EventType> {
    // Signs between the words take room too, but a name of a kilobyte is no type's.
    if name.len() > 256 || !name.is_ascii() {
        return None;
    }
    let bytes = name.as_bytes();
    let mut snake = String::with_capacity(bytes.len() + 8);
    for (at, byte) in bytes.iter().enumerate() {
        if !byte.is_ascii_alphanumeric() {
            separate(&mut snake);
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| bytes.get(at)).copied().unwrap_or(b' ');
        let after = bytes.get(at + 1).copied().unwrap_or(b' ');
        let begins_word = byte.is_ascii_uppercase()
            && (before.is_ascii_lowercase()
                || before.is_ascii_digit()
                || (before.is_ascii_uppercase() && after.is_ascii_lowercase()));
        if begins_word {
            separate(&mut snake);
        }
        snake.push(char::from(byte.to_ascii_lowercase()));
    }
    snake.trim_end_matches('_').parse().ok()
}

fn separate(snake: &mut String) {
    if !snake.is_empty() && !snake.ends_with('_') {
        snake.push('_');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_all_habits_become_snake_case() {
        for (name, expected) in [
            ("button_click", "button_click"),
            ("Button Click", "button_click"),
            ("buttonClick", "button_click"),
            ("ButtonClick", "button_click"),
            ("BUTTON-CLICK", "button_click"),
            ("  button . click!", "button_click"),
            ("HTTPRequest", "http_request"),
            ("page2View", "page2_view"),
            ("$pageview", "pageview"),
            ("com.example.order", "com_example_order"),
        ] {
            assert_eq!(event_type(name).unwrap().as_str(), expected, "{name}");
        }
        for none in ["", "_", "7", "é", "Größe", &"a".repeat(49), &"-".repeat(9999)] {
            assert_eq!(event_type(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn the_name_of_a_type_is_that_type(name in "[a-z]([a-z0-9]|_[a-z0-9]){0,20}") {
            let named = event_type(&name).unwrap();
            prop_assert_eq!(named.as_str(), name);
        }

        #[test]
        fn no_name_makes_it_panic(name in "\\PC{0,60}") {
            let _ = event_type(&name);
        }
    }
}
