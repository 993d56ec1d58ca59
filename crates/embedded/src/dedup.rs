//! The ids of recent events, by which repeats are recognised: `recent` keeps them, `returning` recovers them from raw.

pub(crate) mod recent;
pub(crate) mod returning;
