//! Athena's rows on their way to the spool.

use std::env;

use serde_json::{json, value::RawValue};
use weir_core::{
    answers::Definition,
    sql::{Column, Kind, Row, object},
};

use crate::{
    error::{AnswerError, wrong},
    spool::{Spool, Spooled, must_have_columns},
};

type Result<T> = std::result::Result<T, AnswerError>;

/// Takes Athena's rows, and spools them to be laid out.
pub struct Rows<'a> {
    definition: &'a Definition,
    columns: Vec<Column>,
    /// The columns of the path and of the slot, by their places in a row.
    path: Vec<usize>,
    slot: Vec<usize>,
    spool: Spool<'a>,
}

impl<'a> Rows<'a> {
    /// Makes a spool for the rows of an answer, in the folder for temporary files.
    pub fn new(definition: &'a Definition) -> Result<Self> {
        let spool = Spool::new(definition, &env::temp_dir())?;
        Ok(Self { definition, columns: Vec::new(), path: Vec::new(), slot: Vec::new(), spool })
    }

    /// Takes the columns, before all rows.
    pub fn begin(&mut self, columns: Vec<Column>) -> Result<()> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        must_have_columns(&names, self.definition)?;
        let place = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        self.path = self.definition.stored_path().into_iter().filter_map(place).collect();
        self.slot = self.definition.slot.iter().filter_map(|column| place(column.as_str())).collect();
        self.columns = columns;
        Ok(())
    }

    /// Takes a row.
    pub fn row(&mut self, mut row: Row) -> Result<()> {
        row.resize(self.columns.len(), None);
        for (column, cell) in self.columns.iter().zip(&mut row) {
            let Some(text) = cell else { continue };
            let is_json = || serde_json::from_str::<&RawValue>(text).is_ok();
            match column.kind {
                Kind::Number | Kind::Count if !is_json() => {
                    return Err(wrong(format!(
                        "the column {} holds a number that JSON cannot write, {text}",
                        column.name
                    )));
                }
                // A row is one line.
                Kind::Json if text.contains(['\n', '\r', '\t']) => {
                    let json: serde_json::Value = serde_json::from_str(text)
                        .map_err(|_| wrong(format!("the column {} holds what is no JSON", column.name)))?;
                    *text = json.to_string();
                }
                _ => {}
            }
        }
        let of = |places: &[usize]| places.iter().map(|&at| row[at].as_deref()).collect::<Vec<_>>();
        let line = format!(
            "{}\t{}\t{}\n",
            json!(of(&self.path)),
            json!(of(&self.slot)),
            object(&self.columns, &row)
        );
        self.spool.line(&line)
    }

    /// Returns the rows, to be published.
    pub fn finish(self) -> Result<Spooled> {
        self.spool.finish()
    }
}
