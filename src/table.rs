//! Rows of text for a terminal, fitted to its width: columns are cut, and if too little would remain of them, each row
//! becomes a list of its cells.

use std::io::IsTerminal;

/// Columns are cut to no less than this width. A narrower cell says too little.
const NARROWEST: usize = 12;

/// Returns the width of the terminal on standard output; `None` if it is not a terminal, or its width is unknown.
pub(crate) fn terminal_width() -> Option<usize> {
    let out = std::io::stdout();
    let size = if out.is_terminal() { terminal_size::terminal_size_of(&out) } else { None };
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// Aligns the columns of some rows, two spaces apart; the first row has the column names. Without a width, nothing is cut.
pub(crate) fn aligned<const N: usize>(rows: &[[String; N]], width: Option<usize>) -> String {
    let mut widths = widths(rows.iter().map(<[String; N]>::as_slice), N);
    let room = width.map(|width| width.saturating_sub(2 * N.saturating_sub(1)));
    if room.is_some_and(|room| !fit(&mut widths, &[false; N], room))
        && let Some((names, rows)) = rows.split_first()
    {
        return records(names, rows.iter().map(<[String; N]>::as_slice));
    }
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Returns the width of each of so many columns.
pub(crate) fn widths<'a>(rows: impl Iterator<Item = &'a [String]>, count: usize) -> Vec<usize> {
    let mut widths = vec![0; count];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns(cell).max(*width);
        }
    }
    widths
}

/// Narrows the widest columns until all fit; returns whether they do. Columns that are `whole` are not cut, as a number
/// without one of its digits is another number.
pub(crate) fn fit(widths: &mut [usize], whole: &[bool], room: usize) -> bool {
    while widths.iter().sum::<usize>() > room {
        let cut = widths.iter_mut().zip(whole).filter(|(_, whole)| !**whole).map(|(width, _)| width);
        match cut.max().filter(|width| **width > NARROWEST) {
            Some(width) => *width -= 1,
            None => return false,
        }
    }
    true
}

/// Formats each row as a list of its whole cells, each after its column's name; an empty line separates rows.
pub(crate) fn records<'a>(names: &[String], rows: impl Iterator<Item = &'a [String]>) -> String {
    let width = names.iter().map(|name| columns(name)).max().unwrap_or_default();
    let row = |row: &[String]| -> String {
        let line = |(name, cell): (&String, &String)| {
            format!("{}  {cell}", padded(name, width)).trim_end().to_owned() + "\n"
        };
        names.iter().zip(row).map(line).collect()
    };
    rows.map(row).collect::<Vec<_>>().join("\n")
}

/// Pads a cell to this width, or cuts it.
pub(crate) fn padded(cell: &str, width: usize) -> String {
    let wide = columns(cell);
    if wide <= width {
        return format!("{cell}{}", " ".repeat(width - wide));
    }
    let (mut text, mut used) = (String::new(), 0);
    for c in cell.chars() {
        if used + columns_of(c) + 1 > width {
            break;
        }
        used += columns_of(c);
        text.push(c);
    }
    format!("{text}…{}", " ".repeat(width.saturating_sub(used + 1)))
}

/// Pads a number on its left, so that digits of equal weight stand below each other.
pub(crate) fn at_the_right(cell: &str, width: usize) -> String {
    format!("{}{cell}", " ".repeat(width.saturating_sub(columns(cell))))
}

/// Returns how many terminal columns a text takes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Returns two for East Asian scripts and emoji, zero for combining marks (<https://www.unicode.org/reports/tr11/>).
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f680..=0x1f6ff
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<const N: usize, const M: usize>(rows: [[&str; N]; M]) -> [[String; N]; M] {
        rows.map(|row| row.map(str::to_owned))
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = rows([["é", "1"], ["long", ""], ["漢字e\u{301}", "2"]]);
        assert_eq!(aligned(&rows, None), "é      1\nlong\n漢字e\u{301}  2\n");
        assert_eq!(aligned(&rows, Some(8)), aligned(&rows, None));
    }

    #[test]
    fn a_table_that_is_wider_than_the_terminal_is_cut_or_becomes_a_list() {
        let rows = rows([["NAME", "VALUE"], ["a", &"漢".repeat(20)], ["b", "short"]]);
        let cut = aligned(&rows, Some(20));
        assert_eq!(cut, "NAME  VALUE\na     漢漢漢漢漢漢…\nb     short\n");
        assert!(cut.lines().all(|line| columns(line) <= 20));
        let list = aligned(&rows, Some(16));
        assert_eq!(list, format!("NAME   a\nVALUE  {}\n\nNAME   b\nVALUE  short\n", "漢".repeat(20)));
    }

    #[test]
    fn a_number_is_never_cut() {
        let mut widths = [30, 30];
        assert!(fit(&mut widths, &[true, false], 50));
        assert_eq!(widths, [30, 20]);
        assert!(!fit(&mut widths, &[true, false], 40));
        assert!(!fit(&mut [30], &[true], 20));
    }
}
