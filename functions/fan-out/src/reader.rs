//! From an object's bytes, however they are cut, to its lines.
//!
//! An object is gzip of any number of members, or plain text; its first two bytes tell. What is found in it
//! depends on its bytes only, never on the pieces in which they came, and takes bounded memory whatever they
//! expand to.
//!
//! **Damage.** A line counts as read only if nothing speaks against it. In a gzip member whose checksum does
//! not match, any line may be wrong (one flipped bit in a username is copied into every line that refers back
//! to it), and the checksum comes last. So a reader that meets damage gives up and says where the damaged
//! member begins; whoever reads starts over with a reader that knows it, which reads up to there and puts the
//! rest aside as bytes. A member that is only cut short is read as far as it goes: what is there of it is
//! right.

use std::{fmt, io};

use flate2::{Decompress, FlushDecompress, Status};
use memchr::memchr;

use crate::aside::{Aside, Place};

/// The longest line that is taken for one. Records have at most [`weir_core::MAX_RECORD_BYTES`], 900 KiB; the
/// rest is room for files that people put there with white space in them.
pub(crate) const MAX_LINE_BYTES: usize = 1 << 20;

/// The parts in which longer lines and undecoded bytes are put aside.
pub(crate) const PART_BYTES: usize = 1 << 18;

/// How much is decompressed at a time.
const SLICE_BYTES: usize = 1 << 16;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where a batch is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// The byte of the object, from 0, at which the member begins that is unsound, or what should have been
    /// one.
    pub offset: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The object ends inside a gzip member. Its whole lines are filed, though no checksum vouches for them.
    CutShort,
    /// A gzip member does not decompress, or is not what its checksum says. No line of it is filed.
    Corrupt,
    /// Behind a gzip member stands something else.
    NotGzip,
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, flaw } = self;
        match flaw {
            Flaw::CutShort => {
                write!(out, "the object ends inside the gzip member that begins at byte {offset}")
            }
            Flaw::Corrupt => write!(out, "the gzip member that begins at byte {offset} is damaged"),
            Flaw::NotGzip => write!(out, "what begins at byte {offset}, behind a gzip member, is none"),
        }
    }
}

/// Takes what a reader finds, in the order of the object.
pub(crate) trait Sink {
    /// A line that is not blank, without what ended it; `number` counts from 1.
    fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()>;

    /// Something that is no whole line.
    fn aside(&mut self, aside: &Aside<'_>) -> io::Result<()>;
}

/// Why a reader stops.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// Start over, with a reader that knows of the damage.
    #[error("{0}")]
    Damaged(Damage),
    /// The damage that the reader was told of is not there.
    #[error("the object is not the one in which the damage was found")]
    Changed,
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] io::Error),
}

/// What a reader has seen when it is through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many bytes the object has.
    pub(crate) bytes: u64,
    /// What is wrong with it.
    pub(crate) damage: Option<Damage>,
}

/// Reads one object.
pub(crate) struct Reader {
    known: Option<Damage>,
    /// How many bytes were read so far.
    at: u64,
    form: Form,
    lines: Lines,
    slice: Vec<u8>,
    rest: Vec<u8>,
}

enum Form {
    /// Where a gzip member may begin, and how much of its magic number was there already.
    Boundary { start: u64, matched: usize },
    /// In a gzip member.
    Member(Member),
    /// In plain text.
    Plain,
}

impl Reader {
    /// A reader of an object whose damage is known, if it has any.
    pub(crate) fn new(known: Option<Damage>) -> Self {
        Self {
            known,
            at: 0,
            form: Form::Boundary { start: 0, matched: 0 },
            lines: Lines::default(),
            slice: vec![0; SLICE_BYTES],
            rest: Vec::new(),
        }
    }

    /// Reads on.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<(), Halt> {
        let Some(damage) = self.known else { return self.decode(bytes, sink) };
        let sound = usize::try_from(damage.offset.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let (sound, rest) = bytes.split_at(sound.min(bytes.len()));
        self.decode(sound, sink)?;
        if rest.is_empty() {
            return Ok(());
        }
        if self.at == damage.offset {
            if !matches!(self.form, Form::Boundary { matched: 0, .. }) {
                return Err(Halt::Changed);
            }
            self.lines.end_cut(damage, sink)?;
        }
        self.put_rest_aside(damage, rest, sink)?;
        Ok(())
    }

