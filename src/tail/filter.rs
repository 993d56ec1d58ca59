//! Selects the events to print: those that match, and only the last ones of those that existed at the start.

use std::{
    collections::VecDeque,
    io::{self, BufWriter, Write},
};

use jiff::tz::TimeZone;
use serde::Deserialize;
use weir_core::{EventType, Username};

use super::text;
use crate::{
    cli::{TailArgs, TailFormat},
    counted::counted,
};

/// Takes events in order, and prints those selected.
pub(super) struct Tail<W: Write> {
    out: BufWriter<W>,
    user: Option<Username>,
    event_type: Option<EventType>,
    rejected: bool,
    format: TailFormat,
    coloured: bool,
    /// The zone in which people read times.
    zone: TimeZone,
    /// The last ones of the earlier events; `None` once they are printed.
    before: Option<VecDeque<Vec<u8>>>,
    last: usize,
}

/// The members of a line that the filter needs.
#[derive(Deserialize)]
struct Head {
    username: String,
    event_type: String,
    claimed_type: Option<String>,
}

impl<W: Write> Tail<W> {
    pub(super) fn new(args: &TailArgs, coloured: bool, out: W) -> Self {
        Self {
            out: BufWriter::new(out),
            user: args.user.clone(),
            event_type: args.event_type.clone(),
            rejected: args.rejected,
            format: args.format,
            coloured,
            zone: TimeZone::system(),
            before: Some(VecDeque::new()),
            last: args.last(),
        }
    }

    /// Returns whether any earlier event is wanted.
    #[cfg(feature = "aws")]
    pub(super) fn wants_some_before(&self) -> bool {
        self.last > 0
    }

    /// Takes the next event's line.
    pub(super) fn take(&mut self, line: &[u8]) -> io::Result<()> {
        if !self.wants(line) {
            return Ok(());
        }
        match &mut self.before {
            None => self.print(line),
            Some(_) if self.last == 0 => Ok(()),
            Some(before) => {
                if before.len() == self.last {
                    before.pop_front();
                }
                before.push_back(line.to_vec());
                Ok(())
            }
        }
    }

    /// Reports events that cannot be read. Unreadable earlier ones are not reported, as they were not asked for by name.
    pub(super) fn gone(&mut self, events: u64) {
        if self.before.is_none() {
            eprintln!(
                "weir: {} cannot be read: the batch was removed from raw, or is damaged",
                counted(events, "event", "events")
            );
        }
    }

    /// Prints the earlier events that were selected, once all earlier ones were taken: later ones are new.
    pub(super) fn caught_up(&mut self) -> io::Result<()> {
        for line in self.before.take().into_iter().flatten() {
            self.print(&line)?;
        }
        self.out.flush()
    }

    fn wants(&self, line: &[u8]) -> bool {
        if self.user.is_none() && self.event_type.is_none() && !self.rejected {
            return true;
        }
        let Ok(head) = serde_json::from_slice::<Head>(line) else { return false };
        let is_rejected = head.event_type == EventType::rejected().as_str();
        let event_type = if self.rejected { head.claimed_type.as_ref() } else { Some(&head.event_type) };
        let has = |wanted: &str, is: Option<&String>| is.is_some_and(|is| is == wanted);
        (is_rejected || !self.rejected)
            && self.user.as_ref().is_none_or(|wanted| has(wanted.as_str(), Some(&head.username)))
            && self.event_type.as_ref().is_none_or(|wanted| has(wanted.as_str(), event_type))
    }

    fn print(&mut self, line: &[u8]) -> io::Result<()> {
        match self.format {
            TailFormat::Json => self.out.write_all(line)?,
            TailFormat::Text => {
                self.out.write_all(text::of_line(line, self.coloured, &self.zone).as_bytes())?;
            }
        }
        self.out.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(last: &str) -> TailArgs {
        let cli = Cli::parse_from(["weir", "tail", "--format", "json", "--last", last]);
        let Some(Command::Tail(args)) = cli.command else { panic!("it is another command") };
        args
    }

    /// Returns the output for some events, three of which are earlier ones.
    fn printed(args: &TailArgs) -> String {
        let event = |id: u32, user: &str, event_type: &str, claimed: &str| {
            format!(r#"{{"i":{id},"username":"{user}","event_type":"{event_type}"{claimed}}}"#)
        };
        let lines = [
            event(1, "a", "t", ""),
            event(2, "b", "rejected", r#","claimed_type":"t""#),
            event(3, "b", "u", ""),
            event(4, "a", "rejected", r#","claimed_type":null"#),
            event(5, "b", "t", ""),
        ];
        let mut out = Vec::new();
        let mut tail = Tail::new(args, false, &mut out);
        for (number, line) in lines.iter().enumerate() {
            if number == 3 {
                tail.caught_up().unwrap();
            }
            tail.take(line.as_bytes()).unwrap();
        }
        tail.caught_up().unwrap();
        drop(tail);
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| line.split([':', ',']).nth(1).unwrap()).collect()
    }

    #[test]
    fn what_is_wanted_is_printed_in_order_after_the_last_ones_before() {
        let user = |name: &str| Some(name.parse().unwrap());
        let event_type = |name: &str| Some(name.parse().unwrap());
        assert_eq!(printed(&args("0")), "45");
        assert_eq!(printed(&args("2")), "2345");
        assert_eq!(printed(&TailArgs { user: user("b"), ..args("9") }), "235");
        assert_eq!(printed(&TailArgs { event_type: event_type("t"), ..args("1") }), "15");
        assert_eq!(printed(&TailArgs { rejected: true, ..args("9") }), "24");
        assert_eq!(printed(&TailArgs { rejected: true, event_type: event_type("t"), ..args("9") }), "2");
    }
}
