//! The limit on the rows of an answer. Athena writes an answer as a whole before Weir reads any of it, and a query that reads no
//! table is bounded by nothing else.

use super::{Refused, tokens::Token};

/// The most rows of an answer.
pub const MOST_ROWS: usize = 10_000;

/// Splits a query into what stands before its own limit, and the limit that it gets: its own, or one row more than an answer
/// may have, which tells that there are too many. The limits of queries within it stay where they are.
pub(super) fn split(tokens: &[Token]) -> Result<(&[Token], usize), Refused> {
    let is = |token: &Token, word: &str| matches!(token, Token::Word(it) if it.eq_ignore_ascii_case(word));
    let is_any = |token: &Token, words: &[&str]| words.iter().any(|word| is(token, word));
    let is_fetch = |fetch: &Token, first: &Token| is(fetch, "FETCH") && is_any(first, &["FIRST", "NEXT"]);
    let is_row = |token: &Token| is_any(token, &["ROW", "ROWS"]);
    let most = MOST_ROWS + 1;
    let bounded = |number: &str| match number.parse::<u64>() {
        Ok(number) => Ok(usize::try_from(number).unwrap_or(most).min(most)),
        // Larger than any number of rows, or no whole number.
        Err(_) if number.bytes().all(|byte| byte.is_ascii_digit()) => Ok(most),
        Err(_) => Err(Refused::Unexpected(number.to_owned())),
    };
    Ok(match tokens {
        [before @ .., limit, Token::Number(number)] if is(limit, "LIMIT") => (before, bounded(number)?),
        [before @ .., limit, all] if is(limit, "LIMIT") && is(all, "ALL") => (before, most),
        [before @ .., fetch, first, Token::Number(number), rows, only]
            if is_fetch(fetch, first) && is_row(rows) && is(only, "ONLY") =>
        {
            (before, bounded(number)?)
        }
        [before @ .., fetch, first, row, only]
            if is_fetch(fetch, first) && is_row(row) && is(only, "ONLY") =>
        {
            (before, 1)
        }
        [.., rows, with, ties] if is_row(rows) && is(with, "WITH") && is(ties, "TIES") => {
            return Err(Refused::NotHere("WITH TIES at the end of a query".to_owned()));
        }
        all => (all, most),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::tokens::tokens, *};

    #[test]
    fn a_query_keeps_a_smaller_limit_of_its_own_and_gets_one_otherwise() {
        let limit = |sql: &str| {
            let tokens = tokens(sql).unwrap();
            split(&tokens).map(|(before, limit)| (before.len(), limit))
        };
        for (sql, before, most) in [
            ("SELECT 1", 2, 10_001),
            ("SELECT 1 LIMIT 5", 2, 5),
            ("SELECT 1 limit 0", 2, 0),
            ("SELECT 1 LIMIT 10001", 2, 10_001),
            ("SELECT 1 LIMIT 10002", 2, 10_001),
            ("SELECT 1 LIMIT 99999999999999999999999", 2, 10_001),
            ("SELECT 1 LIMIT 1_0", 2, 10),
            ("SELECT 1 LIMIT 0x10", 2, 16),
            ("SELECT 1 LIMIT 0xFFFF_FFFF", 2, 10_001),
            ("SELECT 1 LIMIT ALL", 2, 10_001),
            ("SELECT 1 OFFSET 3 LIMIT 7;", 4, 7),
            ("SELECT 1 FETCH FIRST 3 ROWS ONLY", 2, 3),
            ("SELECT 1 fetch next row only", 2, 1),
            ("SELECT 1 FETCH FIRST 20000 ROW ONLY", 2, 10_001),
            ("(SELECT 1 LIMIT 5)", 6, 10_001),
            ("SELECT 1 FROM t limit", 5, 10_001),
            ("SELECT \"limit\" LIMIT 5", 2, 5),
        ] {
            assert_eq!(limit(sql), Ok((before, most)), "{sql}");
        }
        assert_eq!(limit("SELECT 1 LIMIT 1.5"), Err(Refused::Unexpected("1.5".to_owned())));
        assert!(matches!(limit("SELECT 1 ORDER BY 1 FETCH FIRST 1 ROW WITH TIES"), Err(Refused::NotHere(_))));
    }
}
