//! The pages of a public answer, for a CDN: one for each path, with all rows below it, and one for each slot.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, Write},
    mem,
};

use anyhow::{Context, Result, bail};
use weir_aws::Page;
use weir_core::answers::{ColumnName, Definition, page};

use super::spool::Spooled;

/// The most rows of an answer that has pages: each page costs a call.
const MOST_ROWS: u64 = 100_000;

/// Pages in a temporary file, as lines of key and content.
pub(super) struct Pages(File);

impl Pages {
    /// Makes the pages of rows. An answer of which a CDN cannot have all is refused.
    pub(super) fn of(spooled: &Spooled, definition: &Definition) -> Result<Self> {
        if spooled.rows() > MOST_ROWS {
            bail!(
                "it has {} rows: a public answer of a stack with a CDN has {MOST_ROWS} at the most",
                spooled.rows()
            );
        }
        let file = tempfile::tempfile().context("cannot make a temporary file")?;
        let mut out = io::BufWriter::new(file);
        let key = |path: &[String], slot: &[String]| {
            let columns = definition.slot.iter().map(ColumnName::as_str);
            page::key(
                &definition.name,
                path.iter().map(String::as_str),
                columns.zip(slot.iter().map(String::as_str)),
            )
        };
        // An answer that has no path is there, with or without rows.
        let mut below: Option<(Vec<String>, String)> =
            definition.path.is_empty().then(|| (Vec::new(), String::new()));
        let end = |below: Option<(Vec<String>, String)>, out: &mut io::BufWriter<File>| match below {
            Some((path, rows)) => writeln!(out, "{}\t[{rows}]", key(&path, &[])),
            None => Ok(()),
        };
        spooled.for_each(|path, slot, json| {
            if !slot.is_empty() {
                writeln!(out, "{}\t{json}", key(&path, &slot))?;
            }
            match &mut below {
                Some((same, rows)) if *same == path => {
                    if !rows.is_empty() {
                        rows.push(',');
                    }
                    rows.push_str(json);
                }
                _ => end(below.replace((path, json.to_owned())), &mut out)?,
            }
            Ok(())
        })?;
        end(mem::take(&mut below), &mut out)?;
        Ok(Self(out.into_inner().map_err(io::IntoInnerError::into_error)?))
    }

    /// Reads the pages, one after the other.
    pub(super) fn read(&self) -> io::Result<impl Iterator<Item = io::Result<Page>> + '_> {
        (&self.0).rewind()?;
        Ok(BufReader::new(&self.0).lines().map(|line| {
            let line = line?;
            let (key, content) = line.split_once('\t').ok_or(io::ErrorKind::InvalidData)?;
            Ok(Page { key: key.to_owned(), content: content.to_owned().into() })
        }))
    }
}
