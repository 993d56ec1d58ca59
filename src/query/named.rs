//! The tables that a query may read, by its text: only these are defined for it. DuckDB opens files to define a view, so tables
//! that are not read would take a large part of a small query's time.

/// Words of SQL that lists tables instead of naming them.
const LISTING: [&str; 8] =
    ["information_schema", "duckdb_", "pg_", "sqlite_", "pragma_", "show", "describe", "summarize"];

/// The beginning of DuckDB's message if a name is unknown.
const UNKNOWN: &str = "Catalog Error";

/// Which tables are defined for a query.
pub(super) enum Defined {
    /// Those whose names are in this text, which is in lower case.
    In(String),
    /// All tables.
    All,
}

impl Defined {
    /// Returns the tables that SQL may read, unless it computes their names. That is rare, and DuckDB then misses a table: see
    /// [`Self::misses_a_table`].
    pub(super) fn by(sql: &str) -> Self {
        let sql = sql.to_ascii_lowercase();
        if LISTING.iter().any(|word| sql.contains(word)) { Self::All } else { Self::In(sql) }
    }

    /// Returns whether a table is defined.
    pub(super) fn has(&self, table: &str) -> bool {
        match self {
            Self::In(sql) => sql.contains(&table.to_ascii_lowercase()),
            Self::All => true,
        }
    }

    /// Returns whether DuckDB's message may come from a table that was left out: the query must be asked again, with all tables.
    /// Another message would be the same with all of them. One for a misspelt name would suggest other names.
    pub(super) fn misses_a_table(&self, message: &[u8]) -> bool {
        matches!(self, Self::In(_)) && message.starts_with(UNKNOWN.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_defined_if_its_name_is_anywhere_in_the_query() {
        let has = |sql: &str, table: &str| Defined::by(sql).has(table);
        for sql in [
            "SELECT count(*) FROM button_click",
            "from main.\"Button_Click\"",
            "SELECT (SELECT max(time) FROM events) - time FROM BUTTON_CLICK /* page_viewed */",
        ] {
            assert!(has(sql, "button_click"), "{sql}");
            assert!(!has(sql, "outcome"), "{sql}");
        }
        assert!(has("SELECT table_name FROM information_schema.tables", "outcome"));
        assert!(has("FROM (SHOW TABLES)", "outcome"));
        assert!(has("SELECT view_name FROM DuckDB_Views()", "outcome"));
    }

    #[test]
    fn only_an_unknown_name_is_a_reason_to_ask_with_all_tables() {
        let unknown = b"Catalog Error: Table with name clik does not exist!\nDid you mean \"events\"?\n";
        assert!(Defined::by("FROM clik").misses_a_table(unknown));
        assert!(!Defined::All.misses_a_table(unknown));
        assert!(!Defined::by("FROM click").misses_a_table(b"Conversion Error: Could not convert string\n"));
    }
}