    /// Ends the reading where the object ends.
    pub(crate) fn finish(mut self, sink: &mut impl Sink) -> Result<Seen, Halt> {
        let mut seen = Seen { bytes: self.at, damage: self.known };
        if let Some(damage) = self.known {
            if self.at <= damage.offset {
                return Err(Halt::Changed);
            }
            let offset = self.at - self.rest.len() as u64;
            put_bytes_aside(damage, offset, &self.rest, sink)?;
            return Ok(seen);
        }
        match self.form {
            Form::Boundary { start: 0, matched } => {
                self.lines.push(&GZIP_MAGIC[..matched], sink)?;
                self.lines.end(sink)?;
            }
            Form::Boundary { matched: 0, .. } | Form::Plain => self.lines.end(sink)?,
            Form::Boundary { start, .. } => {
                return Err(Halt::Damaged(Damage { offset: start, flaw: Flaw::NotGzip }));
            }
            Form::Member(Member { start, .. }) => {
                // Bytes that were read and gave no text yet (a part of a header, of a code table, of the
                // checksum) hold nothing that could be recovered.
                let damage = Damage { offset: start, flaw: Flaw::CutShort };
                self.lines.end_cut(damage, sink)?;
                put_bytes_aside(damage, self.at, &[], sink)?;
                seen.damage = Some(damage);
            }
        }
        Ok(seen)
    }

