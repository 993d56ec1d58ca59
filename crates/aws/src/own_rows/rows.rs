//! The rows of a user, as common table expressions of a question to Athena: the tables that queries of clients have, and their
//! columns, which are those on one machine (docs/QUERIES.md).

use weir_core::{
    Catalog, EventType, Partition,
    event::BOT,
    sql::{literal, quoted},
};

use super::OwnRows;

/// The table of all events.
const EVENTS: &str = "events";

/// The columns of every table.
const STAMPED: [&str; 4] = ["event_id", "time", "received_at", "occurred_at"];

/// A table.
pub(super) struct Table {
    /// Its name, in small letters.
    pub(super) name: String,
    /// The tables of Athena's that it consists of: the name and the other columns of each.
    parts: Vec<(String, Vec<String>)>,
    is_events: bool,
}

impl Table {
    /// Returns all tables: one for each type, that of rejected events, and that of all events.
    pub(super) fn all(catalog: &Catalog) -> Vec<Self> {
        let types = catalog.iter().map(|definition| {
            let own: Vec<String> = definition.fields().map(|(name, _)| name.to_lowercase()).collect();
            let mark = (!own.iter().any(|name| name == BOT)).then(|| BOT.to_owned());
            (definition.event_type().to_string(), mark.into_iter().chain(own).collect())
        });
        let rejected = ["claimed_type", "errors", "body", "body_base64", "truncated"].map(str::to_owned);
        let rejected = (EventType::rejected().to_string(), rejected.to_vec());
        let parts: Vec<(String, Vec<String>)> = types.chain([rejected]).collect();
        let nothing = parts.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
        let events = Self { name: EVENTS.to_owned(), parts: nothing, is_events: true };
        let of_type =
            |part: (String, Vec<String>)| Self { name: part.0.clone(), parts: vec![part], is_events: false };
        parts.into_iter().map(of_type).chain([events]).collect()
    }

    /// Returns how many of Athena's tables it reads.
    pub(super) fn folders(&self) -> u64 {
        self.parts.len() as u64
    }

    /// Returns the SELECT of the user's rows.
    pub(super) fn rows(&self, of: &OwnRows<'_>) -> String {
        let part = |(name, columns): &(String, Vec<String>)| {
            let event_type =
                if self.is_events { format!("{} AS \"event_type\", ", literal(name)) } else { String::new() };
            format!(
                "SELECT {event_type}{} FROM {}.{} WHERE {}",
                shown(columns),
                quoted(of.database),
                quoted(name),
                condition(of)
            )
        };
        self.parts.iter().map(part).collect::<Vec<_>>().join("\nUNION ALL ")
    }
}

/// Returns the columns for a SELECT. Of events that were stored before Weir stamped `time`, the time is that of their arrival.
/// Texts of `TRY` become null where a client wrote a time beyond all timestamps.
fn shown(columns: &[String]) -> String {
    let [id, time, received_at, occurred_at] = STAMPED.map(quoted);
    let at = format!("coalesce({time}, {received_at})");
    let free = |wanted: &str| {
        let mut name = wanted.to_owned();
        while columns.contains(&name) {
            name.push('_');
        }
        quoted(&name)
    };
    let read_as =
        |kind: &str, name: &str| format!("TRY(CAST(from_unixtime({at} / 1e3) AS {kind})) AS {}", free(name));
    let stamped = [
        id,
        format!("{at} AS {time}"),
        read_as("timestamp", "timestamp"),
        read_as("date", "date"),
        received_at,
        occurred_at,
    ];
    let own = columns.iter().map(|name| quoted(name));
    let folders = Partition::COLUMNS.into_iter().map(quoted);
    stamped.into_iter().chain(own).chain(folders).collect::<Vec<_>>().join(", ")
}

/// Returns the condition on the folders: the user's, and the hours of the range. Athena looks into the folders of the years,
/// months, days and hours that it allows.
fn condition(of: &OwnRows<'_>) -> String {
    let [username, year, month, day, hour] = Partition::COLUMNS.map(quoted);
    let mut condition = format!("{username} = {}", literal(of.username.as_str()));
    let ([first_year, first_month, first_day, first_hour], [last_year, last_month, last_day, last_hour]) =
        (of.from.parts(), of.to.parts());
    let from = format!(
        "({year} > {first_year} OR ({year} = {first_year} AND ({month} > {first_month} OR ({month} = {first_month} AND \
         ({day} > {first_day} OR ({day} = {first_day} AND {hour} >= {first_hour}))))))"
    );
    let to = format!(
        "({year} < {last_year} OR ({year} = {last_year} AND ({month} < {last_month} OR ({month} = {last_month} AND \
         ({day} < {last_day} OR ({day} = {last_day} AND {hour} <= {last_hour}))))))"
    );
    condition += &format!(" AND {year} BETWEEN {first_year} AND {last_year}");
    if first_year == last_year {
        condition += &format!(" AND {month} BETWEEN {first_month} AND {last_month}");
        if first_month == last_month {
            condition += &format!(" AND {day} BETWEEN {first_day} AND {last_day}");
        }
    }
    format!("{condition} AND {from} AND {to}")
}
