//! The ids of recent events, by which repeats are recognised: `recent` keeps them, `returning` recovers them from raw, and
//! `earlier` takes over those of an earlier version.

pub(crate) mod earlier;
mod filter;
mod generations;
mod merge;
pub(crate) mod recent;
pub(crate) mod returning;
mod run;

#[cfg(test)]
mod tests;
