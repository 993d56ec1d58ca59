//! Takes over the ids of an earlier version, which had a row for each in the table `recent_ids`.

use rusqlite::{Connection, TransactionBehavior};

use super::run::{UNNUMBERED, Writing};

/// Makes a run of each generation in `recent_ids` that is still remembered, and drops the table. Where there is no such table,
/// it does nothing. It has a transaction of its own, after that of the migrations: if the process dies between them, the next one
/// finds the table. The caller has the lock of the folder.
pub(crate) fn convert(db: &mut Connection) -> rusqlite::Result<()> {
    let db = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let exists = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'recent_ids')";
    if !db.query_row(exists, [], |row| row.get(0))? {
        return Ok(());
    }
    let generations = db
        .prepare(
            "SELECT generation, count(*) FROM recent_ids, progress
             WHERE generation >= id_generation - 1 GROUP BY generation",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(u64, u64)>>>()?;
    for (number, (generation, ids)) in (0..).zip(generations) {
        let mut run = Writing::begin(number, generation, ids);
        let mut rows = db.prepare("SELECT id, event FROM recent_ids WHERE generation = ?1 ORDER BY id")?;
        let mut rows = rows.query([generation])?;
        while let Some(row) = rows.next()? {
            run.add(&db, &(row.get(0)?, row.get::<_, Option<u64>>(1)?.unwrap_or(UNNUMBERED)))?;
        }
        run.end(&db)?;
    }
    db.execute_batch("DROP TABLE recent_ids")?;
    db.commit()
}
