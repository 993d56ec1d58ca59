//! Reads the structure of a query as far as tables can be named in it, and prints it with other names in their places.
//!
//! In Trino's grammar a table is named behind FROM, JOIN, TABLE, and a comma of a FROM clause, and nowhere else; a query begins
//! with SELECT, WITH, VALUES or TABLE, or with a parenthesis in its place. Those places are read here as the grammar has them
//! (<https://github.com/trinodb/trino/blob/422/core/trino-parser/src/main/antlr4/io/trino/sql/parser/SqlBase.g4>). All between
//! them is expressions, which are passed on token by token: Athena itself reads them. What is read as a table gets a name that no
//! table of a database has: [`OWN`] and the name. So if Athena took such a name for a table where this module saw none of the
//! query's own, it would find nothing.

use std::collections::BTreeSet;

use weir_core::{nearest, sql::literal, sql::quoted};

use super::{Refused, tokens::Token};

/// The beginning of the names of tables in the question. No table of a Glue database can have it.
pub(super) const OWN: char = '~';

/// The most queries and parentheses in each other.
const DEEPEST: usize = 50;

/// The most tables that a query names, each as often as it is read.
const MOST_READ: u64 = 100;

/// Words that end an operand of FROM: all are reserved in Trino, so none of them is a name.
const JOINS: [&str; 7] = ["JOIN", "CROSS", "INNER", "LEFT", "RIGHT", "FULL", "NATURAL"];
const SETS: [&str; 3] = ["UNION", "INTERSECT", "EXCEPT"];
const CLAUSES: [&str; 4] = ["WHERE", "GROUP", "HAVING", "ORDER"];

/// Words that begin a clause, and are names elsewhere.
const SOFT: [&str; 5] = ["LIMIT", "OFFSET", "FETCH", "WINDOW", "TABLESAMPLE"];

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

/// A query that was read.
#[derive(Debug)]
pub(super) struct Read {
    /// Its common table expressions, without WITH; empty if it has none.
    pub(super) named: String,
    /// The query behind them.
    pub(super) body: String,
    /// The known tables that it names, by their numbers.
    pub(super) tables: BTreeSet<usize>,
    /// How often it reads each known table, by its number.
    pub(super) reads: Vec<u64>,
}

