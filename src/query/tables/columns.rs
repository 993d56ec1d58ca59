//! The columns of a type, and how each is read from a stored line.

use serde_json::{Map, Value, json};
use weir_core::{Catalog, EventType, Partition, catalog::Definition, event::BOT};

use super::quoted;

/// The columns of the lake's folders, and their types.
pub(crate) const PARTITION: [(&str, &str); 5] = {
    let [username, year, month, day, hour] = Partition::COLUMNS;
    [(username, "VARCHAR"), (year, "BIGINT"), (month, "BIGINT"), (day, "BIGINT"), (hour, "BIGINT")]
};

/// Returns their names for a SELECT.
pub(crate) fn names() -> String {
    Partition::COLUMNS.join(", ")
}

/// The column of the event time.
const TIME: &str = "time";

/// The column of a whole event, in tables without columns for fields.
const WHOLE: &str = "event";

/// A column: its name, the type it is read as, and its expression.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) read_as: &'static str,
    pub(crate) shown_as: String,
}

impl Column {
    fn plain(name: &str, read_as: &'static str) -> Self {
        Self { name: name.to_owned(), read_as, shown_as: quoted(name) }
    }

    /// Returns a column that is computed from the whole event, `json`.
    fn of_whole(name: &str, read_as: &'static str, expression: &str) -> Self {
        Self { name: name.to_owned(), read_as, shown_as: format!("{expression} AS {}", quoted(name)) }
    }

    /// Returns a column from a type's schema. Numbers and booleans are read as JSON first: one that does not fit (JSON allows
    /// integers of any size) becomes null, instead of failing every query.
    fn of_schema(name: &str, schema: &Value) -> Self {
        let names: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
            }
            _ => Vec::new(),
        };
        let cast = |to: &str| Self {
            name: name.to_owned(),
            read_as: "JSON",
            shown_as: format!("TRY_CAST({column} AS {to}) AS {column}", column = quoted(name)),
        };
        match names[..] {
            ["string"] => Self::plain(name, "VARCHAR"),
            ["integer"] => cast("BIGINT"),
            ["number"] => cast("DOUBLE"),
            ["boolean"] => cast("BOOLEAN"),
            _ => Self::plain(name, "JSON"),
        }
    }

    /// Returns how it comes from a stored line: what tells whether a file of a sealed day has this very column.
    pub(crate) fn expression(&self) -> String {
        format!("{} from {}", self.shown_as, self.read_as)
    }
}

/// A table: its columns, and whether they are fields of an event.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    /// Otherwise they are computed from the whole event, `json`.
    pub(crate) has_fields: bool,
}

impl Table {
    /// Returns the table of an event type, which may be missing from the catalog.
    pub(crate) fn of(event_type: &EventType, catalog: &Catalog) -> Self {
        let of_fields = |columns| Self { columns, has_fields: true };
        if event_type.is_rejected() {
            let rejected = [
                ("claimed_type", "VARCHAR"),
                ("errors", "JSON"),
                ("body", "VARCHAR"),
                ("body_base64", "VARCHAR"),
                ("truncated", "BOOLEAN"),
            ];
            let rejected = rejected.map(|(name, read_as)| Column::plain(name, read_as));
            return of_fields(stamped().into_iter().chain(rejected).collect());
        }
        match catalog.get(event_type) {
            Some(definition) => of_fields(columns_of(definition)),
            None => Self {
                columns: vec![
                    Column::of_whole("event_id", "VARCHAR", "json ->> 'event_id'"),
                    Column::of_whole(
                        "time",
                        "BIGINT",
                        "COALESCE(TRY_CAST(json ->> 'time' AS BIGINT), TRY_CAST(json ->> 'received_at' AS BIGINT))",
                    ),
                    Column::of_whole("received_at", "BIGINT", "TRY_CAST(json ->> 'received_at' AS BIGINT)"),
                    Column::of_whole("occurred_at", "BIGINT", "TRY_CAST(json ->> 'occurred_at' AS BIGINT)"),
                    Column::of_whole(WHOLE, "JSON", "json"),
                ],
                has_fields: false,
            },
        }
    }

