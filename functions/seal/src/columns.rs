//! The columns of a type in Athena, and how each comes from a stored line. They are those of the tables in `template.yaml`.

use serde_json::Value;
use sha2::{Digest, Sha256};
use weir_core::{
    Catalog, EventType, Partition,
    event::BOT,
    sealing::SealedColumn,
    sql::{literal, quoted},
};

/// The column of the whole stored line.
pub(crate) const LINE: &str = "weir_line";

/// Fields whose names begin so get no column. They are in the stored line.
const OWN: &str = "weir_";

/// Athena's type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text, or the JSON of any other value.
    Text,
    Integer,
    Number,
    Boolean,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    expression: String,
}

/// The columns of a type.
#[derive(Debug, Clone)]
pub(crate) struct Columns(pub(crate) Vec<Column>);

/// Returns the expression of a member of the line, as a text if it is a text, a number or a boolean.
pub(crate) fn scalar(member: &str) -> String {
    format!("json_extract_scalar({LINE}, {})", path(member))
}

/// Returns the path of a member, as an SQL literal.
fn path(member: &str) -> String {
    literal(&format!("$[\"{}\"]", member.replace('\\', "\\\\").replace('"', "\\\"")))
}

impl Kind {
    fn of_schema(schema: &Value) -> Self {
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ => Vec::new(),
        };
        match kinds[..] {
            ["integer"] => Self::Integer,
            ["number"] => Self::Number,
            ["boolean"] => Self::Boolean,
            _ => Self::Text,
        }
    }

    /// Returns the type's name in Hive's statements, which make tables.
    fn in_hive(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "bigint",
            Self::Number => "double",
            Self::Boolean => "boolean",
        }
    }
}

impl Column {
    fn new(member: &str, kind: Kind) -> Self {
        let scalar = scalar(member);
        let expression = match kind {
            Kind::Text => {
                let json = format!("json_format(json_extract({LINE}, {}))", path(member));
                format!("coalesce({scalar}, nullif({json}, 'null'))")
            }
            kind => format!("TRY_CAST({scalar} AS {})", kind.in_hive()),
        };
        Self { name: member.to_lowercase(), expression }
    }

    /// Returns the column's name, quoted.
    pub(crate) fn quoted(&self) -> String {
        quoted(&self.name)
    }

    /// Returns the column's expression over the line.
    pub(crate) fn of_line(&self) -> String {
        format!("{} AS {}", self.expression, self.quoted())
    }

    /// Returns whether files have this very column.
    pub(crate) fn is_in(&self, sealed: &[SealedColumn]) -> bool {
        sealed.iter().any(|own| own.name == self.name && own.expression == self.expression)
    }
}

impl Columns {
    /// Returns the columns of a type. A type that is not in the catalog has those that all types have.
    pub(crate) fn of(event_type: &EventType, catalog: &Catalog) -> Self {
        let mut columns = vec![
            Column::new("event_id", Kind::Text),
            // In events that were stored before Weir stamped `time`, the client may have written another value there, or
            // none.
            Column {
                expression: format!(
                    "coalesce(TRY_CAST({} AS bigint), TRY_CAST({} AS bigint))",
                    scalar("time"),
                    scalar("received_at")
                ),
                ..Column::new("time", Kind::Integer)
            },
            Column::new("received_at", Kind::Integer),
            Column::new("occurred_at", Kind::Integer),
        ];
        if event_type.is_rejected() {
            let texts = ["claimed_type", "errors", "body", "body_base64"];
            columns.extend(texts.map(|name| Column::new(name, Kind::Text)));
            columns.push(Column::new("truncated", Kind::Boolean));
        } else if let Some(definition) = catalog.get(event_type) {
            let own = definition.fields().map(|(name, schema)| Column::new(name, Kind::of_schema(schema)));
            let own: Vec<Column> = own.filter(|column| !column.name.starts_with(OWN)).collect();
            if own.iter().all(|column| column.name != BOT) {
                columns.push(Column::new(BOT, Kind::Boolean));
            }
            columns.extend(own);
        }
        Self(columns)
    }

    /// Returns the columns as the manifest has them.
    pub(crate) fn sealed(&self) -> Vec<SealedColumn> {
        let sealed = self
            .0
            .iter()
            .map(|column| SealedColumn { name: column.name.clone(), expression: column.expression.clone() });
        sealed.collect()
    }
}

/// Returns the columns of the lake's folders, which files of sealed days have too.
pub(crate) fn of_folders() -> String {
    Partition::COLUMNS.map(quoted).join(", ")
}

/// Returns the columns of files for the statement that makes a table over them: name and type of each.
pub(crate) fn of_files(columns: &[SealedColumn]) -> Vec<(String, &'static str)> {
    let own = columns.iter().map(|column| (column.name.clone(), in_hive(column)));
    let [username, ..] = Partition::COLUMNS;
    let folders = Partition::COLUMNS
        .into_iter()
        .map(|name| (name.to_owned(), if name == username { "string" } else { "int" }));
    own.chain(folders).chain([(LINE.to_owned(), "string")]).collect()
}

/// Returns the type of a column in the manifest, by its expression: the column may be of an earlier catalog.
fn in_hive(column: &SealedColumn) -> &'static str {
    let kinds = [Kind::Integer, Kind::Number, Kind::Boolean];
    let has = |kind: &Kind| column.expression.ends_with(&format!(" AS {})", kind.in_hive()));
    let of_time = column.expression.ends_with(" AS bigint))");
    if of_time {
        "bigint"
    } else {
        kinds.iter().find(|kind| has(kind)).map_or("string", |kind| kind.in_hive())
    }
}

/// Returns a name that is unique to these columns.
pub(crate) fn digest(columns: &[SealedColumn]) -> String {
    let mut hash = Sha256::new();
    for column in columns {
        hash.update(format!("{:?}\n", (&column.name, &column.expression)));
    }
    hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_column_comes_from_the_line_and_the_manifest_says_its_type() {
        let catalog = Catalog::built_in().unwrap();
        let columns = Columns::of(&"prediction".parse().unwrap(), &catalog);
        assert!(columns.0.iter().all(|column| column.is_in(&columns.sealed())));
        let of_files: BTreeMap<String, &str> = of_files(&columns.sealed()).into_iter().collect();
        for (name, kind) in [
            ("event_id", "string"),
            ("time", "bigint"),
            ("received_at", "bigint"),
            ("bot", "boolean"),
            ("label", "string"),
            ("score", "double"),
            ("username", "string"),
            ("hour", "int"),
            ("weir_line", "string"),
        ] {
            assert_eq!(of_files[name], kind, "{name}");
        }
        assert_eq!(path("a\"b'\\"), r#"'$["a\"b''\\"]'"#);
    }

    #[test]
    fn files_with_other_columns_have_another_name() {
        let catalog = Catalog::built_in().unwrap();
        let of = |name: &str| Columns::of(&name.parse().unwrap(), &catalog).sealed();
        assert_eq!(digest(&of("button_click")), digest(&of("button_click")));
        assert_ne!(digest(&of("button_click")), digest(&of("page_view")));
        assert_ne!(digest(&of("button_click")), digest(&of("not_in_the_catalog")));
    }
}
