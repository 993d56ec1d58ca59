//! What somebody sees who waits for DuckDB's answer: on a terminal, and nowhere else.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A line that turns until the answer begins, and what is said behind the answer.
pub(super) struct Waiting {
    bar: ProgressBar,
    begin: Instant,
}

impl Waiting {
    pub(super) fn start() -> Self {
        let bar = ProgressBar::new_spinner();
        // The template is a constant of ours.
        let style = ProgressStyle::with_template("{spinner} {elapsed}: {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("asking");
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, begin: Instant::now() }
    }

    /// Says what is being done.
    pub(super) fn doing(&self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// Says something in lines of its own.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("weir: {text}"));
    }

    /// The answer begins.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// The answer is there.
    pub(super) fn summary(&self) {
        self.clear();
        if io::stderr().is_terminal() {
            eprintln!("weir: answered in {:.1} s", self.begin.elapsed().as_secs_f64());
        }
    }
}
