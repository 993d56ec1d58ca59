//! The progress display while DuckDB works: on a terminal, and nowhere else.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A spinner until the answer begins, and a summary after the answer.
pub(super) struct Waiting {
    bar: ProgressBar,
    begin: Instant,
}

impl Waiting {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        // The template is a constant.
        let style = ProgressStyle::with_template("{spinner} {elapsed}: {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("asking");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, begin: Instant::now() }
    }

    /// Shows the current step.
    pub(super) fn doing(&self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// Prints a message on lines of its own.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("weir: {text}"));
    }

    /// Removes the bar, when the answer begins.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints how long the query took, when the answer is complete.
    pub(super) fn summary(&self) {
        self.clear();
        if io::stderr().is_terminal() {
            eprintln!("weir: answered in {:.1} s", self.begin.elapsed().as_secs_f64());
        }
    }
}
