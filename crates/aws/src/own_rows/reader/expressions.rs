//! Expressions, which are passed on, and the queries in them, which are read.

use weir_core::sql::quoted;

use super::{CLAUSES, End, JOINS, Reader, Refused, SETS, Token};

/// Functions whose arguments stand around FROM.
const WITH_FROM: [&str; 3] = ["EXTRACT", "SUBSTRING", "TRIM"];

/// Words that no query over one's own rows needs: they write, run prepared statements, or tell of the caller of Athena.
const REFUSED: [&str; 15] = [
    "ALTER",
    "CREATE",
    "CURRENT_CATALOG",
    "CURRENT_PATH",
    "CURRENT_ROLE",
    "CURRENT_SCHEMA",
    "CURRENT_USER",
    "DEALLOCATE",
    "DELETE",
    "DESCRIBE",
    "DROP",
    "EXECUTE",
    "INSERT",
    "INTO",
    "PREPARE",
];

impl Reader<'_> {
    /// Passes expressions, with the queries in them.
    pub(super) fn expressions(&mut self, mut end: End) -> Result<(), Refused> {
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Sign(")" | "]") => return Ok(()),
                Token::Sign("(" | "[") => self.deeper(Self::group)?,
                Token::Sign(",") if end == End::Condition => return Ok(()),
                Token::Sign(".") => self.member()?,
                Token::Word(_) => {
                    if self.is_any(&SETS) || (end == End::Condition && self.ends_condition()) {
                        return Ok(());
                    }
                    if self.is("FROM") && !self.is_distinct_from() {
                        match end {
                            End::From => return Ok(()),
                            // There is no other.
                            End::WithFrom => end = End::Bracket,
                            _ => return Err(self.unexpected()),
                        }
                    }
                    // Elsewhere, Trino has parentheses behind it. An engine without that rule takes a name there for a table's.
                    if self.is("IN") && !self.is_sign_at(1, "(") {
                        match end {
                            End::WithIn => end = End::Bracket,
                            _ => return Err(self.unexpected()),
                        }
                    }
                    self.any_word()?;
                }
                Token::Quoted(name) if name.contains('$') && self.is_sign_at(1, "(") => {
                    return Err(Refused::NotHere(format!("The function {}", quoted(name))));
                }
                _ => self.pass(),
            }
        }
        Ok(())
    }

    fn ends_condition(&self) -> bool {
        self.is_any(&JOINS)
            || self.is_any(&CLAUSES)
            || self.is_any(&["ON", "USING"])
            || (self.is("WINDOW") && self.is_soft_clause())
    }

    /// Returns whether FROM is a part of `IS [NOT] DISTINCT FROM`.
    fn is_distinct_from(&self) -> bool {
        self.is_behind(1, &["DISTINCT"]) && self.is_behind(2, &["IS", "NOT"])
    }

    /// Returns whether the token so many places before is one of the words.
    fn is_behind(&self, back: usize, words: &[&str]) -> bool {
        let token = self.at.checked_sub(back).and_then(|at| self.tokens.get(at));
        matches!(token, Some(Token::Word(it)) if words.iter().any(|word| it.eq_ignore_ascii_case(word)))
    }

    /// Passes a word that is no end of the expressions.
    fn any_word(&mut self) -> Result<(), Refused> {
        // No expression has these: they are reserved, and name tables or columns of tables elsewhere.
        if self.is_any(&["SELECT", "VALUES", "TABLE", "USING"]) || self.is_any(&JOINS) {
            return Err(self.unexpected());
        }
        if self.is_any(&REFUSED) {
            let word = self.name()?;
            return Err(Refused::NotHere(word.to_uppercase()));
        }
        self.pass();
        Ok(())
    }

    /// `.name` or `.*`, behind what has a name or ends with a bracket. A name in it is no keyword.
    fn member(&mut self) -> Result<(), Refused> {
        let before = self.at.checked_sub(1).map(|at| &self.tokens[at]);
        if !matches!(before, Some(Token::Word(_) | Token::Quoted(_) | Token::Sign(")" | "]"))) {
            return Err(self.unexpected());
        }
        self.pass();
        if self.is_sign("*") {
            self.pass();
            return Ok(());
        }
        if self.is_name_at(0) && self.is_sign_at(1, "(") {
            let name = self.name()?;
            return Err(Refused::NotHere(format!("A function with a prefix, as {name},")));
        }
        let name = self.name()?;
        self.put(&quoted(&name));
        Ok(())
    }

    /// What is in brackets: a query, or expressions. A query in parentheses of its own can be an operand of UNION.
    pub(super) fn group(&mut self) -> Result<(), Refused> {
        let close = if self.is_sign("[") { "]" } else { ")" };
        let has_from = close == ")" && self.is_behind(1, &WITH_FROM) && !self.is_at(1, "FROM");
        let end = match close {
            _ if has_from => End::WithFrom,
            ")" if self.is_behind(1, &["POSITION"]) => End::WithIn,
            _ => End::Bracket,
        };
        self.pass();
        if close == ")" && self.is_query() {
            self.query()?;
        } else {
            self.expressions(end)?;
            while close == ")" && self.set_operator() {
                self.primary()?;
                self.expressions(End::Bracket)?;
            }
        }
        self.expect_sign(close)
    }
}
