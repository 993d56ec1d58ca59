//! Reads which tables and functions a client's SQL names, and refuses all that a query over one's own rows does not need.
//!
//! DuckDB itself parses the SQL, in a child that has nothing, and prints its syntax tree as JSON. Trees are deep, so they are
//! not read as JSON values but as the sequence of their members.

use std::collections::BTreeSet;

use collector::NotAnswered;
use weir_core::nearest;

use super::{How, Query, answered};

/// The table functions that need no access. All others are refused, as they read files, run SQL out of texts, or take pointers.
const HARMLESS: [&str; 9] = [
    "generate_series",
    "histogram",
    "histogram_values",
    "json_each",
    "json_tree",
    "range",
    "repeat",
    "repeat_row",
    "unnest",
];

/// Functions that tell of the machine or write to its log.
const REFUSED: [&str; 5] = ["current_setting", "getenv", "getvariable", "which_secret", "write_log"];

/// The tables of DuckDB's own that queries may read.
const OF_SCHEMA: [&str; 2] = ["columns", "tables"];

/// How the names of DuckDB's other tables begin, some of which tell of the machine.
const INTERNAL: [&str; 4] = ["duckdb_", "pg_", "pragma_", "sqlite_"];

/// Returns the tables that the query names, out of those that there are.
pub(super) fn tables(query: &Query, known: &[&str]) -> Result<BTreeSet<String>, NotAnswered> {
    let script = format!(
        "{}SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type NOT IN ('scalar', 'aggregate', 'macro');\n\
         SELECT json_serialize_sql(getvariable('weir_sql'));\n",
        query.lock()
    );
    let how =
        How { arguments: &["-list", "-noheader"], directory: query.folder.path(), reads: &[], file_limit: 0 };
    let printed = query.duckdb(&script, &how).map_err(answered::why)?;
    let printed = String::from_utf8_lossy(&printed);
    let (functions, tree) = printed.trim_end().rsplit_once('\n').unwrap_or_default();
    let functions: BTreeSet<String> = functions.lines().map(str::to_lowercase).collect();
    // Without them, nothing would be refused.
    if !functions.contains("read_csv") || !tree.starts_with("{\"error\":") {
        return Err(NotAnswered::Sql("DuckDB cannot parse this query.".to_owned()));
    }
    named(tree, &functions, known).map_err(NotAnswered::Sql)
}

