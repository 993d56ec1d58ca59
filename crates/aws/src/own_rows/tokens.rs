//! Cuts a client's SQL into tokens, as Athena's engine (Trino) does. What Trino does not know is refused.
//!
//! The question to Athena is printed from tokens, each in one form, with blanks between them and without comments. So no character
//! of the client's text can be read in two ways: the end of a text, a name or a comment is decided here, and Athena sees no other.

use super::Refused;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, or a name without quotes: ASCII letters, digits and underscores.
    Word(String),
    /// A name in double quotes, without them.
    Quoted(String),
    /// A text in single quotes, without them.
    Text(String),
    /// The hexadecimal digits of binary data.
    Binary(String),
    /// A number.
    Number(String),
    /// An operator, a bracket, a comma or a dot.
    Sign(&'static str),
}

/// The signs, longer ones before their beginnings.
const SIGNS: [&str; 22] = [
    "<>", "!=", "<=", ">=", "||", "->", "=>", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", "[", "]",
    ",", ".", ":",
];

/// Returns the tokens of one statement, without the semicolon at its end.
pub(super) fn tokens(sql: &str) -> Result<Vec<Token>, Refused> {
    let (mut tokens, mut rest, mut has_ended) = (Vec::new(), sql, false);
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
            continue;
        }
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).map_or("", |end| &comment[end..]);
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").ok_or(Refused::Open("a comment"))?.1;
            continue;
        }
        if first == ';' {
            (has_ended, rest) = (true, &rest[1..]);
            continue;
        }
        if has_ended {
            return Err(Refused::NotOne);
        }
        let (token, behind) = token(first, rest)?;
        tokens.push(token);
        rest = behind;
    }
    Ok(tokens)
}

/// Cuts off the first token.
fn token(first: char, rest: &str) -> Result<(Token, &str), Refused> {
    if let Some(digits) = rest.strip_prefix(['x', 'X']).and_then(|rest| rest.strip_prefix('\'')) {
        let (digits, behind) = digits.split_once('\'').ok_or(Refused::Open("a text"))?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || behind.starts_with('\'') {
            return Err(Refused::Invalid("X'…' has hexadecimal digits only".to_owned()));
        }
        return Ok((Token::Binary(digits.to_owned()), behind));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match first {
        '\'' => in_quotes(rest, '\'', "a text").map(|(text, behind)| (Token::Text(text), behind)),
        '"' => match in_quotes(rest, '"', "a name")? {
            (name, _) if name.is_empty() => Err(Refused::Invalid("a name in quotes is empty".to_owned())),
            (name, behind) => Ok((Token::Quoted(name), behind)),
        },
        _ if first.is_ascii_alphabetic() || first == '_' => {
            let (word, behind) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            Ok((Token::Word(word.to_owned()), behind))
        }
        _ if first.is_ascii_digit() || is_fraction(rest) => {
            let (number, behind) = rest.split_at(length_of_number(rest));
            if number.ends_with('.') || behind.starts_with(is_word) {
                return Err(Refused::Invalid(format!("{number:?} is not followed by a blank")));
            }
            Ok((Token::Number(number.to_owned()), behind))
        }
        _ => {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| Refused::Invalid(format!("{first:?} has no meaning here")))?;
            Ok((Token::Sign(sign), &rest[sign.len()..]))
        }
    }
}

/// Cuts off a text in quotes, in which a doubled quote is one.
fn in_quotes<'a>(rest: &'a str, quote: char, what: &'static str) -> Result<(String, &'a str), Refused> {
    let (mut text, mut rest) = (String::new(), &rest[1..]);
    loop {
        let (part, behind) = rest.split_once(quote).ok_or(Refused::Open(what))?;
        text += part;
        match behind.strip_prefix(quote) {
            Some(behind) => {
                text.push(quote);
                rest = behind;
            }
            None if text.contains('\0') => return Err(Refused::Invalid("it has a NUL".to_owned())),
            None => return Ok((text, behind)),
        }
    }
}

/// Returns whether a number without digits before its point begins.
fn is_fraction(rest: &str) -> bool {
    rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn length_of_number(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        length += 1;
        length += digits(length);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = bytes.get(length + 1 + sign).map_or(0, |_| digits(length + 1 + sign));
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Token> {
        words.iter().map(|word| Token::Word((*word).to_owned())).collect()
    }

    #[test]
    fn comments_and_the_semicolon_at_the_end_go_and_a_second_statement_is_refused() {
        for sql in
            ["SELECT a", "SELECT/**/a;", "-- x\nSELECT /* ; */ a -- '\r\n;;", "SELECT a --", "/*/*/SELECT a"]
        {
            assert_eq!(tokens(sql).unwrap(), words(&["SELECT", "a"]), "{sql}");
        }
        assert_eq!(tokens("SEL/**/ECT").unwrap(), words(&["SEL", "ECT"]));
        assert!(matches!(tokens("SELECT a; SELECT b"), Err(Refused::NotOne)));
        assert!(matches!(tokens("SELECT a /* b"), Err(Refused::Open("a comment"))));
    }

    #[test]
    fn quotes_end_where_trino_ends_them_and_a_backslash_is_a_letter() {
        let text = |text: &str| vec![Token::Text(text.to_owned())];
        assert_eq!(tokens("'it''s -- /* \"'").unwrap(), text("it's -- /* \""));
        assert_eq!(tokens(r"'\'''").unwrap(), text(r"\'"));
        assert_eq!(tokens("\"a\"\"b'\"").unwrap(), [Token::Quoted("a\"b'".to_owned())]);
        assert_eq!(tokens("X'0aF'").unwrap(), [Token::Binary("0aF".to_owned())]);
        for wrong in
            ["'a", "\"a", "''' ", "\"\"", "'\0'", "X'g'", "X'00''", "`a`", "a ; b", "\0", "é", "U&'a'"]
        {
            assert!(tokens(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_sql() {
        for number in ["1", "1.5", ".5", "1e10", "1.5E-3", "007"] {
            assert_eq!(tokens(number).unwrap(), [Token::Number(number.to_owned())]);
        }
        for wrong in ["1a", "1.", "1e", "1_000", "0x1f", "1.5.5x"] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
        let signs = tokens("a<>b||c->d=>e").unwrap();
        assert_eq!(signs.iter().filter(|token| matches!(token, Token::Sign(_))).count(), 4);
    }
}
