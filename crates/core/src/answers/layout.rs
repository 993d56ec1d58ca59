//! How a generation lies in its file, which never changes once it is written:
//!
//! ```text
//! rows     for each path [slot,slot,…]: a JSON array of slots, each a JSON object padded with spaces to one width in bytes
//! index    for each path and each slot: digest of its key (16 bytes), offset and length of its bytes (8 each), by digest
//! buckets  where in the index the digests that begin with the same bits end (4 bytes each)
//! footer   numbers that say where the parts are (40 bytes)
//! ```
//!
//! All numbers are little-endian. A reader keeps footer and buckets, a few hundred kilobytes at the most. One read of a part of
//! the index finds a key, and one more read has its bytes, which are the answer: on a disk by `pread`, in S3 by `Range`.
//! Digests are SHA-256, cut to 128 bits: no client can make two keys that have the same one.

use std::ops::Range;

use sha2::{Digest, Sha256};

use crate::GenerationName;

/// The most bytes that one row may have.
pub const MAX_WIDTH: usize = 64 << 10;

/// The most bytes that a generation may have.
pub const MAX_BYTES: u64 = 16 << 30;

const MAGIC: [u8; 8] = *b"WEIRANS1";
const FOOTER: usize = 40;
const ENTRY: usize = 32;
const DIGEST: usize = 16;

/// The number of entries that a bucket has on average, and the most bits that number buckets.
const A_BUCKET: usize = 16;
const MAX_BITS: u32 = 16;

/// What a request asks for: a path, or one slot below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; DIGEST]);

impl Key {
    /// Returns the key of all rows below a path.
    pub fn of_path<T: AsRef<str>>(path: impl IntoIterator<Item = T>) -> Self {
        Self::new(path, None::<[&str; 0]>)
    }

    /// Returns the key of one row below a path.
    pub fn of_slot<T: AsRef<str>, U: AsRef<str>>(
        path: impl IntoIterator<Item = T>,
        slot: impl IntoIterator<Item = U>,
    ) -> Self {
        Self::new(path, Some(slot))
    }

    fn new<T: AsRef<str>, U: AsRef<str>>(
        path: impl IntoIterator<Item = T>,
        slot: Option<impl IntoIterator<Item = U>>,
    ) -> Self {
        let mut digest = Sha256::new();
        let mut add = |kind: u8, text: &str| {
            digest.update([kind]);
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        path.into_iter().for_each(|value| add(b'p', value.as_ref()));
        if let Some(slot) = slot {
            slot.into_iter().for_each(|value| add(b's', value.as_ref()));
        }
        let digest = digest.finalize();
        let mut key = [0; DIGEST];
        key.copy_from_slice(&digest[..DIGEST]);
        Self(key)
    }

    /// Returns the bucket that the key is in.
    fn bucket(self, bits: u32) -> usize {
        let [first, second, ..] = self.0;
        usize::from(u16::from_be_bytes([first, second])) >> (MAX_BITS - bits)
    }
}

/// Why a row cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// It is wider than all others may be.
    #[error("a row has {0} bytes as JSON, more than {MAX_WIDTH}")]
    TooWide(usize),
    /// All rows together would be too much.
    #[error(
        "{rows} rows of {width} bytes each, which is the widest one's, with their index are more than {MAX_BYTES} bytes"
    )]
    TooMuch {
        /// The number of rows.
        rows: u64,
        /// The width of each.
        width: usize,
    },
    /// Two rows have one address.
    #[error("two rows have the same address: {0}")]
    NotUnique(String),
}

/// Lays out rows: takes them in the order of their paths, and gives the bytes of the file, piece by piece.
pub struct Writer {
    width: usize,
    digest: Sha256,
    entries: Vec<(Key, u64, u64)>,
    at: u64,
    rows: u64,
    path: Option<Vec<String>>,
    path_begins: u64,
}

impl Writer {
    /// Begins a generation of so many rows, of which the widest has `width` bytes.
    pub fn new(width: usize, rows: u64) -> Result<Self, LayoutError> {
        if width > MAX_WIDTH {
            return Err(LayoutError::TooWide(width));
        }
        // A path of its own for each row would need two entries a row.
        if rows.saturating_mul((width + 2 * ENTRY + 3) as u64) > MAX_BYTES {
            return Err(LayoutError::TooMuch { rows, width });
        }
        let entries = Vec::with_capacity(usize::try_from(rows).unwrap_or_default());
        Ok(Self { width, digest: Sha256::new(), entries, at: 0, rows: 0, path: None, path_begins: 0 })
    }

