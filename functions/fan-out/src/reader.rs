//! From an object's bytes, however they are cut, to its text: gzip of any number of members, or plain text; the first two bytes
//! tell which.
//!
//! Reading is one pass and takes bounded memory, whatever the bytes expand to. **Any flaw of a gzip object is an error**, and the
//! lines read so far must then be discarded: the checksum comes last, and one flipped bit in a username is copied into every line
//! that refers back to it. Without a flaw, the lines depend on the object's bytes only.

use std::{fmt, io};

use flate2::{Decompress, FlushDecompress, Status};

use crate::lines::{Lines, Sink};

/// The bytes of text that are decompressed at a time.
const SLICE_BYTES: usize = 1 << 16;

/// The text of an object may be longer than this only if the object is long, too. Firehose delivers at most 128 MiB at a time;
/// on one machine a batch has as much as `--flush-size` says.
const MAX_TEXT_BYTES: u64 = 8 << 30;

/// A longer text has at most so many times the bytes of its object. Records, each with an id, compress to a tenth; a bomb, to a
/// thousandth.
const MAX_RATIO: u64 = 200;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The flaw of an object, and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The byte of the object, from 0, at which the damaged gzip member begins.
    pub offset: u64,
    /// The flaw of this member.
    pub flaw: Flaw,
}

/// The flaw of a gzip object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The object ends inside a member.
    CutShort,
    /// A member has a bad header, does not decompress, or does not match its checksum; or it is something else than gzip.
    Corrupt,
    /// The object expands to more than any batch has: a decompression bomb.
    Bomb,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, flaw } = self;
        match flaw {
            Flaw::CutShort => write!(out, "it ends inside the gzip member that begins at byte {offset}"),
            Flaw::Corrupt => write!(out, "the bytes from {offset} on are not a sound gzip member"),
            Flaw::Bomb => {
                write!(out, "the gzip member that begins at byte {offset} expands beyond all bounds")
            }
        }
    }
}

/// Why reading ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The object is damaged: what the sink has taken is void.
    #[error("{0}")]
    Damaged(Damage),
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] io::Error),
}

/// Reads one object.
pub(crate) struct Reader {
    /// The bytes read so far.
    read: u64,
    /// The bytes of text so far.
    text: u64,
    max_text: u64,
    form: Form,
    lines: Lines,
    slice: Vec<u8>,
}

enum Form {
    /// Not known yet: so many bytes were read, all of them the magic number's.
    Unknown(usize),
    /// Plain text.
    Plain,
    /// In the gzip member that begins at the byte `start`, or in front of it.
    Gzip { start: u64, inflate: Decompress },
}

