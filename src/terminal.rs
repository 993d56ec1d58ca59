//! Makes untrusted text safe for a terminal: control characters are escaped.

use std::io::{self, BufRead, Write};

/// Escapes a text onto one line, including line ends and tabs.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Escapes a text, and keeps its line ends.
pub(crate) fn in_lines(text: &str) -> String {
    text.split('\n').map(on_one_line).collect::<Vec<_>>().join("\n")
}

/// Copies lines as they arrive.
pub(crate) fn copy_lines(mut from: impl BufRead, mut to: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(in_lines(&String::from_utf8_lossy(&line)).as_bytes())?;
        line.clear();
    }
    to.flush()
}

/// Returns whether a terminal obeys a character. Control characters can move the cursor, colour, ring, or type on behalf of the
/// user; the marks for right-to-left text let a line look like another one
/// (<https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing>).
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out_and_the_rest_stays() {
        assert_eq!(on_one_line("a\nb\u{1b}[2J\u{9b}\t\u{7f}"), r"a\nb\u{1b}[2J\u{9b}\t\u{7f}");
        assert_eq!(on_one_line("\u{202e}x\u{2069}"), r"\u{202e}x\u{2069}");
        assert_eq!(on_one_line("é שלום 😀 \u{200d}"), "é שלום 😀 \u{200d}");
        assert_eq!(in_lines("a\r\n\u{1b}b\n"), "a\\r\n\\u{1b}b\n");
    }

    proptest! {
        #[test]
        fn lines_are_handed_on_without_what_a_terminal_obeys(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            copy_lines(&bytes[..], &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.chars().any(|c| c != '\n' && is_obeyed(c)));
            let lines = |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').count();
            prop_assert_eq!(lines(out.as_bytes()), lines(&bytes));
        }
    }
}
