//! The environment of child processes: few variables of this process, as others may hold secrets that a child could print.

use std::{env, ffi::OsString};

/// What programs need to find themselves, their language and their zone.
const FEW: [&str; 7] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH"];

/// What programs need on a terminal besides.
const OF_TERMINALS: [&str; 6] = ["TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "USER"];

/// Returns the variables that every child gets.
pub(crate) fn few() -> impl Iterator<Item = (&'static str, OsString)> {
    set(&FEW)
}

/// Returns those that a child on a terminal gets besides.
pub(crate) fn of_terminals() -> impl Iterator<Item = (&'static str, OsString)> {
    set(&OF_TERMINALS)
}

fn set(names: &'static [&'static str]) -> impl Iterator<Item = (&'static str, OsString)> {
    names.iter().filter_map(|name| Some((*name, env::var_os(name)?)))
}