    /// Returns the table of the fields that sealed days have of a type, which may be missing from the catalog.
    pub(crate) fn to_seal(event_type: &EventType, catalog: &Catalog) -> Self {
        let table = Self::of(event_type, catalog);
        if table.has_fields { table } else { Self { columns: stamped(), has_fields: true } }
    }

    /// Returns the table of all events.
    pub(crate) fn whole() -> Self {
        let columns = vec![
            Column::of_whole("event_type", "VARCHAR", "json ->> 'event_type'"),
            Column::of_whole(WHOLE, "JSON", "json"),
        ];
        Self { columns, has_fields: false }
    }

    /// Returns its columns for a SELECT.
    pub(crate) fn shown(&self) -> String {
        self.columns.iter().map(|column| column.shown_as.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the names of its columns for a SELECT from what [`Self::shown`] made, and beside the event time the same as a
    /// TIMESTAMP and a DATE, in UTC. (`at` would be shorter, but it is a keyword of DuckDB, and needs quotes.) The date is computed from the lake's folders, so that a condition on it decides which files
    /// are read. A time beyond all timestamps becomes null, instead of failing every query.
    pub(crate) fn with_dates(&self) -> String {
        let has_time = self.columns.iter().any(|column| column.name == TIME);
        let (behind, time) = if has_time {
            (TIME, quoted(TIME))
        } else {
            let stamped = |name| format!("TRY_CAST({WHOLE} ->> '{name}' AS BIGINT)");
            ("event_type", format!("coalesce({}, {})", stamped(TIME), stamped("received_at")))
        };
        let [timestamp, date] = ["timestamp", "date"].map(|name| quoted(&self.free(name)));
        let [_, year, month, day, _] = Partition::COLUMNS;
        let dates = format!(
            "TRY(make_timestamp_ms({time})) AS {timestamp}, TRY(make_date({year}, {month}, {day})) AS {date}"
        );
        let shown = self.columns.iter().map(|column| {
            let name = quoted(&column.name);
            if column.name == behind { format!("{name}, {dates}") } else { name }
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Returns the name of a column that none of its columns has.
    pub(crate) fn free(&self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.columns.iter().any(|column| column.name.to_lowercase() == name) {
            name.push('_');
        }
        name
    }
}

/// Returns the structure by which DuckDB takes columns out of a line of JSON, as an SQL literal.
pub(crate) fn structure<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let members = columns.into_iter().map(|column| (column.name.clone(), Value::from(column.read_as)));
    super::literal(&Value::Object(members.collect::<Map<_, _>>()).to_string())
}

/// Returns the stamped columns. The time of events that were stored before `time` was stamped is `received_at`; a `time` in them
/// can be anything, as the client wrote it.
fn stamped() -> Vec<Column> {
    let time = "COALESCE(TRY_CAST(CAST(\"time\" AS VARCHAR) AS BIGINT), received_at) AS \"time\"";
    vec![
        Column::plain("event_id", "VARCHAR"),
        Column { name: "time".to_owned(), read_as: "JSON", shown_as: time.to_owned() },
        Column::plain("received_at", "BIGINT"),
        Column::plain("occurred_at", "BIGINT"),
    ]
}

fn columns_of(definition: &Definition) -> Vec<Column> {
    let own = definition.fields().map(|(name, schema)| Column::of_schema(name, schema));
    stamped().into_iter().chain(mark(definition)).chain(own).collect()
}

/// Returns the column of the mark of bots' events, unless the type has a field of this name. In events without the mark a field
/// that the type does not name can have it, with any value.
fn mark(definition: &Definition) -> Option<Column> {
    let is_free = definition.fields().all(|(name, _)| !name.eq_ignore_ascii_case(BOT));
    is_free.then(|| Column::of_schema(BOT, &json!({"type": "boolean"})))
}
