//! Batches as the stream delivers them, made from a seed: the same arguments give the same bytes.

use std::io::{self, Write};

use clap::Args;
use weir_core::{EventId, SeededRandom, Timestamp};

/// What a batch holds.
#[derive(Debug, Clone, Args)]
pub(crate) struct Mixture {
    /// Users in a batch.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) users: u64,
    /// Event types in a batch.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) types: u64,
    /// Hours in a batch.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) hours: u64,
    /// Bytes of an event's line, with its newline; it has some 180 at the least.
    #[arg(long, default_value_t = 240)]
    pub(crate) bytes: usize,
    /// How many of a thousand lines are broken.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1000))]
    pub(crate) broken: u64,
}

/// A field that fills a line up to its length, and how a line ends.
const PAGE: &str = ",\"page\":\"";
const END: &str = "}\n";

/// What it is filled with.
const WORDS: [&str; 8] = ["/shop", "/cart", "?id=", "/search", "Mozilla", "&ref=", "/news", "Gecko"];

impl Mixture {
    /// Writes this many lines, for the hours from the one that begins at `first`, in milliseconds. Users, types and hours
    /// take turns, so that each partition has its share.
    pub(crate) fn write(&self, first: u64, events: u64, mut out: impl Write) -> io::Result<()> {
        let random = SeededRandom::new(7);
        let below = |bound: u64| {
            let mut bytes = [0; 8];
            weir_core::Random::fill(&random, &mut bytes);
            u64::from_le_bytes(bytes) % bound
        };
        let mut line = String::new();
        for number in 0..events {
            let at = first + number / self.users / self.types % self.hours * 3_600_000 + below(3_600_000);
            let id = EventId::generate(Timestamp::saturating(at), &random);
            line.clear();
            line += &format!(
                "{{\"time\":{at},\"event_id\":\"{id}\",\"username\":\"user{}\",\"event_type\":\"type_{}\",\"received_at\":{at},\
                 \"session_id\":\"{:08x}\",\"button_id\":\"b{}\"",
                number % self.users,
                number / self.users % self.types,
                below(1 << 32),
                below(50),
            );
            let room = self.bytes.saturating_sub(line.len() + PAGE.len() + END.len() + 1);
            if room > 0 {
                line += PAGE;
                let full = line.len() + room;
                // Words and numbers, as in addresses and names of browsers: they compress as events do.
                while line.len() < full {
                    line += WORDS[usize::try_from(below(8)).unwrap_or_default()];
                    line += &below(10_000).to_string();
                }
                line.truncate(full);
                line.push('"');
            }
            line += END;
            if below(1000) < self.broken {
                // Its end is missing, as where a writer died.
                line.truncate(line.len() / 2);
                line.push('\n');
            }
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_core::{Partition, RecordHead};

    use super::*;

    fn written(mixture: &Mixture, events: u64) -> String {
        let mut text = Vec::new();
        mixture.write(1_795_179_600_000, events, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn each_partition_has_its_share_and_each_line_its_length_whenever_it_is_made() {
        let mixture = Mixture { users: 3, types: 2, hours: 2, bytes: 240, broken: 0 };
        let text = written(&mixture, 1200);
        assert_eq!(text, written(&mixture, 1200));
        let mut partitions: BTreeMap<Partition, u64> = BTreeMap::new();
        for line in text.lines() {
            assert_eq!(line.len() + 1, 240, "{line}");
            *partitions.entry(RecordHead::read(line.as_bytes()).unwrap().partition).or_default() += 1;
        }
        assert_eq!((partitions.len(), partitions.values().min()), (12, Some(&100)));
    }

    #[test]
    fn as_many_lines_are_broken_as_is_asked_for() {
        let mixture = Mixture { users: 1, types: 1, hours: 1, bytes: 0, broken: 100 };
        let text = written(&mixture, 10_000);
        let broken = text.lines().filter(|line| RecordHead::read(line.as_bytes()).is_err()).count();
        // A tenth, by chance; the seed is the same each time.
        assert!((900..1100).contains(&broken), "{broken}");
    }
}