    /// Adds a row behind the others, and its bytes to `out`. Rows of one path follow each other; a row without a slot has no
    /// address of its own.
    ///
    /// # Panics
    ///
    /// If the row is wider than was announced.
    pub fn row(&mut self, path: &[String], slot: &[String], json: &str, out: &mut Vec<u8>) {
        assert!(json.len() <= self.width, "the widest row was announced");
        let before = out.len();
        if self.path.as_deref() == Some(path) {
            out.push(b',');
        } else {
            self.end_path(out);
            self.path_begins = self.at + (out.len() - before) as u64;
            self.path = Some(path.to_owned());
            out.push(b'[');
        }
        let slot_begins = self.at + (out.len() - before) as u64;
        out.extend_from_slice(json.as_bytes());
        out.resize(out.len() + self.width - json.len(), b' ');
        if !slot.is_empty() {
            self.entries.push((Key::of_slot(path, slot), slot_begins, self.width as u64));
        }
        self.rows += 1;
        self.digest.update(&out[before..]);
        self.at += (out.len() - before) as u64;
    }

    fn end_path(&mut self, out: &mut Vec<u8>) {
        let Some(path) = self.path.take() else { return };
        let begins = self.path_begins;
        // Behind the last slot is the bracket that is added here.
        self.entries.push((Key::of_path(&path), begins, self.at + 1 - begins));
        out.push(b']');
    }

    /// Ends the file: adds its last bytes to `out`, and returns its name. Two rows with one address are an error.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<GenerationName, LayoutError> {
        let before = out.len();
        self.end_path(out);
        let rows_end = self.at + (out.len() - before) as u64;
        self.entries.sort_unstable();
        if let Some(pair) = self.entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(LayoutError::NotUnique(format!("the rows at bytes {} and {}", pair[0].1, pair[1].1)));
        }
        let bits = (self.entries.len() / A_BUCKET).checked_ilog2().map_or(0, |bits| (bits + 1).min(MAX_BITS));
        let mut ends = vec![0_u32; 1 << bits];
        for (index, (key, offset, length)) in self.entries.iter().enumerate() {
            out.extend_from_slice(&key.0);
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(&length.to_le_bytes());
            ends[key.bucket(bits)] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
        let mut end = 0;
        for bucket in &mut ends {
            end = end.max(*bucket);
            out.extend_from_slice(&end.to_le_bytes());
        }
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.width).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&rows_end.to_le_bytes());
        out.extend_from_slice(&(self.entries.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        self.digest.update(&out[before..]);
        let digest = self.digest.finalize();
        let name: String = digest[..DIGEST].iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(name.parse().expect("16 bytes are 32 hexadecimal digits"))
    }
}

/// A file that is not a generation, or only a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file is not whole, or not a generation of an answer")]
pub struct Damaged;

/// What a reader keeps of a generation.
#[derive(Debug, Clone)]
pub struct Index {
    bits: u32,
    rows_end: u64,
    rows: u64,
    ends: Vec<u32>,
}

impl Index {
    /// Returns which part of a file of this length has the footer.
    #[must_use]
    pub fn footer(length: u64) -> Range<u64> {
        length.saturating_sub(FOOTER as u64)..length
    }

    /// Reads the footer of a file of this length; returns which part of it has the buckets, for [`Self::read`].
    pub fn buckets(footer: &[u8], length: u64) -> Result<Range<u64>, Damaged> {
        let footer = Footer::read(footer)?;
        let index_end =
            footer.entries.checked_mul(ENTRY as u64).and_then(|bytes| bytes.checked_add(footer.rows_end));
        let begin = index_end.ok_or(Damaged)?;
        let end = begin.checked_add(4 << footer.bits).ok_or(Damaged)?;
        let whole = end.checked_add(FOOTER as u64) == Some(length);
        if whole { Ok(begin..end) } else { Err(Damaged) }
    }