impl Form {
    fn member(start: u64) -> Self {
        Self::Gzip { start, inflate: Decompress::new_gzip(15) }
    }
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            read: 0,
            text: 0,
            max_text: MAX_TEXT_BYTES,
            form: Form::Unknown(0),
            lines: Lines::default(),
            slice: vec![0; SLICE_BYTES],
        }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), ReadError> {
        while let (Form::Unknown(matched), Some(first)) = (&mut self.form, bytes.first()) {
            if *first != GZIP_MAGIC[*matched] {
                self.begin_plain(sink)?;
            } else if *matched == 0 {
                *matched = 1;
                bytes = &bytes[1..];
            } else {
                bytes = &bytes[1..];
                self.form = Form::member(0);
                self.inflate(&GZIP_MAGIC, sink)?;
            }
        }
        match self.form {
            Form::Unknown(_) => Ok(()),
            Form::Plain => {
                self.read += bytes.len() as u64;
                Ok(self.lines.push(bytes, sink)?)
            }
            Form::Gzip { .. } => self.inflate(bytes, sink),
        }
    }

    /// Ends reading where the object ends; returns how many bytes it has.
    pub(crate) fn finish(mut self, sink: &mut impl Sink) -> Result<u64, ReadError> {
        match self.form {
            Form::Unknown(_) => self.begin_plain(sink)?,
            Form::Gzip { start, .. } if self.read > start => {
                return Err(ReadError::Damaged(Damage { offset: start, flaw: Flaw::CutShort }));
            }
            Form::Plain | Form::Gzip { .. } => {}
        }
        self.lines.end(sink)?;
        Ok(self.read)
    }

    /// Begins reading plain text. Hands on the bytes read so far, which turned out not to be the beginning of gzip.
    fn begin_plain(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        let Form::Unknown(matched) = std::mem::replace(&mut self.form, Form::Plain) else { return Ok(()) };
        self.read += matched as u64;
        self.lines.push(&GZIP_MAGIC[..matched], sink)
    }

    /// Decompresses bytes, a slice of text at a time.
    fn inflate(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), ReadError> {
        // A full slice may have more text after it, without any more bytes.
        let mut is_full = false;
        while !bytes.is_empty() || is_full {
            let Form::Gzip { start, inflate } = &mut self.form else { return Ok(()) };
            let damaged = |flaw| ReadError::Damaged(Damage { offset: *start, flaw });
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(bytes, &mut self.slice, FlushDecompress::None);
            let status = status.map_err(|_| damaged(Flaw::Corrupt))?;
            // Both differences are at most as long as the slices given.
            let taken = usize::try_from(inflate.total_in() - before_in).unwrap_or(usize::MAX);
            let made = usize::try_from(inflate.total_out() - before_out).unwrap_or(usize::MAX);
            if taken == 0 && made == 0 && !bytes.is_empty() {
                // A decoder that neither takes nor gives would never do anything else.
                return Err(damaged(Flaw::Corrupt));
            }
            self.read += taken as u64;
            self.text += made as u64;
            if self.text > self.max_text && self.text / MAX_RATIO > self.read {
                return Err(damaged(Flaw::Bomb));
            }
            self.lines.push(&self.slice[..made], sink)?;
            bytes = &bytes[taken..];
            is_full = made == self.slice.len();
            if status == Status::StreamEnd {
                self.form = Form::member(self.read);
                is_full = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        lines::{PART_BYTES, is_blank},
        memory::{cut, gzip},
        quarantined::BadLine,
    };

    /// The lines of an object.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct All(Vec<Vec<u8>>);

    impl Sink for All {
        fn line(&mut self, _: u64, line: &[u8]) -> io::Result<()> {
            self.0.push(line.to_vec());
            Ok(())
        }

        fn bad_line(&mut self, _: &BadLine<'_>) -> io::Result<()> {
            Err(io::Error::other("no line is so long"))
        }
    }

    /// Returns the lines of an object and its length, or its damage.
    fn read_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(Vec<Vec<u8>>, u64), Damage> {
        let (mut reader, mut all) = (Reader::new(), All::default());
        let read = || {
            for piece in pieces {
                reader.push(piece, &mut all)?;
            }
            reader.finish(&mut all)
        };
        match read() {
            Ok(length) => Ok((all.0, length)),
            Err(ReadError::Damaged(damage)) => Err(damage),
            Err(ReadError::Sink(error)) => panic!("{error}"),
        }
    }

    fn read(object: &[u8]) -> Result<(Vec<Vec<u8>>, u64), Damage> {
        read_pieces([object].into_iter())
    }

    /// The most that comes at once.
    struct Largest(usize);

    impl Sink for Largest {
        fn line(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("there is no line"))
        }

        fn bad_line(&mut self, line: &BadLine<'_>) -> io::Result<()> {
            self.0 = line.bytes.len().max(self.0);
            Ok(())
        }
    }

    #[test]
    fn text_that_expands_a_thousandfold_is_read_in_bounded_memory() {
        let member = gzip(&vec![b' '; 64 << 20]);
        assert!(member.len() < 100_000);
        let (mut reader, mut sink) = (Reader::new(), Largest(0));
        reader.push(&member, &mut sink).unwrap();
        assert_eq!(reader.slice.len(), SLICE_BYTES);
        reader.finish(&mut sink).unwrap();
        assert_eq!(sink.0, PART_BYTES);
    }

    #[test]
    fn a_bomb_is_damage_and_a_long_text_of_a_long_object_is_not() {
        let bomb = gzip(&b"   \n".repeat(1 << 20));
        let members = [gzip(b"a\n"), bomb.clone(), bomb].concat();
        let mut reader = Reader { max_text: 5 << 20, ..Reader::new() };
        let Err(ReadError::Damaged(damage)) = reader.push(&members, &mut All::default()) else { panic!() };
        assert_eq!(damage.flaw, Flaw::Bomb);
        assert!(damage.offset > 1_000 && damage.offset < members.len() as u64 - 1_000, "{damage}");

        let text: String = (0..1_000_000).map(|n| format!("{n}\n")).collect();
        let mut reader = Reader { max_text: 5 << 20, ..Reader::new() };
        let mut all = All::default();
        reader.push(&gzip(text.as_bytes()), &mut all).unwrap();
        reader.finish(&mut all).unwrap();
        assert_eq!(all.0.len(), 1_000_000);
    }

    /// The text that another decoder finds.
    fn decoded(object: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        MultiGzDecoder::new(object).read_to_end(&mut text).unwrap();
        text
    }

    #[test]
    fn an_object_cut_anywhere_but_between_members_is_damaged() {
        // Enough text for dynamic code tables, and some that does not compress.
        let noise = |n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let noise = (0..200).map(noise).collect::<Vec<_>>().concat();
        let first =
            (0..60).map(|n| format!("line {n} of many that are alike\n")).collect::<Vec<_>>().concat();
        let first = gzip(format!("{first}{noise}\nbegun ").as_bytes());
        let object = [&first[..], &gzip(b"and ended\nlast\n")].concat();
        for length in 2..=object.len() {
            let cut = &object[..length];
            let expected = if length == first.len() || length == object.len() {
                let text = decoded(cut);
                Ok((lines_of(&text).into_iter().map(<[u8]>::to_vec).collect(), length as u64))
            } else {
                let offset = if length < first.len() { 0 } else { first.len() as u64 };
                Err(Damage { offset, flaw: Flaw::CutShort })
            };
            assert_eq!(read(cut), expected, "{length}");
            assert_eq!(read_pieces(cut.chunks(1)), expected, "{length}");
        }
    }

    #[test]
    fn text_after_a_full_slice_is_read_although_no_more_bytes_come() {
        for lines in [65, 66, 131, 132, 656] {
            let text = format!("{}\n", "a".repeat(999)).repeat(lines);
            assert_eq!(read_pieces(gzip(text.as_bytes()).chunks(7)).unwrap().0.len(), lines);
        }
    }

    #[test]
    fn bytes_after_a_gzip_member_that_are_not_another_one_are_damage() {
        let member = gzip(b"a\n");
        for garbage in [&b"\x1f\x00"[..], b"abc", b"\n\n", b"{\"a\":1}\n"] {
            let damage = read(&[&member[..], garbage].concat()).unwrap_err();
            assert_eq!(damage, Damage { offset: member.len() as u64, flaw: Flaw::Corrupt });
        }
    }

    /// Members of lines, and the text of them all.
    fn members() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
        let text = prop_oneof!["[a-c\n]{0,200}", "[a-c\n]{0,20}", "(some words, often[ \n]){0,60}"];
        prop::collection::vec(text, 1..4).prop_map(|texts| {
            (texts.iter().map(|text| gzip(text.as_bytes())).collect(), texts.concat().into_bytes())
        })
    }

    fn lines_of(text: &[u8]) -> Vec<&[u8]> {
        text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_lines_and_the_damage_do_not_depend_on_the_pieces(
            (members, _) in members(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..3),
            length in any::<prop::sample::Index>(),
            tail in prop::collection::vec(any::<u8>(), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut object = members.concat();
            for (at, flip) in &flips {
                let at = at.index(object.len());
                object[at] ^= flip;
            }
            if flips.len() == 1 { object.truncate(length.index(object.len() + 1)); }
            object.extend(tail);
            let whole = read(&object);
            prop_assert_eq!(&whole, &read_pieces(cut(&object, &cuts).into_iter()));
            prop_assert_eq!(&whole, &read_pieces(object.chunks(1)));
        }

        #[test]
        fn a_flipped_byte_never_changes_a_line(
            (members, text) in members(), at in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let mut object = members.concat();
            let at = at.index(object.len());
            object[at] ^= flip;
            // Without its magic number, it is a text.
            prop_assume!(at > 1);
            match read(&object) {
                // In the header there are bytes that say nothing of the text.
                Ok((lines, _)) => prop_assert_eq!(lines, lines_of(&text)),
                Err(damage) => prop_assert!(damage.offset <= at as u64),
            }
        }

        #[test]
        fn any_bytes_are_text_or_damage(
            bytes in prop::collection::vec(any::<u8>(), 0..300), as_gzip in any::<bool>(),
        ) {
            let object = if as_gzip { [&gzip(b"a\n")[..10], &bytes].concat() } else { bytes };
            let found = read(&object);
            if !object.starts_with(&GZIP_MAGIC) {
                let lines = object.split(|byte| *byte == b'\n').filter(|line| !is_blank(line));
                let (found, length) = found.unwrap();
                prop_assert_eq!((found.len(), length), (lines.count(), object.len() as u64));
            }
        }
    }
}
