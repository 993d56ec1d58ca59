//! Reports on a file being sent: a progress bar on terminals, and a summary at the end.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::sender::Warned;
use crate::{counted::counted, terminal::on_one_line};

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(200);

/// A file's progress.
pub(super) struct Report {
    name: String,
    begin: Instant,
    bar: ProgressBar,
    read: Arc<AtomicU64>,
    pub(super) sent: u64,
    pub(super) duplicates: u64,
    /// Includes those of interrupted runs.
    pub(super) rejected: u64,
    /// Events that were stored with a warning.
    pub(super) warned: Warned,
    /// How many lines an interrupted run had done.
    before: u64,
}

impl Report {
    /// Makes the report of a file. `bytes` is the file's length, if it has one.
    pub(super) fn new(name: String, bytes: Option<u64>, read: Arc<AtomicU64>, shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{bar:12} {percent}% of {total_bytes}, {eta} left: {wide_msg}",
            None => "{spinner} {bytes}, {elapsed}: {wide_msg}",
        };
        // The template is a constant.
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(TICK);
        Self {
            name,
            begin: Instant::now(),
            bar,
            read,
            sent: 0,
            duplicates: 0,
            rejected: 0,
            warned: Warned::default(),
            before: 0,
        }
    }

    /// Adds the progress of an interrupted run.
    pub(super) fn resume(&mut self, lines: u64, rejected: u64) {
        (self.before, self.rejected) = (lines, rejected);
    }

    /// Draws the progress.
    pub(super) fn draw(&self) {
        self.bar.set_position(self.read.load(Ordering::Relaxed));
        let rejected = match self.rejected {
            0 => String::new(),
            some => format!(", {some} rejected"),
        };
        self.bar.set_message(format!("{:.0} events/s{rejected}", self.per_second()));
    }

    /// Draws the bar at once, however short the run may be.
    pub(super) fn begin(&self) {
        self.draw();
        self.bar.tick();
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    #[expect(clippy::cast_precision_loss, reason = "it is shown without its fraction")]
    fn per_second(&self) -> f64 {
        (self.sent + self.duplicates) as f64 / self.begin.elapsed().as_secs_f64().max(0.001)
    }

    /// Returns whether no line has an outcome.
    pub(super) fn is_empty(&self) -> bool {
        self.sent + self.duplicates + self.rejected + self.before == 0
    }

    /// Returns the closing summary.
    pub(super) fn summary(&self, rejected_file: &Path) -> String {
        let rejected = match self.rejected {
            0 => "0 rejected".to_owned(),
            some => format!("{some} rejected (see {})", rejected_file.display()),
        };
        let before = match self.before {
            0 => String::new(),
            lines => format!("; {} done before", counted(lines, "line was", "lines were")),
        };
        format!(
            "{}: {} sent, {}, {rejected} in {:.1} s, {:.0} events/s{before}",
            self.name,
            self.sent,
            counted(self.duplicates, "duplicate", "duplicates"),
            self.begin.elapsed().as_secs_f64(),
            self.per_second()
        )
    }
    /// Returns a line for each warning with which events were stored.
    pub(super) fn warnings(&self) -> Vec<String> {
        let line = |(warning, events, first): (&str, u64, u64)| {
            let events = counted(events, "event", "events");
            // The server is not trusted with the terminal.
            let warning = on_one_line(warning);
            format!("{}: {events} stored with a warning, first line {first}: {warning}", self.name)
        };
        self.warned.iter().map(line).collect()
    }
}