    /// Reads bytes before the damage.
    fn decode(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Halt> {
        while let Some(first) = bytes.first() {
            match &mut self.form {
                Form::Plain => {
                    self.at += bytes.len() as u64;
                    return Ok(self.lines.push(bytes, sink)?);
                }
                Form::Boundary { matched, .. } if *first == GZIP_MAGIC[*matched] => {
                    *matched += 1;
                    self.at += 1;
                    bytes = &bytes[1..];
                    if *matched == GZIP_MAGIC.len() {
                        let mut member = Member::new(self.at - GZIP_MAGIC.len() as u64);
                        // The decoder wants to see them too.
                        member.read(&GZIP_MAGIC, &mut self.slice, &mut self.lines, sink)?;
                        self.form = Form::Member(member);
                    }
                }
                Form::Boundary { start: 0, matched } => {
                    let matched = *matched;
                    self.form = Form::Plain;
                    self.lines.push(&GZIP_MAGIC[..matched], sink)?;
                }
                Form::Boundary { start, .. } => {
                    return Err(Halt::Damaged(Damage { offset: *start, flaw: Flaw::NotGzip }));
                }
                Form::Member(member) => {
                    let Inflated { taken, ended } =
                        member.read(bytes, &mut self.slice, &mut self.lines, sink)?;
                    self.at += taken as u64;
                    bytes = &bytes[taken..];
                    if ended {
                        self.form = Form::Boundary { start: self.at, matched: 0 };
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts bytes behind the damage aside, in parts that do not depend on the pieces in which they come.
    fn put_rest_aside(&mut self, damage: Damage, mut bytes: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        while !bytes.is_empty() {
            let (next, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.rest.len()));
            self.rest.extend_from_slice(next);
            self.at += next.len() as u64;
            bytes = later;
            if self.rest.len() == PART_BYTES {
                put_bytes_aside(damage, self.at - PART_BYTES as u64, &self.rest, sink)?;
                self.rest.clear();
            }
        }
        Ok(())
    }
}

/// A gzip member on its way to text.
struct Member {
    start: u64,
    inflate: Decompress,
}

/// What a step of decompressing did.
struct Inflated {
    /// How many bytes it took.
    taken: usize,
    /// Whether the member ended with them.
    ended: bool,
}

impl Member {
    fn new(start: u64) -> Self {
        Self { start, inflate: Decompress::new_gzip(15) }
    }

    /// Decompresses up to the end of the member or of the bytes, a slice at a time.
    fn read(
        &mut self,
        bytes: &[u8],
        slice: &mut [u8],
        lines: &mut Lines,
        sink: &mut impl Sink,
    ) -> Result<Inflated, Halt> {
        let corrupt = Halt::Damaged(Damage { offset: self.start, flaw: Flaw::Corrupt });
        let mut taken = 0;
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(&bytes[taken..], slice, FlushDecompress::None);
            // Both differences are at most as long as the slices given.
            let step = usize::try_from(self.inflate.total_in() - before_in).unwrap_or(usize::MAX);
            let text = usize::try_from(self.inflate.total_out() - before_out).unwrap_or(usize::MAX);
            let Ok(status) = status else { return Err(corrupt) };
            lines.push(&slice[..text], sink)?;
            taken += step;
            // Room to spare means that there is no more text in what was given so far.
            let ended = status == Status::StreamEnd;
            if ended || taken == bytes.len() && text < slice.len() {
                return Ok(Inflated { taken, ended });
            }
            // A decoder that neither takes nor gives would never do anything else.
            if step == 0 && text == 0 {
                return Err(corrupt);
            }
        }
    }
}

fn put_bytes_aside(damage: Damage, offset: u64, bytes: &[u8], sink: &mut impl Sink) -> io::Result<()> {
    // Where the object is cut short there are no bytes, but it must be told.
    if bytes.is_empty() && damage.flaw != Flaw::CutShort {
        return Ok(());
    }
    sink.aside(&Aside { place: Place::Object { offset }, reason: &damage.to_string(), bytes })
}

/// Text on its way to whole lines.
#[derive(Default)]
struct Lines {
    /// How many lines have ended.
    ended: u64,
    /// What is there of the line that has not.
    pending: Vec<u8>,
    /// How many parts of it were put aside because it is too long.
    parts: u64,
}

impl Lines {
    fn push(&mut self, mut text: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        while let Some(end) = memchr(b'\n', text) {
            let line = &text[..end];
            text = &text[end + 1..];
            if self.is_fresh() && line.len() <= MAX_LINE_BYTES {
                self.ended += 1;
                hand_over(self.ended, line, sink)?;
            } else {
                self.extend(line, sink)?;
                self.end_line(sink)?;
            }
        }
        self.extend(text, sink)
    }

    /// Ends the text. A last line without a newline is a line.
    fn end(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        if self.is_fresh() { Ok(()) } else { self.end_line(sink) }
    }

    /// Ends the text where more of it should have come: nobody knows whether a last line is whole.
    fn end_cut(&mut self, damage: Damage, sink: &mut impl Sink) -> io::Result<()> {
        let reason = format!("not known to be a whole line: {damage}");
        if self.parts > 0 {
            self.put_part_aside(&reason, sink)?;
        } else if !is_blank(&self.pending) {
            let place = Place::Line { number: self.ended + 1, part: None };
            sink.aside(&Aside { place, reason: &reason, bytes: &self.pending })?;
        }
        self.pending.clear();
        self.parts = 0;
        Ok(())
    }

    fn is_fresh(&self) -> bool {
        self.pending.is_empty() && self.parts == 0
    }

    fn extend(&mut self, mut text: &[u8], sink: &mut impl Sink) -> io::Result<()> {
        loop {
            let limit = if self.parts == 0 { MAX_LINE_BYTES } else { PART_BYTES };
            let room = limit - self.pending.len();
            if text.len() <= room {
                self.pending.extend_from_slice(text);
                return Ok(());
            }
            // It is longer than it may be. The parts begin where they would in any other cut of the text.
            self.pending.extend_from_slice(&text[..room]);
            text = &text[room..];
            let pending = std::mem::take(&mut self.pending);
            for part in pending.chunks(PART_BYTES) {
                self.pending.extend_from_slice(part);
                self.put_part_aside(&too_long(), sink)?;
            }
        }
    }

    fn end_line(&mut self, sink: &mut impl Sink) -> io::Result<()> {
        if self.parts > 0 {
            self.put_part_aside(&too_long(), sink)?;
        } else {
            hand_over(self.ended + 1, &self.pending, sink)?;
        }
        self.pending.clear();
        self.parts = 0;
        self.ended += 1;
        Ok(())
    }

    /// Puts what is pending aside as the next part of a line that is too long.
    fn put_part_aside(&mut self, reason: &str, sink: &mut impl Sink) -> io::Result<()> {
        self.parts += 1;
        let place = Place::Line { number: self.ended + 1, part: Some(self.parts) };
        sink.aside(&Aside { place, reason, bytes: &self.pending })?;
        self.pending.clear();
        Ok(())
    }
}

fn too_long() -> String {
    format!("not a record: longer than {MAX_LINE_BYTES} bytes")
}

/// Hands a whole line over, unless there is nothing in it.
fn hand_over(number: u64, line: &[u8], sink: &mut impl Sink) -> io::Result<()> {
    if is_blank(line) {
        return Ok(());
    }
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    sink.line(number, line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))
}

fn is_blank(line: &[u8]) -> bool {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii().is_empty()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;
    use proptest::prelude::*;

    use super::*;
    use crate::memory::{cut, gzip};

    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Found {
        Line(u64, Vec<u8>),
        Aside(Place, String, Vec<u8>),
    }

    #[derive(Default)]
    struct Record(Vec<Found>);

    impl Sink for Record {
        fn line(&mut self, number: u64, line: &[u8]) -> io::Result<()> {
            self.0.push(Found::Line(number, line.to_vec()));
            Ok(())
        }

        fn aside(&mut self, aside: &Aside<'_>) -> io::Result<()> {
            self.0.push(Found::Aside(aside.place, aside.reason.to_owned(), aside.bytes.to_vec()));
            Ok(())
        }
    }

    impl Record {
        fn lines(&self) -> Vec<&[u8]> {
            let lines = self.0.iter().filter_map(|found| match found {
                Found::Line(_, line) => Some(&line[..]),
                Found::Aside(..) => None,
            });
            lines.collect()
        }

        /// All bytes that were put aside undecoded, from where on.
        fn rest(&self) -> Option<(u64, Vec<u8>)> {
            let mut rest: Option<(u64, Vec<u8>)> = None;
            for found in &self.0 {
                if let Found::Aside(Place::Object { offset }, _, bytes) = found {
                    let (start, rest) = rest.get_or_insert((*offset, Vec::new()));
                    assert_eq!(*offset, *start + rest.len() as u64);
                    rest.extend_from_slice(bytes);
                }
            }
            rest
        }

        /// All text that was put aside.
        fn text_aside(&self) -> Vec<u8> {
            let text = |found: &Found| match found {
                Found::Aside(Place::Line { .. }, _, text) => text.clone(),
                Found::Aside(..) | Found::Line(..) => Vec::new(),
            };
            self.0.iter().flat_map(text).collect()
        }
    }

    fn attempt<'a>(
        known: Option<Damage>,
        pieces: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(Record, Seen), Halt> {
        let (mut reader, mut record) = (Reader::new(known), Record::default());
        for piece in pieces {
            reader.push(piece, &mut record)?;
            assert!(reader.lines.pending.capacity() <= 2 * MAX_LINE_BYTES);
            assert!(reader.rest.capacity() <= 2 * PART_BYTES);
        }
        let seen = reader.finish(&mut record)?;
        Ok((record, seen))
    }

    /// Reads an object, a second time if it is damaged.
    fn read_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone) -> (Record, Seen) {
        match attempt(None, pieces.clone()) {
            Err(Halt::Damaged(damage)) => attempt(Some(damage), pieces).unwrap(),
            other => other.unwrap(),
        }
    }

    fn read(object: &[u8]) -> (Record, Seen) {
        read_pieces([object].into_iter())
    }

    #[test]
    fn lines_are_numbered_as_they_stand_in_the_text() {
        let (record, _) = read(b"\na\r\n \n\xef\xbb\xbfb\n\r\nc");
        let expected = [(2, "a"), (4, "b"), (6, "c")].map(|(n, line)| Found::Line(n, line.into()));
        assert_eq!(record.0, expected);
    }

    #[test]
    fn only_one_byte_order_mark_at_the_beginning_of_a_line_is_dropped() {
        let mark = "\u{feff}";
        let (record, _) = read(format!("{mark}{mark}a\nb{mark}c\n").as_bytes());
        assert_eq!(record.lines(), [format!("{mark}a").as_bytes(), format!("b{mark}c").as_bytes()]);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_a_line_and_a_longer_one_comes_in_parts() {
        for length in [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 << 20, (3 << 20) + 7] {
            let line: Vec<u8> = (0..length).map(|n| b"0123456789"[n % 10]).collect();
            let text = [&b"first\n"[..], &line, b"\nlast"].concat();
            for pieces in [text.len(), 1 << 16, 99_999] {
                for object in [text.clone(), gzip(&text)] {
                    let (record, _) = read_pieces(object.chunks(pieces));
                    assert_eq!(record.0[0], Found::Line(1, b"first".into()));
                    assert_eq!(record.0.last(), Some(&Found::Line(3, b"last".into())));
                    let middle = &record.0[1..record.0.len() - 1];
                    if length <= MAX_LINE_BYTES {
                        assert!(middle == [Found::Line(2, line.clone())]);
                    } else {
                        let parts = line.chunks(PART_BYTES).zip(1..).map(|(bytes, part)| {
                            Found::Aside(
                                Place::Line { number: 2, part: Some(part) },
                                too_long(),
                                bytes.to_vec(),
                            )
                        });
                        assert!(middle == parts.collect::<Vec<_>>());
                    }
                }
            }
        }
    }

    /// How much comes at once.
    struct Largest(usize);

    impl Sink for Largest {
        fn line(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("there is no line"))
        }

        fn aside(&mut self, aside: &Aside<'_>) -> io::Result<()> {
            self.0 = aside.bytes.len().max(self.0);
            Ok(())
        }
    }

    #[test]
    fn what_expands_a_thousandfold_is_read_in_bounded_memory() {
        let member = gzip(&vec![b' '; 64 << 20]);
        assert!(member.len() < 100_000);
        let (mut reader, mut sink) = (Reader::new(None), Largest(0));
        reader.push(&member, &mut sink).unwrap();
        assert!(reader.lines.pending.capacity() <= 2 * MAX_LINE_BYTES && reader.slice.len() == SLICE_BYTES);
        reader.finish(&mut sink).unwrap();
        assert_eq!(sink.0, PART_BYTES);
    }

    /// What another decoder makes of the object, as far as it gets.
    fn decoded(object: &[u8]) -> Vec<u8> {
        let (mut decoder, mut text, mut piece) = (MultiGzDecoder::new(object), Vec::new(), [0; 1000]);
        while let Ok(length @ 1..) = decoder.read(&mut piece) {
            text.extend_from_slice(&piece[..length]);
        }
        text
    }

    #[test]
    fn an_object_cut_anywhere_gives_every_whole_line_and_the_rest_aside() {
        // Enough text for dynamic code tables, and some that does not compress.
        let noise = |n: u64| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let noise = (0..200).map(noise).collect::<Vec<_>>().concat();
        let first =
            (0..60).map(|n| format!("line {n} of many that are alike\n")).collect::<Vec<_>>().concat();
        let first = format!("{first}{noise}\nbegun ");
        let members = [gzip(first.as_bytes()), gzip(b"and ended\nlast\n")];
        let object = members.concat();
        for length in 2..=object.len() {
            let (record, seen) = read(&object[..length]);
            let (bytewise, _) = read_pieces(object[..length].chunks(1));
            assert_eq!(record.0, bytewise.0, "{length}");
            let text = decoded(&object[..length]);
            assert!(seen.damage.is_some() || length == members[0].len() || length == object.len());
            let whole = if seen.damage.is_some() {
                text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
            } else {
                text.len()
            };
            let expected: Vec<_> =
                text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
            assert_eq!(record.lines(), expected, "{length}");
            assert_eq!(record.text_aside(), text[whole..], "{length}");
            let told =
                record.0.iter().filter(|found| matches!(found, Found::Aside(Place::Object { .. }, ..)));
            assert_eq!(told.count(), usize::from(seen.damage.is_some()));
        }
        assert_eq!(decoded(&object).len(), first.len() + 15);
    }

    #[test]
    fn an_object_cut_where_a_slice_is_full_gives_the_text_behind_the_slice_too() {
        let text = format!("{}\n", "a".repeat(999)).repeat(SLICE_BYTES / 1000 * 2);
        let object = gzip(text.as_bytes());
        for length in 2..object.len() {
            let (record, _) = read(&object[..length]);
            let found = record.lines().len() * 1000 + record.text_aside().len();
            assert_eq!(found, decoded(&object[..length]).len(), "{length}");
        }
    }

    #[test]
    fn a_long_line_that_is_cut_short_is_put_aside_to_its_last_byte() {
        let text = "0123456789".repeat(150_000);
        let object = gzip(text.as_bytes());
        let (record, seen) = read(&object[..object.len() - 8]);
        assert_eq!(seen.damage, Some(Damage { offset: 0, flaw: Flaw::CutShort }));
        assert!(record.text_aside() == text.as_bytes());
        assert!(record.lines().is_empty());
    }

    #[test]
    fn the_reader_of_known_damage_notices_that_it_is_not_there() {
        let member = gzip(b"a\n");
        let damage = |offset| Some(Damage { offset, flaw: Flaw::Corrupt });
        let length = member.len() as u64;
        for (known, object) in [
            (damage(length), &member[..]),
            (damage(length), &member[..5]),
            (damage(5), &member),
            (damage(0), b""),
            (damage(3), b"plain"),
        ] {
            assert!(matches!(attempt(known, [object].into_iter()), Err(Halt::Changed)));
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
        fn what_is_found_does_not_depend_on_the_pieces(
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
            let (whole, seen) = read(&object);
            let (pieces, seen_in_pieces) = read_pieces(cut(&object, &cuts).into_iter());
            prop_assert_eq!(&whole.0, &pieces.0);
            prop_assert_eq!(seen, seen_in_pieces);
            prop_assert_eq!(seen.bytes, object.len() as u64);
            let (bytewise, _) = read_pieces(object.chunks(1));
            prop_assert_eq!(whole.0, bytewise.0);
        }

        #[test]
        fn a_flipped_byte_never_changes_a_line_and_loses_nothing(
            (members, text) in members(), at in any::<prop::sample::Index>(), flip in 1u8..,
        ) {
            let sound = members.concat();
            let mut object = sound.clone();
            let at = at.index(object.len());
            object[at] ^= flip;
            // Without its magic number, it is a text.
            prop_assume!(at > 1);
            let (record, seen) = read(&object);
            match seen.damage {
                // In the header there are bytes that say nothing of the text.
                None => prop_assert_eq!(record.lines(), lines_of(&text)),
                // The end of the data was not recognised. No checksum vouches for what was read before.
                Some(Damage { flaw: Flaw::CutShort, offset }) => prop_assert!(offset <= at as u64),
                Some(Damage { offset, .. }) => {
                    let kept = usize::try_from(offset).unwrap();
                    prop_assert!(kept <= at);
                    prop_assert_eq!(record.rest(), Some((offset, object[kept..].to_vec())));
                    let before = decoded(&sound[..kept]);
                    let mut found = record.lines();
                    let incomplete = record.text_aside();
                    found.push(&incomplete);
                    let found = found.join(&b'\n');
                    prop_assert_eq!(lines_of(&found), lines_of(&before));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_to_their_end(
            bytes in prop::collection::vec(any::<u8>(), 0..300), as_gzip in any::<bool>(),
        ) {
            let object = if as_gzip { [&gzip(b"a\n")[..10], &bytes].concat() } else { bytes };
            let (record, seen) = read(&object);
            prop_assert_eq!(seen.bytes, object.len() as u64);
            if seen.damage.is_none() && !object.starts_with(&GZIP_MAGIC) {
                let lines = object.split(|byte| *byte == b'\n').filter(|line| !is_blank(line));
                prop_assert_eq!(record.lines().len(), lines.count());
            }
        }
    }
}
