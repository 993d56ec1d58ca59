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
    /// A number: decimal digits, perhaps with a point and an exponent.
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
    // A byte order mark is what editors put before a file's text.
    let sql = sql.strip_prefix('\u{feff}').unwrap_or(sql);
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
        let digits: String = digits.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) || behind.starts_with('\'') {
            return Err(Refused::Invalid("X'…' has hexadecimal digits only".to_owned()));
        }
        return Ok((Token::Binary(digits), behind));
    }
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
            let (number, behind) = number(rest)?;
            if behind.starts_with(is_word) {
                return Err(Refused::Invalid(format!("{number:?} is not followed by a blank")));
            }
            Ok((Token::Number(number), behind))
        }
        _ => {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| Refused::Invalid(format!("{first:?} has no meaning here")))?;
            Ok((Token::Sign(sign), &rest[sign.len()..]))
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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

/// Cuts off a number, and writes it in decimal digits without underscores: versions of Athena that do not know `1_000` and `0xFF`
/// would read a name or two tokens.
fn number(rest: &str) -> Result<(String, &str), Refused> {
    let prefix = rest.get(..2).map(str::to_ascii_lowercase);
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(of, _)| prefix.as_deref() == Some(of));
    if let Some((_, radix)) = radix {
        let (digits, behind) = digits(&rest[2..], radix, true);
        let number = u64::from_str_radix(&digits, radix);
        let number = number.map_err(|_| Refused::Invalid(format!("{:?} is no number", &rest[..2])))?;
        return Ok((number.to_string(), behind));
    }
    let (mut number, mut behind) = digits(rest, 10, false);
    if let Some(fraction) = behind.strip_prefix('.') {
        let (fraction, after) = digits(fraction, 10, false);
        number = format!("{number}.{fraction}");
        behind = after;
    }
    let has_underscores = rest.len() - behind.len() > number.len();
    if let Some(exponent) = behind.strip_prefix(['e', 'E']).filter(|_| !has_underscores) {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let length = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        if length > 0 {
            let (exponent, after) = behind.split_at(behind.len() - unsigned.len() + length);
            return Ok((number + exponent, after));
        }
    }
    Ok((number, behind))
}

/// Cuts off digits, without the underscores between them, of which one may also stand before the first digit.
fn digits(rest: &str, radix: u32, begins_with_underscore: bool) -> (String, &str) {
    let (mut digits, mut rest) = (String::new(), rest);
    loop {
        let may_have_one = begins_with_underscore || !digits.is_empty();
        let next = rest.strip_prefix('_').filter(|_| may_have_one).unwrap_or(rest);
        let Some(digit) = next.chars().next().filter(|c| c.is_digit(radix)) else { return (digits, rest) };
        digits.push(digit);
        rest = &next[1..];
    }
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
        for binary in ["X'0aF'", "x' 0a\nF'"] {
            assert_eq!(tokens(binary).unwrap(), [Token::Binary("0aF".to_owned())]);
        }
        for wrong in
            ["'a", "\"a", "''' ", "\"\"", "'\0'", "X'g'", "X'00''", "`a`", "a ; b", "\0", "é", "U&'a'"]
        {
            assert!(tokens(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_those_of_sql() {
        let number = |number: &str| vec![Token::Number(number.to_owned())];
        for same in ["1", "1.5", ".5", "1.", "1e10", "1.5E-3", "1.e1", ".5e+2", "007"] {
            assert_eq!(tokens(same).unwrap(), number(same));
        }
        for (written, decimal) in [
            ("1_000", "1000"),
            ("1_0.2_5", "10.25"),
            (".1_0", ".10"),
            ("0x1f", "31"),
            ("0X_ffff_ffff_FFFF_FFFF", "18446744073709551615"),
            ("0o1_7", "15"),
            ("0B101", "5"),
        ] {
            assert_eq!(tokens(written).unwrap(), number(decimal), "{written}");
        }
        for wrong in [
            "1a",
            "1e",
            "1__0",
            "1_",
            "_1.5_",
            "1._5",
            "1_0e3",
            "1_0.5e3",
            "0x",
            "0xg",
            "0x_",
            "0x1_",
            "0b12",
            "0o8",
            "0x1ffffffffffffffff",
            "1.a",
            "1.e",
            "1.5.5x",
            "0_x1",
            "1é",
        ] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
        assert_eq!(tokens("1..5").unwrap(), [number("1."), number(".5")].concat());
        let signs = tokens("a<>b||c->d=>e").unwrap();
        assert_eq!(signs.iter().filter(|token| matches!(token, Token::Sign(_))).count(), 4);
    }
}
