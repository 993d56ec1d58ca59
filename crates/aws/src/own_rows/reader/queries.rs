//! Queries: their common table expressions, and their parts up to FROM.

use weir_core::sql::quoted;

use super::{Cost, End, OWN, Own, Reader, Refused, SETS};

impl Reader<'_> {
    /// `[WITH …] body`
    pub(super) fn query(&mut self) -> Result<(), Refused> {
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
    pub(super) fn with(&mut self) -> Result<(), Refused> {
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
    pub(super) fn body(&mut self) -> Result<(), Refused> {
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
    pub(super) fn set_operator(&mut self) -> bool {
        if !self.is_any(&SETS) {
            return false;
        }
        self.pass();
        if self.is_any(&["ALL", "DISTINCT"]) {
            self.pass();
        }
        true
    }

    pub(super) fn primary(&mut self) -> Result<(), Refused> {
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
}
