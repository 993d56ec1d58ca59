//! Reads a JSON array element by element, in bounded memory.

use std::io::{self, BufRead};

use anyhow::{Context, Result, bail};
use weir_core::Violation;

use super::{
    event_ids::Stamper,
    lines::LONGEST,
    mapping::Mapping,
    source::{Item, Source},
};

/// The elements of a file, numbered from 1.
pub(super) struct Elements<R> {
    array: Array<R>,
    stamper: Stamper,
    mapping: Mapping,
}

impl<R: BufRead + Send> Elements<R> {
    pub(super) fn new(content: R, stamper: Stamper, mapping: Mapping) -> Self {
        Self { array: Array::new(content), stamper, mapping }
    }
}

/// Checks that the array of a whole file is closed and is all that there is. Read errors are left to the code that reads the
/// elements.
pub(super) fn check(content: impl BufRead) -> Result<()> {
    let mut array = Array::new(content);
    loop {
        match array.next() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) if error.is::<io::Error>() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// An array, cut at the commas and brackets between its elements.
struct Array<R> {
    content: R,
    number: u64,
    ended: bool,
}

/// The text of an element, and whether its end was left out as it is too long.
struct ElementRead {
    text: Vec<u8>,
    cut: bool,
}

impl<R: BufRead> Array<R> {
    fn new(content: R) -> Self {
        Self { content, number: 0, ended: false }
    }

    /// Returns the next element.
    fn next(&mut self) -> Result<Option<ElementRead>> {
        if self.ended {
            return Ok(None);
        }
        if self.number == 0 {
            self.open()?;
        }
        let mut text = Vec::new();
        let (end, cut) = self.element(&mut text)?;
        self.ended = end == b']';
        if self.ended {
            self.close()?;
            // An empty array has no element.
            if text.trim_ascii().is_empty() && self.number == 0 {
                return Ok(None);
            }
        }
        self.number += 1;
        Ok(Some(ElementRead { text, cut }))
    }

    fn next_byte(&mut self) -> Result<Option<u8>> {
        let next = self.content.fill_buf().context("the rest cannot be read")?.first().copied();
        self.content.consume(usize::from(next.is_some()));
        Ok(next)
    }

    /// Reads to the bracket that opens the array.
    fn open(&mut self) -> Result<()> {
        while let Some(byte) = self.next_byte()? {
            match byte {
                b'[' => return Ok(()),
                b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf => {}
                _ => break,
            }
        }
        bail!("it does not begin with [, as a JSON array does")
    }

    /// Reads to the comma or bracket after an element. Returns the byte, and whether the element was too long.
    fn element(&mut self, text: &mut Vec<u8>) -> Result<(u8, bool)> {
        let (mut depth, mut in_string, mut escaped, mut cut) = (0_usize, false, false, false);
        while let Some(byte) = self.next_byte()? {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_string => escaped = true,
                b'"' => in_string = !in_string,
                _ if in_string => {}
                b'[' | b'{' => depth += 1,
                b',' | b']' if depth == 0 => return Ok((byte, cut)),
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if text.len() < LONGEST {
                text.push(byte);
            } else {
                cut = true;
            }
        }
        bail!("the array is not closed after its element {}: is the file whole?", self.number)
    }

    /// Refuses anything but blanks after the array.
    fn close(&mut self) -> Result<()> {
        while let Some(byte) = self.next_byte()? {
            if !byte.is_ascii_whitespace() {
                bail!("there is more after the array");
            }
        }
        Ok(())
    }
}

impl<R: BufRead + Send> Source for Elements<R> {
    fn next(&mut self) -> Result<Option<Item>> {
        let Some(ElementRead { text, cut }) = self.array.next()? else { return Ok(None) };
        let (number, original) = (self.array.number, text.trim_ascii());
        let event = if cut {
            let longest = bytesize::ByteSize(LONGEST as u64);
            Err(Violation::whole(format!("an element has at most {longest}; this one was not sent")))
        } else if original.is_empty() {
            Err(Violation::whole("there is no element between two commas, or after the last one"))
        } else {
            let mapped = self.mapping.event(original);
            // A request has one event a line.
            let mut event = self.stamper.stamp(number, original, &mapped).into_owned();
            event.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
            Ok(event)
        };
        Ok(Some(Item { number, original: original.to_vec(), event, cut }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::event_ids::{Ids, Seed};

    fn read(text: &str) -> Result<Vec<(u64, String, bool)>> {
        let stamper = Stamper { seed: Seed::of_source("s"), ids: Ids::WholeContent, event_type: None };
        let mut elements = Elements::new(text.as_bytes(), stamper, Mapping::default());
        let mut items = Vec::new();
        while let Some(item) = elements.next()? {
            assert!(item.event.as_ref().map_or(true, |event| !event.contains(&b'\n')));
            items.push((item.number, String::from_utf8(item.original)?, item.event.is_ok()));
        }
        Ok(items)
    }

    #[test]
    fn an_array_is_cut_into_its_elements_wherever_brackets_and_commas_stand_in_texts() {
        let text = "\u{feff} [ {\"a\": \"],[\\\"\"},\n {\"b\":\n[1,{}]} , 7 ]\n";
        let expected = [(1, "{\"a\": \"],[\\\"\"}"), (2, "{\"b\":\n[1,{}]}"), (3, "7")];
        assert_eq!(read(text).unwrap(), expected.map(|(number, text)| (number, text.to_owned(), true)));
        assert!(read("[]").unwrap().is_empty() && read(" [ \n] ").unwrap().is_empty());
        assert_eq!(read("[1,]").unwrap()[1], (2, String::new(), false));
        let long = format!("[{{\"x\":\"{}\"}},1]", "y".repeat(LONGEST));
        let items: Vec<bool> = read(&long).unwrap().into_iter().map(|(_, _, is_whole)| is_whole).collect();
        assert_eq!(items, [false, true]);
        for (broken, why) in
            [("[1", "not closed"), ("{}", "does not begin"), ("[1] x", "more after"), ("", "not begin")]
        {
            assert!(read(broken).unwrap_err().to_string().contains(why), "{broken}");
        }
    }
}
