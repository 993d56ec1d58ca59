//! Prints rows from another engine as DuckDB prints its own: a table, CSV or JSON.

use std::io::{self, BufWriter, Write};

pub(crate) use weir_core::sql::{Column, Kind, Row};

use weir_core::sql::object;

use crate::{cli::Format, counted::grouped, table, terminal::on_one_line};

/// Prints rows as they arrive; a table is printed at the end, as its widths depend on all rows.
pub(crate) struct Printer<W: Write> {
    out: BufWriter<W>,
    format: Format,
    columns: Vec<Column>,
    /// The rows of a table.
    kept: Vec<Vec<String>>,
    /// The table's maximum width, if bounded.
    width: Option<usize>,
    anything: bool,
}

impl<W: Write> Printer<W> {
    pub(crate) fn new(out: W, format: Format, columns: Vec<Column>) -> io::Result<Self> {
        let mut printer = Self {
            out: BufWriter::new(out),
            format,
            columns,
            kept: Vec::new(),
            width: None,
            anything: false,
        };
        if format == Format::Csv {
            let names = printer.columns.iter().map(|column| csv(&column.name)).collect::<Vec<_>>();
            writeln!(printer.out, "{}", names.join(","))?;
        }
        Ok(printer)
    }

    /// Limits a table to this width.
    pub(crate) fn fitted(self, width: Option<usize>) -> Self {
        Self { width, ..self }
    }

    /// Prints a row, or keeps it for the table.
    pub(crate) fn row(&mut self, mut row: Row) -> io::Result<()> {
        row.resize(self.columns.len(), None);
        match self.format {
            Format::Table => {
                let cells = row.iter().zip(&self.columns).map(|(cell, column)| match (cell, column.kind) {
                    (None, _) => "NULL".to_owned(),
                    (Some(cell), Kind::Count) => grouped(cell),
                    (Some(cell), _) => on_one_line(cell),
                });
                self.kept.push(cells.collect());
            }
            Format::Csv => {
                let cells = row.iter().map(|cell| cell.as_deref().map_or_else(String::new, csv));
                writeln!(self.out, "{}", cells.collect::<Vec<_>>().join(","))?;
            }
            Format::Json => {
                let before = if self.anything { ",\n" } else { "[" };
                write!(self.out, "{before}{}", object(&self.columns, &row))?;
            }
        }
        self.anything = true;
        Ok(())
    }

    /// Flushes what was printed so far.
    #[cfg(feature = "aws")]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Prints the rest.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.format {
            Format::Table => self.table()?,
            Format::Json => writeln!(self.out, "{}", if self.anything { "]" } else { "[]" })?,
            Format::Csv => {}
        }
        self.out.flush()
    }

    fn table(&mut self) -> io::Result<()> {
        let names: Vec<String> = self.columns.iter().map(|column| on_one_line(&column.name)).collect();
        let rows = || self.kept.iter().map(Vec::as_slice);
        let mut widths = table::widths(rows().chain([names.as_slice()]), names.len());
        // Each column has a border and two spaces, and the last border closes the table.
        let room = self.width.map(|width| width.saturating_sub(3 * names.len() + 1));
        let is_number = |column: &Column| matches!(column.kind, Kind::Number | Kind::Count);
        let whole: Vec<bool> = self.columns.iter().map(is_number).collect();
        if room.is_some_and(|room| !table::fit(&mut widths, &whole, room)) {
            return self.out.write_all(table::records(&names, rows()).as_bytes());
        }
        let line = |left: &str, between: &str, right: &str| {
            let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
            format!("{left}{}{right}", bars.join(between))
        };
        let row = |cells: Vec<String>| format!("│ {} │", cells.join(" │ "));
        let (names, cells) = (names.iter().zip(&widths), |cells: &[String]| {
            let cells = cells.iter().zip(&widths).zip(&self.columns);
            let aligned = |((cell, &width), column): ((&String, &usize), &Column)| match column.kind {
                Kind::Count => table::at_the_right(cell, width),
                _ => table::padded(cell, width),
            };
            cells.map(aligned).collect()
        });
        writeln!(self.out, "{}", line("┌", "┬", "┐"))?;
        writeln!(self.out, "{}", row(names.map(|(name, &width)| in_the_middle(name, width)).collect()))?;
        writeln!(self.out, "{}", line("├", "┼", "┤"))?;
        for kept in &self.kept {
            writeln!(self.out, "{}", row(cells(kept)))?;
        }
        writeln!(self.out, "{}", line("└", "┴", "┘"))
    }
}

/// Centres a column's name in this width, or cuts it.
fn in_the_middle(name: &str, width: usize) -> String {
    let before = width.saturating_sub(table::columns(name)) / 2;
    format!("{}{}", " ".repeat(before), table::padded(name, width - before))
}

