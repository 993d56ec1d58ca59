//! The ids of recent events, by which repeats are recognised.

pub(crate) mod recent;
pub(crate) mod returning;