/// Returns the tables that a syntax tree names, or why it is refused.
fn named(tree: &str, functions: &BTreeSet<String>, known: &[&str]) -> Result<BTreeSet<String>, String> {
    if tree.starts_with("{\"error\":true") {
        let message = members(tree).find(|(name, _)| *name == "error_message").map(|(_, value)| value);
        let message = message.unwrap_or_default();
        return Err(if message.starts_with("Only SELECT") {
            "A query is a SELECT, and no other statement is answered here.".to_owned()
        } else {
            format!("The SQL is not valid: {message}")
        });
    }
    // Names of common table expressions are keys, and so are other names: a table that is no table of the user's finds nothing.
    let own: BTreeSet<String> =
        members(tree).filter(|(name, _)| *name == "key").map(|(_, value)| value.to_lowercase()).collect();
    let (mut wanted, mut schema) = (BTreeSet::new(), String::new());
    for (member, value) in members(tree) {
        let name = value.to_lowercase();
        match member {
            "catalog_name" | "catalog" if !name.is_empty() && name != "system" => {
                return Err(format!("There is no database {value:?}: a table has its name alone."));
            }
            "schema_name" => schema = name,
            "function_name" => {
                let is_harmless = HARMLESS.contains(&name.as_str()) || !functions.contains(&name);
                if !is_harmless || REFUSED.contains(&name.as_str()) {
                    return Err(format!("The function {value} is not available here."));
                }
            }
            "table_name" if name.is_empty() => {}
            "table_name" if schema == "information_schema" && OF_SCHEMA.contains(&name.as_str()) => {}
            "table_name" if !schema.is_empty() && schema != "main" => {
                return Err(format!("The table {schema}.{value} is not available here."));
            }
            "table_name" => {
                let of_user = known.iter().find(|known| known.to_lowercase() == name);
                let is_own = own.contains(&name) && !INTERNAL.iter().any(|prefix| name.starts_with(prefix));
                match of_user {
                    Some(table) => drop(wanted.insert((*table).to_owned())),
                    None if is_own => {}
                    None => {
                        let meant = nearest(&name, known.iter().copied());
                        let meant = match meant {
                            Some(meant) => format!(" Did you mean {meant}?"),
                            None => format!(" The tables are {}.", known.join(", ")),
                        };
                        // SHOW TABLES reads from a table whose name has quotes.
                        let value = value.trim_matches('"');
                        return Err(format!("There is no table {value:?}.{meant}"));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(wanted)
}

/// Returns the members of a JSON text whose values are texts, at any depth, in their order.
fn members(tree: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = tree;
    std::iter::from_fn(move || {
        loop {
            let (name, behind) = text(&rest[rest.find('"')?..])?;
            rest = behind;
            let Some(value) = behind.trim_start().strip_prefix(':') else { continue };
            if let Some((value, behind)) = text(value.trim_start()) {
                rest = behind;
                return Some((&name[1..name.len() - 1], serde_json::from_str(value).ok()?));
            }
        }
    })
}

/// Splits the JSON text, with its quotes, off the beginning; `None` if something else begins there.
fn text(json: &str) -> Option<(&str, &str)> {
    let mut bytes = json.bytes().enumerate();
    if bytes.next()?.1 != b'"' {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return Some(json.split_at(at + 1)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_tree_are_found_at_any_depth_and_no_text_passes_for_one() {
        let tree = r#"{"a":{"b" : ["c",{"table_name":"d\"e"}]},"f":"\",\"table_name\":\"g","h":1,"i":null}"#;
        let found: Vec<_> = members(tree).collect();
        let expected = [("table_name", "d\"e"), ("f", "\",\"table_name\":\"g")];
        assert_eq!(found, expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(members("{\"a\":\"b").count(), 0);
    }

    #[test]
    fn a_query_names_tables_of_its_user_and_harmless_functions_only() {
        let functions = ["read_csv", "range", "arrow_scan"].map(str::to_owned).into();
        let named = |tree: &str| named(tree, &functions, &["button_click", "events"]);
        let table = |schema: &str, name: &str| {
            format!(
                r#"{{"error":false,"x":[{{"schema_name":"{schema}","table_name":"{name}","catalog_name":""}}]}}"#
            )
        };
        let wanted = |name: &str| Ok(BTreeSet::from([name.to_owned()]));
        assert_eq!(named(&table("", "Button_Click")), wanted("button_click"));
        assert_eq!(named(&table("main", "events")), wanted("events"));
        assert_eq!(named(&table("information_schema", "tables")), Ok(BTreeSet::new()));
        for (schema, name) in [
            ("", "duckdb_settings"),
            ("pg_catalog", "events"),
            ("", "/etc/passwd"),
            ("information_schema", "x"),
        ] {
            assert!(named(&table(schema, name)).is_err(), "{schema}.{name}");
        }
        let with = |key: &str, name: &str| {
            table("", name).replace("\"x\":", &format!("\"y\":{{\"key\":\"{key}\"}},\"x\":"))
        };
        assert_eq!(named(&with("mine", "MINE")), Ok(BTreeSet::new()));
        assert!(named(&with("duckdb_settings", "duckdb_settings")).is_err());
        let calls = |name: &str| named(&format!(r#"{{"error":false,"function_name":"{name}"}}"#));
        assert!(calls("range").is_ok() && calls("sum").is_ok());
        assert!(["read_csv", "ARROW_SCAN", "getenv"].iter().all(|name| calls(name).is_err()));
        let other = r#"{"error":false,"schema_name":"","table_name":"events","catalog_name":"other"}"#;
        assert!(named(other).is_err());
        assert!(named(r#"{"error":true,"error_message":"Only SELECT statements"}"#).is_err());
    }
}
