//! The hours that an audit is about.

use weir_core::Hour;

/// The hours to recount: from the first (inclusive) to the second (exclusive).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hours {
    pub(super) from: Option<Hour>,
    pub(super) to: Option<Hour>,
}

impl Hours {
    pub(super) fn all(self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    pub(super) fn have(self, hour: Hour) -> bool {
        self.from.is_none_or(|from| hour >= from) && self.to.is_none_or(|to| hour < to)
    }
}
