//! Reads the structure of a query as far as tables can be named in it, and prints it with other names in their places.
//!
//! In Trino's grammar a table is named behind FROM, JOIN, TABLE, and a comma of a FROM clause, and nowhere else; a query begins
//! with SELECT, WITH, VALUES or TABLE, or with a parenthesis in its place. Those places are read here as the grammar has them
//! (<https://github.com/trinodb/trino/blob/422/core/trino-parser/src/main/antlr4/io/trino/sql/parser/SqlBase.g4>). All between
//! them is expressions, which are passed on token by token: Athena itself reads them. What is read as a table gets a name that
//! Athena allows no table: [`OWN`] and the name. So if Athena took such a name for a table where this module saw none of the
//! query's own, it would find nothing.

mod expressions;
mod queries;
mod relations;

use weir_core::sql::{literal, quoted};

use super::{Refused, tokens::Token};

/// The beginning of the names of tables in the question. Athena allows only underscores beside letters and digits in a table's name
/// (<https://docs.aws.amazon.com/athena/latest/ug/tables-databases-columns-names.html>).
pub(super) const OWN: char = '~';

/// The most queries and parentheses in each other.
const DEEPEST: usize = 50;

/// The most tables that a query names, each as often as it is read.
const MOST_READ: u64 = 100;

/// Words that end an operand of FROM: all are reserved in Trino, so none of them is a name.
const JOINS: [&str; 7] = ["JOIN", "CROSS", "INNER", "LEFT", "RIGHT", "FULL", "NATURAL"];
const SETS: [&str; 3] = ["UNION", "INTERSECT", "EXCEPT"];
const CLAUSES: [&str; 4] = ["WHERE", "GROUP", "HAVING", "ORDER"];

/// A query that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Its common table expressions, without WITH; empty if it has none.
    pub(super) named: String,
    /// The query behind them.
    pub(super) body: String,
    /// Whether it names each known table, by its number.
    pub(super) names: Vec<bool>,
    /// How often it reads each known table, by its number.
    pub(super) reads: Vec<u64>,
}

/// Reads a query whose tables are out of `known`, which are in small letters.
pub(super) fn read(tokens: &[Token], known: &[String]) -> Result<Read, Refused> {
    let mut reader = Reader {
        tokens,
        at: 0,
        out: String::new(),
        is_behind_dot: false,
        known,
        own: Vec::new(),
        made: 0,
        names: vec![false; known.len()],
        cost: Cost { references: 0, reads: vec![0; known.len()] },
        depth: 0,
    };
    if !["SELECT", "WITH", "VALUES", "TABLE"].iter().any(|word| reader.is(word)) && !reader.is_sign("(") {
        return Err(Refused::NotASelect);
    }
    if reader.is("WITH") {
        reader.at += 1;
        reader.with()?;
    }
    let named = std::mem::take(&mut reader.out);
    reader.body()?;
    if reader.at < tokens.len() {
        return Err(reader.unexpected());
    }
    reader.bounded()?;
    Ok(Read { named, body: reader.out, names: reader.names, reads: reader.cost.reads })
}

/// What Athena does for a query: it reads a common table expression anew wherever it is named.
#[derive(Debug, Clone)]
struct Cost {
    references: u64,
    reads: Vec<u64>,
}

/// A common table expression of the query.
struct Own {
    /// Its name, in small letters.
    name: String,
    /// Its name in the question.
    shown: String,
    cost: Cost,
}

/// Where a sequence of expressions ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// At FROM: the list of a SELECT.
    From,
    /// At the next operand of FROM, or the next clause: a condition of a JOIN.
    Condition,
    /// At the end of the query, or an operator on sets.
    Query,
    /// At a closing bracket.
    Bracket,
    /// The same, behind a function whose arguments stand around FROM.
    WithFrom,
    /// A bracket behind POSITION, which may have one IN without parentheses behind it.
    WithIn,
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    out: String,
    /// Whether what was printed last is the dot before a name.
    is_behind_dot: bool,
    known: &'a [String],
    /// The common table expressions in scope.
    own: Vec<Own>,
    /// The number of common table expressions so far.
    made: usize,
    names: Vec<bool>,
    cost: Cost,
    depth: usize,
}

/// Tokens.
impl Reader<'_> {
    fn word(&self, ahead: usize) -> Option<&str> {
        match self.tokens.get(self.at + ahead) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn is(&self, word: &str) -> bool {
        self.is_at(0, word)
    }

    fn is_at(&self, ahead: usize, word: &str) -> bool {
        self.word(ahead).is_some_and(|it| it.eq_ignore_ascii_case(word))
    }

    fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    fn is_sign(&self, sign: &str) -> bool {
        self.is_sign_at(0, sign)
    }

    fn is_sign_at(&self, ahead: usize, sign: &str) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token::Sign(it)) if *it == sign)
    }

    /// Returns whether a query begins here, without a parenthesis.
    fn is_query(&self) -> bool {
        self.is_any(&["SELECT", "WITH", "VALUES", "TABLE"])
    }

    fn is_name_at(&self, ahead: usize) -> bool {
        matches!(self.tokens.get(self.at + ahead), Some(Token::Word(_) | Token::Quoted(_)))
    }

    /// Prints a text.
    fn put(&mut self, text: &str) {
        let is_dot = text == ".";
        if !self.out.is_empty() && !self.is_behind_dot && !is_dot {
            self.out.push(' ');
        }
        self.is_behind_dot = is_dot;
        self.out += text;
    }

    /// Prints the token as it is.
    fn pass(&mut self) {
        let text = match &self.tokens[self.at] {
            Token::Word(text) | Token::Number(text) => text.clone(),
            Token::Quoted(name) => quoted(name),
            Token::Text(text) => literal(text),
            Token::Binary(digits) => format!("X'{digits}'"),
            Token::Sign(sign) => (*sign).to_owned(),
        };
        self.put(&text);
        self.at += 1;
    }

    fn expect(&mut self, word: &str) -> Result<(), Refused> {
        if !self.is(word) {
            return Err(self.unexpected());
        }
        self.pass();
        Ok(())
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Refused> {
        if !self.is_sign(sign) {
            return Err(self.unexpected());
        }
        self.pass();
        Ok(())
    }

    fn unexpected(&self) -> Refused {
        match self.tokens.get(self.at) {
            None => Refused::Invalid("it ends too early".to_owned()),
            Some(Token::Word(text) | Token::Number(text)) => Refused::Unexpected(text.clone()),
            Some(Token::Quoted(name)) => Refused::Unexpected(quoted(name)),
            Some(Token::Text(text)) => Refused::Unexpected(literal(text)),
            Some(Token::Binary(_)) => Refused::Unexpected("X'…'".to_owned()),
            Some(Token::Sign(sign)) => Refused::Unexpected((*sign).to_owned()),
        }
    }

    /// Reads a name of the query's own, and prints nothing.
    fn name(&mut self) -> Result<String, Refused> {
        let name = match self.tokens.get(self.at) {
            Some(Token::Word(name) | Token::Quoted(name)) => name.clone(),
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(name)
    }

    /// Reads names in parentheses, which are those of columns.
    fn columns(&mut self) -> Result<(), Refused> {
        self.expect_sign("(")?;
        loop {
            let name = self.name()?;
            self.put(&quoted(&name));
            if !self.is_sign(",") {
                return self.expect_sign(")");
            }
            self.pass();
        }
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Result<(), Refused> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Refused::TooDeep);
        }
        inner(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn bounded(&self) -> Result<(), Refused> {
        if self.cost.references > MOST_READ { Err(Refused::TooMany(MOST_READ)) } else { Ok(()) }
    }
}
