//! The progress of an audit's reading, and the bar that shows it.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::{counted::counted, table};

/// Progress of reading so far.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) objects: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// Returns a bar that shows it, of so many users' types.
pub(super) fn bar(progress: &Arc<Progress>, pairs: u64) -> ProgressBar {
    let bar = ProgressBar::new(pairs);
    // Keeps the bar on one line. The bar is drawn on standard error, which is the same terminal if there is one.
    let is_narrow = table::terminal_width().is_some_and(|width| width < 100);
    let template = if is_narrow {
        "{bar:8} {pos}/{len}, {read:24!} {wide_msg}"
    } else {
        "{bar:20} {pos}/{len} users' types, {read}, {elapsed}  {wide_msg}"
    };
    let progress = Arc::clone(progress);
    // The template is a constant.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.with_key("read", move |_: &ProgressState, out: &mut dyn Write| {
        let _ = out.write_str(&described(&progress));
    }));
    // Drawn at once, however short the audit is.
    bar.tick();
    bar
}

/// Describes it for people.
pub(super) fn described(progress: &Progress) -> String {
    let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (objects, events, bytes) = (of(&progress.objects), of(&progress.events), of(&progress.bytes));
    let (objects, events) = (counted(objects, "object", "objects"), counted(events, "event", "events"));
    format!("{objects} with {events}, {} of gzip", bytesize::ByteSize(bytes))
}
