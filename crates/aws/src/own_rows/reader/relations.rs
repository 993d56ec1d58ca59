//! What stands behind FROM: the places of tables.

use weir_core::{nearest, sql::quoted};

use super::{CLAUSES, End, JOINS, OWN, Reader, Refused, SETS, Token};

/// Words that begin a clause, and are names elsewhere.
const SOFT: [&str; 5] = ["LIMIT", "OFFSET", "FETCH", "WINDOW", "TABLESAMPLE"];

impl Reader<'_> {
    /// The operands of FROM, up to the next clause.
    pub(super) fn relations(&mut self) -> Result<(), Refused> {
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
    pub(super) fn is_soft_clause(&self) -> bool {
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
        self.sample()
    }

    /// `[TABLESAMPLE …]`
    fn sample(&mut self) -> Result<(), Refused> {
        if !self.is("TABLESAMPLE") {
            return Ok(());
        }
        self.pass();
        if !self.is_any(&["BERNOULLI", "SYSTEM"]) || !self.is_sign_at(1, "(") {
            return Err(self.unexpected());
        }
        self.pass();
        self.deeper(Self::group)
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
            self.sample()?;
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
    pub(super) fn table(&mut self) -> Result<String, Refused> {
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
            self.names[at] = true;
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
