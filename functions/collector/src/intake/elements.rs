//! Splits a JSON array with invalid elements: each element can have its own outcome, as long as the bounds of each are
//! certain.

/// Returns the text of each element; `None` where a missing quote, bracket or comma leaves the bounds open.
///
/// All quotes and brackets must match, and a comma, a colon or a closing bracket must follow each value. So an element may
/// lack a value, or have one that JSON does not know (`NaN`); but a missing quote never turns a part of a text into an
/// event.
pub(crate) fn apart(array: &[u8]) -> Option<Vec<&[u8]>> {
    let text = array.strip_prefix(b"[")?;
    let (mut elements, mut begin) = (Vec::new(), 0);
    let mut open = Vec::new();
    let mut before = Before::Nothing;
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' if before == Before::Word => before = Before::Value,
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b',' if open.is_empty() => {
                elements.push(text[begin..at].trim_ascii());
                begin = at + 1;
                before = Before::Nothing;
            }
            b',' | b':' => before = Before::Nothing,
            b']' if open.is_empty() => {
                let last = text[begin..at].trim_ascii();
                if !(last.is_empty() && elements.is_empty()) {
                    elements.push(last);
                }
                return text[at + 1..].trim_ascii().is_empty().then_some(elements);
            }
            b'}' | b']' => {
                if open.pop() != Some(*byte) {
                    return None;
                }
                before = Before::Value;
            }
            _ if before == Before::Value => return None,
            b'"' if before == Before::Nothing => {
                loop {
                    match bytes.next()?.1 {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
                before = Before::Value;
            }
            b'{' if before == Before::Nothing => open.push(b'}'),
            b'[' if before == Before::Nothing => open.push(b']'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.' | b'_' => before = Before::Word,
            // A quote or bracket inside a word, another kind of quote, or a comment.
            _ => return None,
        }
    }
    None
}

/// The token before a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// An opening bracket, a comma or a colon: a value or a name may begin.
    Nothing,
    /// A part of a number or of a word such as `null`: more of it may follow.
    Word,
    /// The end of a value or name.
    Value,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn elements(array: &str) -> Option<Vec<&str>> {
        Some(
            apart(array.as_bytes())?
                .into_iter()
                .map(|element| std::str::from_utf8(element).unwrap())
                .collect(),
        )
    }

    #[test]
    fn elements_are_separated_although_some_are_not_json() {
        for (array, expected) in [
            ("[]", &[][..]),
            ("[ {} , NaN ]", &["{}", "NaN"]),
            (
                r#"[{"a":NaN},{"b":1,},{"c"},{"d":tru}]"#,
                &[r#"{"a":NaN}"#, r#"{"b":1,}"#, r#"{"c"}"#, r#"{"d":tru}"#],
            ),
            ("[{\"a\":\"two\nlines, [\"},{}]", &["{\"a\":\"two\nlines, [\"}", "{}"]),
            (r#"["\"],[", "\\"]"#, &[r#""\"],[""#, r#""\\""#]),
            ("[1,,2]", &["1", "", "2"]),
            ("[{},]\n", &["{}", ""]),
            ("[{a:[x]},[[],{}]]", &["{a:[x]}", "[[],{}]"]),
        ] {
            assert_eq!(elements(array).as_deref(), Some(expected), "{array}");
        }
    }

    #[test]
    fn elements_that_cannot_be_told_apart_for_sure_are_not_guessed() {
        for array in [
            "",
            "{}",
            "[",
            "[{}",
            "[{}]]",
            "[{}] x",
            "[{]}",
            "[{}{}]",
            "[1 2]",
            r#"[{"a":"x},{"b":"y"}]"#,
            r#"[{"a":"x},{"b":"y},{"c":1}]"#,
            r#"[{"a":"say "hi""},{}]"#,
            r#"[{"a":"x},{"text":",{},"}]"#,
            r#"[{"a":x"},{"text":"},{},{"}]"#,
            r#"[{"a":"x},{"text":"\",{},\""}]"#,
            r#"['x, {"a":1}, y']"#,
            r#"[1, /*,{"a":1},*/ 2]"#,
            "[INFO] starting",
        ] {
            assert_eq!(elements(array), None, "{array}");
        }
    }

    proptest! {
        #[test]
        fn they_are_those_of_json_where_it_is_json(
            values in proptest::collection::vec(("\\PC{0,12}", any::<f64>(), any::<bool>()), 0..9)
        ) {
            let array = serde_json::json!(values.iter().map(|(text, number, flag)| {
                serde_json::json!({text: [number, text, {}], "b": {"c": flag, "d": [[]]}})
            }).collect::<Vec<_>>());
            for array in [array.to_string(), serde_json::to_string_pretty(&array).unwrap()] {
                let expected: Vec<&RawValue> = serde_json::from_str(&array).unwrap();
                let expected: Vec<&str> = expected.into_iter().map(RawValue::get).collect();
                prop_assert_eq!(elements(&array), Some(expected));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let array = [b"[", &bytes[..]].concat();
            let _ = apart(&array);
        }
    }
}