    /// Reads footer and buckets.
    pub fn read(footer: &[u8], buckets: &[u8]) -> Result<Self, Damaged> {
        let footer = Footer::read(footer)?;
        let (ends, rest) = buckets.as_chunks::<4>();
        let ends: Vec<u32> = ends.iter().map(|end| u32::from_le_bytes(*end)).collect();
        let ascend = ends.is_sorted() && ends.last().copied().map(u64::from) == Some(footer.entries);
        if !rest.is_empty() || ends.len() != 1 << footer.bits || !ascend {
            return Err(Damaged);
        }
        Ok(Self { bits: footer.bits, rows_end: footer.rows_end, rows: footer.rows, ends })
    }

    /// Returns the number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns which part of the file has the entry of a key, if there is one.
    #[must_use]
    pub fn entries_with(&self, key: Key) -> Range<u64> {
        let bucket = key.bucket(self.bits);
        let begin = bucket.checked_sub(1).map_or(0, |before| self.ends[before]);
        let at = |entry: u32| self.rows_end + u64::from(entry) * ENTRY as u64;
        at(begin)..at(self.ends[bucket])
    }

    /// Finds a key in that part of the file; returns which part has its bytes, or `None` if there is no such key.
    pub fn find(&self, entries: &[u8], key: Key) -> Result<Option<Range<u64>>, Damaged> {
        let (entries, _) = entries.as_chunks::<ENTRY>();
        let Ok(found) = entries.binary_search_by(|entry| entry[..DIGEST].cmp(&key.0)) else {
            return Ok(None);
        };
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&entries[found][from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let (begin, length) = (number(DIGEST), number(DIGEST + 8));
        let end = begin.checked_add(length).filter(|end| *end <= self.rows_end).ok_or(Damaged)?;
        Ok(Some(begin..end))
    }
}

struct Footer {
    bits: u32,
    rows_end: u64,
    entries: u64,
    rows: u64,
}

impl Footer {
    fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let bytes: &[u8; FOOTER] = bytes.try_into().map_err(|_| Damaged)?;
        let number = |from: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[from..from + 8]);
            u64::from_le_bytes(number)
        };
        let bits = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if bytes[..8] != MAGIC || bits > MAX_BITS {
            return Err(Damaged);
        }
        Ok(Self { bits, rows_end: number(16), entries: number(24), rows: number(32) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = (Vec<String>, Vec<String>, String);

    fn written(rows: &[Row]) -> Result<(Vec<u8>, GenerationName), LayoutError> {
        let width = rows.iter().map(|(.., json)| json.len()).max().unwrap_or_default();
        let mut writer = Writer::new(width, rows.len() as u64)?;
        let mut file = Vec::new();
        for (path, slot, json) in rows {
            writer.row(path, slot, json, &mut file);
        }
        let name = writer.finish(&mut file)?;
        Ok((file, name))
    }

    fn part(file: &[u8], range: Range<u64>) -> &[u8] {
        &file[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    }

    fn opened(file: &[u8]) -> Result<Index, Damaged> {
        let length = file.len() as u64;
        let footer = part(file, Index::footer(length));
        Index::read(footer, part(file, Index::buckets(footer, length)?))
    }

    fn get(file: &[u8], key: Key) -> Option<&str> {
        let index = opened(file).unwrap();
        let found = index.find(part(file, index.entries_with(key)), key).unwrap();
        found.map(|range| std::str::from_utf8(part(file, range)).unwrap())
    }

    fn row(path: &[&str], slot: &[&str], json: &str) -> Row {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        (owned(path), owned(slot), json.to_owned())
    }

    #[test]
    fn each_slot_has_one_width_in_bytes_and_each_path_is_an_array() {
        let rows = [
            row(&["ann", "a/ü"], &["1"], r#"{"n":"ü"}"#),
            row(&["ann", "a/ü"], &[""], r#"{"n":1}"#),
            row(&["ann", ".."], &["%2F"], r#"{"n":"日本"}"#),
        ];
        let (file, _) = written(&rows).unwrap();
        assert_eq!(get(&file, Key::of_slot(["ann", "a/ü"], ["1"])), Some("{\"n\":\"ü\"}    "));
        assert_eq!(get(&file, Key::of_slot(["ann", "a/ü"], [""])), Some("{\"n\":1}       "));
        assert_eq!(get(&file, Key::of_path(["ann", ".."])), Some("[{\"n\":\"日本\"}]"));
        let array: serde_json::Value =
            serde_json::from_str(get(&file, Key::of_path(["ann", "a/ü"])).unwrap()).unwrap();
        assert_eq!(array, serde_json::json!([{"n": "ü"}, {"n": 1}]));
        for absent in [
            Key::of_path(["ann"]),
            Key::of_path(["ann", "a", "ü"]),
            Key::of_path(["anna/ü"]),
            Key::of_path(["ann", "a/ü", "1"]),
            Key::of_slot(["ann", "a/ü"], ["2"]),
            Key::of_slot(["ann", "a/ü"], ["1", ""]),
            Key::of_slot(["", "ann", "a/ü"], ["1"]),
        ] {
            assert_eq!(get(&file, absent), None);
        }
    }

    #[test]
    fn the_name_follows_from_the_rows_alone() {
        let rows = [row(&["a"], &["1"], "{}"), row(&["b"], &["1"], "{}")];
        let (one, name) = written(&rows).unwrap();
        assert_eq!(written(&rows).unwrap(), (one, name.clone()));
        assert_ne!(written(&rows[..1]).unwrap().1, name);
        assert_ne!(written(&[row(&["a"], &["2"], "{}"), rows[1].clone()]).unwrap().1, name);
        // No rows are a generation, too.
        let (none, _) = written(&[]).unwrap();
        assert_eq!(get(&none, Key::of_path(["a"])), None);
        assert_eq!(opened(&none).unwrap().rows(), 0);
    }

    #[test]
    fn rows_that_share_an_address_or_are_too_wide_are_refused() {
        let twice = [row(&["a"], &["1"], "{}"), row(&["a"], &["2"], "{}"), row(&["a"], &["1"], "{}")];
        assert!(matches!(written(&twice), Err(LayoutError::NotUnique(_))));
        let scattered = [row(&["a"], &[], "{}"), row(&["b"], &[], "{}"), row(&["a"], &[], "{}")];
        assert!(matches!(written(&scattered), Err(LayoutError::NotUnique(_))));
        assert_eq!(Writer::new(MAX_WIDTH + 1, 1).err(), Some(LayoutError::TooWide(MAX_WIDTH + 1)));
        assert!(matches!(Writer::new(MAX_WIDTH, 1 << 20).err(), Some(LayoutError::TooMuch { .. })));
    }

    proptest! {
        // Most of what may differ is in each case: thousands of rows.
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_row_is_found_by_its_address_and_no_other(number in 0_usize..3000, paths in 1_usize..20) {
            let mut rows: Vec<Row> = (0..number)
                .map(|n| row(&[&format!("p{}", n % paths)], &[&format!("s{n}")], &format!("{{\"n\":{n}}}")))
                .collect();
            rows.sort();
            let (file, _) = written(&rows).unwrap();
            for (path, slot, json) in &rows {
                prop_assert_eq!(get(&file, Key::of_slot(path, slot)).map(str::trim_end), Some(json.as_str()));
            }
            for n in number..number + 100 {
                let absent = Key::of_slot([format!("p{}", n % paths)], [format!("s{n}")]);
                prop_assert_eq!(get(&file, absent), None);
            }
        }

    }

    proptest! {
        #[test]
        fn a_file_that_is_cut_or_is_anything_else_is_refused_and_never_a_panic(
            cut in 0_usize..200, noise in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let (file, _) = written(&[row(&["a"], &["1"], "{\"n\":1}")]).unwrap();
            prop_assert!(opened(&file[..file.len() - 1 - cut.min(file.len() - 1)]).is_err());
            prop_assert!(opened(&noise).is_err());
            let mut changed = file;
            for (byte, noise) in changed.iter_mut().rev().zip(&noise) {
                *byte ^= noise;
            }
            if let Ok(index) = opened(&changed) {
                let key = Key::of_path(["a"]);
                let entries = index.entries_with(key);
                if entries.end <= changed.len() as u64 {
                    let _ = index.find(part(&changed, entries), key);
                }
            }
        }
    }
}
