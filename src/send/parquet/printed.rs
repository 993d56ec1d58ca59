//! How DuckDB prints the values of a column, and how they are read back.

use std::borrow::Cow;

use serde_json::value::RawValue;
use weir_core::{Violation, sql::quoted};

use crate::send::columns::Cell;

/// A column of a file.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// How DuckDB is to print the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As JSON.
    Plain,
    /// As a text of digits, which may also be nan or inf.
    Number,
    /// As microseconds.
    Time,
    Date,
    /// As UTF-8 after a plus, or as a minus if it is not UTF-8.
    Bytes,
}

impl Kind {
    /// Returns how a column of DuckDB's type is printed.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "FLOAT" | "DOUBLE" => Self::Number,
            "DATE" => Self::Date,
            "BLOB" => Self::Bytes,
            _ if name.ends_with(']') => Self::Plain,
            _ if name.starts_with("DECIMAL(") => Self::Number,
            _ if name.starts_with("TIMESTAMP") => Self::Time,
            _ => Self::Plain,
        }
    }
}

impl Column {
    /// Returns the expression that DuckDB is to print.
    pub(super) fn printed(&self) -> String {
        let column = format!("r.{}", quoted(&self.name));
        match self.kind {
            Kind::Plain => column,
            Kind::Number => format!("CAST({column} AS VARCHAR)"),
            // DuckDB gives NULL for an infinite time, too, which must differ from a missing one.
            Kind::Time | Kind::Date => format!(
                "CASE WHEN {column} IS NOT NULL THEN coalesce(CAST(epoch_us({column}) AS VARCHAR), 'infinity') END"
            ),
            Kind::Bytes => {
                format!("CASE WHEN {column} IS NOT NULL THEN coalesce('+' || TRY(decode({column})), '-') END")
            }
        }
    }

    /// Returns the cell that DuckDB printed; `None` if it is NULL.
    pub(super) fn cell<'a>(&self, printed: &'a RawValue) -> Result<Option<Cell<'a>>, Violation> {
        let json = printed.get();
        if json == "null" {
            return Ok(None);
        }
        let Ok(text) = serde_json::from_str::<Cow<'a, str>>(json) else {
            return Ok(Some(Cell::Json(printed)));
        };
        Ok(Some(match self.kind {
            Kind::Plain => Cell::Text(text),
            // The printed text is a JSON number, unless it is nan or inf.
            Kind::Number => match serde_json::from_str(&json[1..json.len() - 1]) {
                Ok(number) => Cell::Json(number),
                Err(_) => Cell::Text(text),
            },
            Kind::Time => text.parse().map_or(Cell::Text(text), Cell::Time),
            Kind::Date => text.parse().map_or(Cell::Text(text), Cell::Date),
            Kind::Bytes => {
                let Some(text) = text.strip_prefix('+') else {
                    let why = "is not UTF-8; the row was not sent";
                    return Err(Violation::new(format!("/{}", self.name), why));
                };
                Cell::Text(Cow::Owned(text.to_owned()))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_duckdb_prints_is_the_value_of_its_column() {
        let told = |kind: Kind, printed: &str| {
            let column = Column { name: "c".to_owned(), kind };
            let printed: &RawValue = serde_json::from_str(printed).unwrap();
            match column.cell(printed) {
                Ok(cell) => {
                    format!("{:?}", cell.and_then(|cell| cell.shown()).map(|json| json.get().to_owned()))
                }
                Err(why) => format!("{} {}", why.path, why.message),
            }
        };
        for (kind, printed, expected) in [
            (Kind::Plain, "null", "None"),
            (Kind::Plain, "9007199254740993", "Some(\"9007199254740993\")"),
            (Kind::Plain, "\"\\u00fc\\n\"", "Some(\"\\\"ü\\\\n\\\"\")"),
            (Kind::Number, "\"1.50\"", "Some(\"1.50\")"),
            (Kind::Number, "\"nan\"", "Some(\"\\\"nan\\\"\")"),
            (Kind::Time, "\"1795176000000000\"", "Some(\"\\\"2026-11-20T12:00:00Z\\\"\")"),
            (Kind::Time, "\"infinity\"", "Some(\"\\\"infinity\\\"\")"),
            (Kind::Date, "\"1795132800000000\"", "Some(\"\\\"2026-11-20\\\"\")"),
            (Kind::Bytes, "\"+ab\"", "Some(\"\\\"ab\\\"\")"),
            (Kind::Bytes, "\"-\"", "/c is not UTF-8; the row was not sent"),
        ] {
            assert_eq!(told(kind, printed), expected, "{kind:?} {printed}");
        }
        for (name, kind) in [
            ("TIMESTAMP WITH TIME ZONE", Kind::Time),
            ("TIMESTAMP[]", Kind::Plain),
            ("DECIMAL(38,2)", Kind::Number),
            ("STRUCT(a BLOB)", Kind::Plain),
            ("BIGINT", Kind::Plain),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