/// Reads a query whose tables are out of `known`, which are in small letters.
pub(super) fn read(tokens: &[Token], known: &[String]) -> Result<Read, Refused> {
    let mut reader = Reader {
        tokens,
        at: 0,
        out: String::new(),
        known,
        own: Vec::new(),
        made: 0,
        tables: BTreeSet::new(),
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
    Ok(Read { named, body: reader.out, tables: reader.tables, reads: reader.cost.reads })
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
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    out: String,
    known: &'a [String],
    /// The common table expressions in scope.
    own: Vec<Own>,
    /// The number of common table expressions so far.
    made: usize,
    tables: BTreeSet<usize>,
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
        if !self.out.is_empty() && !self.out.ends_with('.') && text != "." {
            self.out.push(' ');
        }
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

/// Queries.
impl Reader<'_> {
    /// `[WITH …] body`
    fn query(&mut self) -> Result<(), Refused> {
        self.deeper(|this| {
            let scope = this.own.len();
            if this.is("WITH") {
                this.pass();
                this.with()?;
            }
            this.body()?;
            this.own.truncate(scope);
            Ok(())
        })
    }

    /// `name [(column, …)] AS (query), …`
    fn with(&mut self) -> Result<(), Refused> {
        if self.is("RECURSIVE") && !self.is_at(1, "AS") && !self.is_sign_at(1, "(") {
            return Err(Refused::NotHere("WITH RECURSIVE".to_owned()));
        }
        loop {
            let name = self.name()?.to_lowercase();
            // A number of its own: which expression a name means is decided here, whatever it hides.
            self.made += 1;
            let shown = quoted(&format!("{OWN}{} {name}", self.made));
            self.put(&shown);
            if self.is_sign("(") {
                self.columns()?;
            }
            self.expect("AS")?;
            self.expect_sign("(")?;
            let nothing = Cost { references: 0, reads: vec![0; self.known.len()] };
            let before = std::mem::replace(&mut self.cost, nothing);
            self.query()?;
            let cost = std::mem::replace(&mut self.cost, before);
            self.expect_sign(")")?;
            self.own.push(Own { name, shown, cost });
            if !self.is_sign(",") {
                return Ok(());
            }
            self.pass();
        }
    }

    /// `primary [UNION … primary]… [ORDER BY …] [OFFSET …] [LIMIT …]`
    fn body(&mut self) -> Result<(), Refused> {
        loop {
            self.primary()?;
            if self.is_any(&["ORDER", "OFFSET", "LIMIT", "FETCH"]) {
                self.expressions(End::Query)?;
            }
            if !self.set_operator() {
                return Ok(());
            }
        }
    }

    /// Passes an operator on sets, if there is one. An operand follows it.
    fn set_operator(&mut self) -> bool {
        if !self.is_any(&SETS) {
            return false;
        }
        self.pass();
        if self.is_any(&["ALL", "DISTINCT"]) {
            self.pass();
        }
        true
    }

    fn primary(&mut self) -> Result<(), Refused> {
        if self.is("SELECT") {
            return self.select();
        }
        if self.is("VALUES") {
            self.pass();
            return self.expressions(End::Query);
        }
        if self.is("TABLE") {
            self.pass();
            return self.table().map(drop);
        }
        self.expect_sign("(")?;
        self.query()?;
        self.expect_sign(")")
    }

    fn select(&mut self) -> Result<(), Refused> {
        self.expect("SELECT")?;
        if self.is_any(&["ALL", "DISTINCT"]) {
            self.pass();
        }
        if self.is("FROM") {
            return Err(self.unexpected());
        }
        self.expressions(End::From)?;
        if self.is("FROM") {
            self.pass();
            self.relations()?;
        }
        self.expressions(End::Query)
    }

    /// The operands of FROM, up to the next clause.
    fn relations(&mut self) -> Result<(), Refused> {
        loop {
            self.joined()?;
            if !self.is_sign(",") {
                break;
            }
            self.pass();
        }
        let is_end = self.at == self.tokens.len() || self.is_sign(")");
        if is_end || self.is_any(&CLAUSES) || self.is_any(&SETS) || self.is_soft_clause() {
            return Ok(());
        }
        Err(self.unexpected())
    }

    /// Returns whether a clause begins here with a word that can be a name. As an alias of the operand before it, a comma and
    /// another table could follow: so the clause must go on as it has to.
    fn is_soft_clause(&self) -> bool {
        let is_number = matches!(self.tokens.get(self.at + 1), Some(Token::Number(_)));
        match self.word(0).map(str::to_ascii_uppercase).as_deref() {
            Some("LIMIT") => is_number || self.is_at(1, "ALL"),
            Some("OFFSET") => is_number,
            Some("FETCH") => self.is_at(1, "FIRST") || self.is_at(1, "NEXT"),
            Some("WINDOW") => self.is_name_at(1) && self.is_at(2, "AS") && self.is_sign_at(3, "("),
            _ => false,
        }
    }

    /// An operand of FROM, with what is joined to it.
    fn joined(&mut self) -> Result<(), Refused> {
        self.operand()?;
        self.joins()
    }

    fn joins(&mut self) -> Result<(), Refused> {
        loop {
            if self.is("ON") {
                self.pass();
                self.expressions(End::Condition)?;
            } else if self.is("USING") {
                self.pass();
                self.columns()?;
            } else if self.is_any(&JOINS) {
                for words in [&["NATURAL"][..], &["CROSS", "INNER", "LEFT", "RIGHT", "FULL"], &["OUTER"]] {
                    if self.is_any(words) {
                        self.pass();
                    }
                }
                self.expect("JOIN")?;
                self.operand()?;
            } else {
                return Ok(());
            }
        }
    }

    /// A table, a query, or what takes the place of one, with its alias.
    fn operand(&mut self) -> Result<(), Refused> {
        let mut alias = None;
        if self.is_sign("(") {
            self.deeper(Self::in_parentheses)?;
        } else if self.is("UNNEST") && self.is_sign_at(1, "(") {
            self.pass();
            self.deeper(Self::group)?;
            if self.is("WITH") {
                self.pass();
                self.expect("ORDINALITY")?;
            }
        } else if self.is("LATERAL") && self.is_sign_at(1, "(") {
            self.pass();
            self.pass();
            self.query()?;
            self.expect_sign(")")?;
        } else {
            alias = Some(self.table()?);
        }
        self.alias(alias)?;
        if self.is("TABLESAMPLE") {
            self.pass();
            if !self.is_any(&["BERNOULLI", "SYSTEM"]) || !self.is_sign_at(1, "(") {
                return Err(self.unexpected());
            }
            self.pass();
            self.deeper(Self::group)?;
        }
        Ok(())
    }

    /// A query or an operand of FROM, in parentheses. `((SELECT …) UNION …)` shows only behind its first part which one it is.
    fn in_parentheses(&mut self) -> Result<(), Refused> {
        self.expect_sign("(")?;
        if self.is_query() {
            self.query()?;
            return self.expect_sign(")");
        }
        if self.is_sign("(") {
            self.deeper(Self::in_parentheses)?;
            if self.is_any(&SETS) || self.is("ORDER") || self.is_soft_clause() {
                self.expressions(End::Query)?;
                if self.set_operator() {
                    self.body()?;
                }
                return self.expect_sign(")");
            }
            self.alias(None)?;
            self.joins()?;
        } else {
            self.joined()?;
        }
        self.expect_sign(")")
    }

    /// Reads an alias, with names of columns. A table without one gets its own name, as that is what the query calls it.
    fn alias(&mut self, own: Option<String>) -> Result<(), Refused> {
        let follows = match self.tokens.get(self.at) {
            Some(Token::Quoted(_)) => true,
            Some(Token::Word(_)) if self.is("AS") => {
                self.at += 1;
                true
            }
            Some(Token::Word(_)) => {
                let ends = ["ON", "USING", "WITH", "FOR", "FROM", "SELECT", "MATCH_RECOGNIZE"];
                !(self.is_any(&JOINS)
                    || self.is_any(&SETS)
                    || self.is_any(&CLAUSES)
                    || self.is_any(&SOFT)
                    || self.is_any(&ends))
            }
            _ => false,
        };
        let alias = if follows { Some(self.name()?) } else { own };
        if let Some(alias) = alias {
            self.put("AS");
            self.put(&quoted(&alias));
            if follows && self.is_sign("(") {
                self.columns()?;
            }
        }
        Ok(())
    }

    /// Reads the name of a table, and prints the one that it has in the question. Returns the name as it was written.
    fn table(&mut self) -> Result<String, Refused> {
        if self.is("TABLE") || (self.is_name_at(0) && self.is_sign_at(1, "(")) {
            let name = self.name()?;
            return Err(Refused::NotHere(format!("The table function {name}")));
        }
        let written = self.name()?;
        if self.is_sign(".") {
            return Err(Refused::Qualified(written));
        }
        let name = written.to_lowercase();
        if let Some(own) = self.own.iter().rev().find(|own| own.name == name) {
            let (shown, cost) = (own.shown.clone(), own.cost.clone());
            self.put(&shown);
            let references = self.cost.references.saturating_add(cost.references).saturating_add(1);
            self.cost.references = references;
            for (sum, more) in self.cost.reads.iter_mut().zip(cost.reads) {
                *sum = sum.saturating_add(more);
            }
        } else if let Some(at) = self.known.iter().position(|known| *known == name) {
            self.put(&quoted(&format!("{OWN}{name}")));
            self.tables.insert(at);
            self.cost.references = self.cost.references.saturating_add(1);
            self.cost.reads[at] = self.cost.reads[at].saturating_add(1);
        } else {
            let known = self.known.iter().map(String::as_str).chain(self.own.iter().map(|own| &*own.name));
            let meant = nearest(&name, known).map(str::to_owned);
            return Err(Refused::NoSuchTable { name: written, meant });
        }
        self.bounded()?;
        Ok(written)
    }
}

/// Expressions.
impl Reader<'_> {
    /// Passes expressions, with the queries in them.
    fn expressions(&mut self, end: End) -> Result<(), Refused> {
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
                    if self.is("FROM") && !self.is_distinct_from() && end != End::WithFrom {
                        return if end == End::From { Ok(()) } else { Err(self.unexpected()) };
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
    fn group(&mut self) -> Result<(), Refused> {
        let close = if self.is_sign("[") { "]" } else { ")" };
        let has_from = close == ")" && self.is_behind(1, &WITH_FROM) && !self.is_at(1, "FROM");
        let end = if has_from { End::WithFrom } else { End::Bracket };
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