/// Quotes a cell for RFC 4180. It quotes more than necessary: exactly as DuckDB does.
fn csv(cell: &str) -> String {
    let quoted = |byte: u8| !(b' '..127).contains(&byte) || [b'"', b'\'', b','].contains(&byte);
    if cell.bytes().any(quoted) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(format: Format, columns: &[(&str, Kind)], rows: &[&[Option<&str>]]) -> String {
        let columns = columns.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind });
        let mut out = Vec::new();
        let mut printer = Printer::new(&mut out, format, columns.collect()).unwrap();
        for row in rows {
            printer.row(row.iter().map(|cell| cell.map(str::to_owned)).collect()).unwrap();
        }
        printer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells_names_stand_in_the_middle_and_counts_at_the_right() {
        let columns = [("n", Kind::Number), ("s", Kind::Text), ("c", Kind::Count)];
        let rows: [&[Option<&str>]; 2] =
            [&[Some("100000"), Some("éàèü"), Some("1000")], &[None, Some("abc"), Some("7")]];
        let table = printed(Format::Table, &columns, &rows);
        let expected = "\
┌────────┬──────┬───────┐
│   n    │  s   │   c   │
├────────┼──────┼───────┤
│ 100000 │ éàèü │ 1,000 │
│ NULL   │ abc  │     7 │
└────────┴──────┴───────┘
";
        assert_eq!(table, expected);
        let nothing = printed(Format::Table, &columns[..2], &[]);
        assert_eq!(nothing, "┌───┬───┐\n│ n │ s │\n├───┼───┤\n└───┴───┘\n");
    }

    #[test]
    fn a_table_is_cut_to_the_width_of_the_terminal_or_becomes_a_list() {
        let columns = || {
            vec![
                Column { name: "n".to_owned(), kind: Kind::Number },
                Column { name: "s".to_owned(), kind: Kind::Text },
            ]
        };
        let printed = |width| {
            let mut out = Vec::new();
            let mut printer = Printer::new(&mut out, Format::Table, columns()).unwrap().fitted(Some(width));
            printer.row(vec![Some("100000".to_owned()), Some("漢字".repeat(10))]).unwrap();
            printer.row(vec![Some("7".to_owned()), None]).unwrap();
            printer.finish().unwrap();
            String::from_utf8(out).unwrap()
        };
        let cut = printed(25);
        assert!(cut.contains("│ 100000 │ 漢字漢字漢…  │"), "{cut}");
        assert!(cut.lines().all(|line| table::columns(line) == 25), "{cut}");
        let list = format!("n  100000\ns  {}\n\nn  7\ns  NULL\n", "漢字".repeat(10));
        assert_eq!(printed(24), list);
    }

    #[test]
    fn no_cell_of_a_table_can_reach_the_terminal() {
        let table =
            printed(Format::Table, &[("x", Kind::Text)], &[&[Some("a\nb\u{1b}[2J\u{9b}31m\t\u{7f}")]]);
        assert!(table.contains("│ a\\nb\\u{1b}[2J\\u{9b}31m\\t\\u{7f} │"), "{table}");
    }

    #[test]
    fn csv_is_quoted_where_it_must_be_and_null_is_empty() {
        let columns = [("a,b", Kind::Text), ("c", Kind::Number)];
        let rows: &[&[Option<&str>]] =
            &[&[Some("x \"y\""), Some("1")], &[None, Some("2")], &[Some("l\nm")], &[Some("a b;c")]];
        let expected = "\"a,b\",c\n\"x \"\"y\"\"\",1\n,2\n\"l\nm\",\na b;c,\n";
        assert_eq!(printed(Format::Csv, &columns, rows), expected);
        assert_eq!(printed(Format::Csv, &columns, &[]), "\"a,b\",c\n");
    }

    #[test]
    fn json_has_numbers_and_documents_as_they_are_and_everything_else_as_text() {
        let columns = [("n", Kind::Number), ("j", Kind::Json), ("t\"", Kind::Text)];
        let rows: &[&[Option<&str>]] = &[
            &[Some("1.5E300"), Some(r#"{"a": [1]}"#), Some("1")],
            &[Some("NaN"), Some("{broken"), Some("é\u{1b}\n")],
            &[Some("true"), None, None],
        ];
        let expected = r#"[{"n":1.5E300,"j":{"a": [1]},"t\"":"1"},
{"n":"NaN","j":"{broken","t\"":"é\u001b\n"},
{"n":true,"j":null,"t\"":null}]
"#;
        assert_eq!(printed(Format::Json, &columns, rows), expected);
        assert_eq!(printed(Format::Json, &columns, &[]), "[]\n");
    }

    /// Parses CSV according to RFC 4180.
    fn read_csv(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '"' if quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut cell)),
                '\n' if !quoted => {
                    row.push(std::mem::take(&mut cell));
                    rows.push(std::mem::take(&mut row));
                }
                c => cell.push(c),
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_cell_a_reader_of_csv_and_one_of_json_find_it_again(
            rows in proptest::collection::vec(proptest::array::uniform2("[,\"'\n\r\\\\=\u{1b}a;]{0,6}|\\PC{0,6}"), 0..5),
            names in proptest::array::uniform2("[,\"\n'a]{1,4}|\\PC{1,4}"),
        ) {
            prop_assume!(names[0] != names[1]);
            let columns = names.each_ref().map(|name| (name.as_str(), Kind::Text));
            let cells: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| Some(cell.as_str()))).collect();
            let cells: Vec<&[Option<&str>]> = cells.iter().map(|row| &row[..]).collect();
            let csv = read_csv(&printed(Format::Csv, &columns, &cells));
            let expected: Vec<Vec<String>> = [names.to_vec()].into_iter().chain(rows.iter().map(|row| row.to_vec())).collect();
            prop_assert_eq!(csv, expected);
            let json: serde_json::Value = serde_json::from_str(&printed(Format::Json, &columns, &cells)).unwrap();
            let objects = rows.iter().map(|row| serde_json::json!({&names[0]: row[0], &names[1]: row[1]}));
            prop_assert_eq!(json, objects.collect::<serde_json::Value>());
            let table = printed(Format::Table, &columns, &cells);
            prop_assert_eq!(table.lines().count(), rows.len() + 4);
        }
    }
}
