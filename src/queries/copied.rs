//! Copies the caller's rows of the tables that a query names into a database of the query's own.

use collector::NotAnswered;
use weir_core::ports::PortError;

use super::{How, Query, not_answered};
use crate::{
    child::Failure,
    query::tables::{literal, quoted},
};

/// The file of the database, in the query's folder.
pub(super) const DATABASE: &str = "rows.duckdb";

/// The largest database.
const MOST: u64 = 4 << 30;

/// With less room than this on the disk, no query is answered.
const LEAST_ROOM: u64 = 64 << 20;

/// Copies the rows of these tables.
pub(super) fn copy<'a>(
    query: &Query,
    tables: impl Iterator<Item = &'a (String, String)>,
) -> Result<(), NotAnswered> {
    let what = "answering a query";
    // All queries at once take a part of the disk that events do not need.
    let room = (query.inner.room)() / query.inner.places.most() as u64;
    if room < LEAST_ROOM {
        return Err(PortError::no_space(what, "the disk has no space for queries").into());
    }
    let folder = query.folder.path();
    let text = |name: &str| {
        let path = folder.join(name);
        path.to_str().map(literal).ok_or_else(|| PortError::broken(what, "a path is not UTF-8"))
    };
    let (database, spilled) = (text(DATABASE)?, text("spilled")?);
    // The rest of the room is for what DuckDB spills.
    let file_limit = MOST.min(room / 2);
    let mut script = format!(
        "{}SET temp_directory = {spilled};\nSET max_temp_directory_size = '{file_limit}B';\n\
         SET preserve_insertion_order = false;\nATTACH {database} AS weir_rows;\n",
        Query::limits()
    );
    for (name, view) in tables {
        let name = quoted(name);
        script += view;
        script += &format!("CREATE TABLE weir_rows.{name} AS SELECT * FROM {name};\n");
    }
    let reads = query.rows_in();
    let how = How { arguments: &[], directory: &query.inner.lake, reads: &reads, file_limit };
    query.duckdb(&script, &how).map(drop).map_err(|failure| {
        let size = std::fs::metadata(folder.join(DATABASE)).map_or(0, |file| file.len());
        let is_full = size.saturating_add(LEAST_ROOM / 4) >= file_limit;
        match failure {
            Failure::Ended { .. } if is_full => NotAnswered::TooManyRows,
            Failure::Ended { said, .. } if said.contains("Out of Memory Error") => NotAnswered::TooManyRows,
            failure => not_answered(failure),
        }
    })
}
