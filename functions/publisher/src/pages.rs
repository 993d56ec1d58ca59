//! The pages of a public answer, for a CDN: one for each path, with all rows below it, and one for each slot.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Seek, Write},
    mem,
};

use weir_aws::Page;
use weir_core::answers::{ColumnName, Definition, page};

use crate::{
    error::{AnswerError, wrong},
    spool::Spooled,
};

type Result<T> = std::result::Result<T, AnswerError>;

/// The most rows of an answer that has pages: each page costs a call.
const MOST_ROWS: u64 = 100_000;

/// Pages in a temporary file, as lines of key and content.
pub(crate) struct Pages(File);

impl Pages {
    /// Makes the pages of rows. An answer of which a CDN cannot have all is refused.
    pub(crate) fn of(spooled: &Spooled, definition: &Definition) -> Result<Self> {
        if spooled.rows() > MOST_ROWS {
            return Err(wrong(format!(
                "it has {} rows: a public answer of a stack with a CDN has {MOST_ROWS} at the most",
                spooled.rows()
            )));
        }
        let file = tempfile::tempfile()?;
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
    pub(crate) fn read(&self) -> io::Result<impl Iterator<Item = io::Result<Page>> + '_> {
        (&self.0).rewind()?;
        Ok(BufReader::new(&self.0).lines().map(|line| {
            let line = line?;
            let (key, content) = line.split_once('\t').ok_or(io::ErrorKind::InvalidData)?;
            Ok(Page { key: key.to_owned(), content: content.to_owned().into() })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Spool;

    fn pages(head: &str, lines: impl Iterator<Item = String>) -> Result<Vec<(String, String)>> {
        let sql = format!("-- public: true\n{head}SELECT 1");
        let definition = Definition::read("a".parse().unwrap(), &sql).unwrap();
        let mut spool = Spool::new(&definition, &std::env::temp_dir())?;
        lines.into_iter().try_for_each(|line| spool.line(&line))?;
        let pages = Pages::of(&spool.finish()?, &definition)?;
        let read = pages.read()?.map(|page| {
            let Page { key, content } = page?;
            Ok((key, String::from_utf8(content.to_vec()).unwrap()))
        });
        read.collect()
    }

    fn key(path: &[&str], slot: &[(&'static str, &'static str)]) -> String {
        page::key(&"a".parse().unwrap(), path.iter().copied(), slot.iter().copied())
    }

    #[test]
    fn each_path_and_each_slot_has_a_page() {
        let line = |path: &str, slot: &str, n: u8| format!("[{path:?}]\t[{slot:?},\"x\"]\t{{\"n\":{n}}}\n");
        let lines = [line("p", "1", 1), line("p", "2", 2), line("q", "1", 3)];
        let of = |path: &str, slot: &'static str, n: u8| {
            (key(&[path], &[("z", slot), ("b", "x")]), format!("{{\"n\":{n}}}"))
        };
        assert_eq!(
            pages("-- path: p\n-- slot: z, b\n", lines.into_iter()).unwrap(),
            [
                of("p", "1", 1),
                of("p", "2", 2),
                of("q", "1", 3),
                (key(&["p"], &[]), "[{\"n\":1},{\"n\":2}]".to_owned()),
                (key(&["q"], &[]), "[{\"n\":3}]".to_owned()),
            ]
            .into_iter()
            .collect::<Vec<_>>()
        );
        let none = |head| pages(head, std::iter::empty()).unwrap();
        assert_eq!(none(""), [(key(&[], &[]), "[]".to_owned())]);
        assert_eq!(none("-- path: p\n"), []);
    }

    #[test]
    fn an_answer_of_which_a_cdn_could_not_have_all_is_refused() {
        let lines = |rows: u64| (0..rows).map(|n| format!("[]\t[\"{n}\"]\t{{}}\n"));
        let refused = pages("-- slot: n\n", lines(MOST_ROWS + 1)).unwrap_err().to_string();
        assert_eq!(
            refused,
            "it has 100001 rows: a public answer of a stack with a CDN has 100000 at the most"
        );
        assert_eq!(pages("-- slot: n\n", lines(10)).unwrap().len(), 11);
    }
}
