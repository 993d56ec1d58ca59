//! The SQL by which Athena writes and counts the rows of one type and day.

use weir_core::{
    Day, EventType,
    sql::{literal, quoted},
};

use crate::columns::{Column, Columns, LINE, of_folders, scalar};

/// The tables over the lines of JSON objects, and over the lines of sealed days. `views` makes both.
pub(crate) const JSON_LINES: &str = "weir_json_lines";
pub(crate) const SEALED_LINES: &str = "weir_sealed_lines";

/// The columns by which these tables choose a folder.
pub(crate) const PART: &str = "weir_part";
pub(crate) const KIND: &str = "weir_kind";

/// The rows of one type and day.
pub(crate) struct Rows<'a> {
    pub(crate) database: &'a str,
    pub(crate) day: Day,
    pub(crate) event_type: &'a EventType,
    pub(crate) columns: &'a Columns,
    /// The folder of the new generation.
    pub(crate) folder: &'a str,
    /// The name of the folder in it with the list of JSON objects, if any are read.
    pub(crate) added: Option<&'a str>,
    /// The folder of the generation before, if it has rows.
    pub(crate) before: Option<&'a str>,
    /// The name of the folders of repeats.
    pub(crate) repeats: &'a str,
}

impl Rows<'_> {
    /// Returns the query that counts, for each user, the events that are read, and the repeats among them.
    pub(crate) fn count_read(&self) -> String {
        format!(
            "SELECT username, count(*) AS events, CAST(sum(CASE WHEN weir_nth > 1 THEN 1 ELSE 0 END) AS bigint) AS repeats FROM ({}) GROUP \
             BY username",
            self.numbered()
        )
    }

    /// Returns the query that counts the written rows of each folder.
    pub(crate) fn count_written(&self) -> String {
        format!(
            "SELECT {KIND}, count(*) AS events FROM {}.{SEALED_LINES} WHERE {PART} = {} AND {KIND} IN ({}, {}) GROUP BY {KIND}",
            quoted(self.database),
            literal(self.folder),
            literal(self.event_type.as_str()),
            literal(self.repeats)
        )
    }

    /// Returns the statement that writes the events below a folder.
    pub(crate) fn write_events(&self, sealed: &str) -> String {
        self.write("weir_nth = 1", sealed, self.event_type.as_str())
    }

    /// Returns the statement that writes the repeats below a folder.
    pub(crate) fn write_repeats(&self, sealed: &str) -> String {
        self.write("weir_nth > 1", sealed, self.repeats)
    }

    fn write(&self, condition: &str, sealed: &str, kind: &str) -> String {
        let columns: Vec<String> = self.columns.0.iter().map(Column::of_line).collect();
        let [year, month, day, _] = self.day.first_hour().parts();
        format!(
            "UNLOAD (SELECT {columns}, username, {year} AS \"year\", {month} AS \"month\", {day} AS \"day\", \
             CAST(CAST(floor(\"time\" / 3600000) AS bigint) % 24 AS integer) AS \"hour\", {LINE} FROM ({numbered}) WHERE \
             {condition} ORDER BY username, \"time\", event_id) TO {to} WITH (format = 'PARQUET', compression = 'ZSTD')",
            columns = columns.join(", "),
            numbered = self.numbered(),
            to = literal(&format!("{sealed}{}/{kind}/", self.folder)),
        )
    }

    /// Returns the SELECT of all lines, numbered among the events that a client sent under one id. The number one is the
    /// event that arrived first; if several arrived at the same time, one from the generation before.
    fn numbered(&self) -> String {
        let time = self.columns.0.iter().find(|column| column.name == "time");
        let time = time.map_or_else(String::new, |column| format!("{}, ", column.of_line()));
        format!(
            "SELECT {LINE}, username, event_id, \"time\", CASE WHEN event_id IS NULL THEN 1 ELSE row_number() OVER (PARTITION \
             BY username, event_id, {made} ORDER BY received_at, weir_age, {LINE}) END AS weir_nth FROM (SELECT {LINE}, weir_age, \
             {time}{username} AS username, {event_id} AS event_id, TRY_CAST({received_at} AS bigint) AS received_at FROM \
             ({lines}))",
            made = made(),
            username = scalar("username"),
            event_id = scalar("event_id"),
            received_at = scalar("received_at"),
            lines = self.lines(),
        )
    }

    fn lines(&self) -> String {
        let database = quoted(self.database);
        let before = self.before.map(|before| {
            format!(
                "SELECT {LINE}, 0 AS weir_age FROM {database}.{SEALED_LINES} WHERE {PART} = {} AND {KIND} IN ({}, {})",
                literal(before),
                literal(self.event_type.as_str()),
                literal(self.repeats)
            )
        });
        let added = self.added.map(|added| {
            format!(
                "SELECT {LINE}, 1 AS weir_age FROM {database}.{JSON_LINES} WHERE {PART} = {} AND {KIND} = {}",
                literal(self.folder),
                literal(added)
            )
        });
        before.into_iter().chain(added).collect::<Vec<_>>().join(" UNION ALL ")
    }
}

/// Returns the condition that Weir made an event's id. Such an event is not a repeat of one to which a client gave the same
/// id, as `weir_core::repeats` says.
fn made() -> &'static str {
    "coalesce(regexp_like(event_id, '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AND \
     concat(substr(event_id, 1, 8), substr(event_id, 10, 4)) = lower(lpad(to_base(received_at, 16), 12, '0')), false)"
}

/// Returns the columns of a row: those of the type and of the folders.
pub(crate) fn shown(columns: &Columns) -> String {
    let own = columns.0.iter().map(Column::quoted);
    own.chain([of_folders()]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use weir_core::Catalog;

    use super::*;

    #[test]
    fn a_types_rows_are_unloaded_in_their_order_from_the_generation_before_and_the_listed_objects_only() {
        let event_type = "button_click".parse().unwrap();
        let columns = Columns::of(&event_type, &Catalog::built_in().unwrap());
        let mut rows = Rows {
            database: "weir_x",
            day: "2026-11-20".parse().unwrap(),
            event_type: &event_type,
            columns: &columns,
            folder: "2026-11-20.2.ab",
            added: Some("button_click.added"),
            before: Some("2026-11-20.1.cd"),
            repeats: "button_click.repeats",
        };
        let events = rows.write_events("s3://lake/sealed/");
        let end = "WHERE weir_nth = 1 ORDER BY username, \"time\", event_id) TO \
                   's3://lake/sealed/2026-11-20.2.ab/button_click/' WITH (format = 'PARQUET', compression = 'ZSTD')";
        assert!(events.starts_with("UNLOAD (SELECT ") && events.ends_with(end), "{events}");
        let before = "FROM \"weir_x\".weir_sealed_lines WHERE weir_part = '2026-11-20.1.cd' AND weir_kind IN ('button_click', \
                      'button_click.repeats')";
        let added = "FROM \"weir_x\".weir_json_lines WHERE weir_part = '2026-11-20.2.ab' AND weir_kind = \
                     'button_click.added'";
        for read in [before, added] {
            assert_eq!(events.matches(read).count(), 1, "{events}");
        }
        let repeats = rows.write_repeats("s3://lake/sealed/");
        assert!(
            repeats.contains("WHERE weir_nth > 1 ") && repeats.contains(".ab/button_click.repeats/'"),
            "{repeats}"
        );
        rows.before = None;
        assert!(!rows.count_read().contains(SEALED_LINES), "{}", rows.count_read());
    }
}
