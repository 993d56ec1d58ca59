//! The audit's result for one user's type.

use weir_core::books::Correction;

use super::{
    Whose,
    compare::{self, Difference, Which},
    findings::Finding,
    lake::BadObject,
    latest::WrongValue,
};

/// What differs from the lake.
pub(super) struct Audited {
    pub(super) whose: Whose,
    pub(super) differences: Vec<Difference>,
    pub(super) wrong_values: Vec<WrongValue>,
    pub(super) bad: Vec<BadObject>,
    /// How many events retention removed.
    pub(super) removed: u64,
    /// How many events are only in the Parquet of sealed days on AWS.
    pub(super) not_recounted: u64,
}

impl Audited {
    /// Returns the corrections that make the live counts right; `None` if the lake is in doubt.
    pub(super) fn corrections(&self) -> Option<Vec<Correction>> {
        compare::corrections(&self.whose.0, &self.whose.1, &self.differences)
    }

    pub(super) fn has_wrong_live_counts(&self) -> bool {
        self.differences.iter().any(|difference| difference.which == Which::Live)
    }

    /// Returns the latest values to mend. A newer event can always be made the latest; a value without an event is removed only
    /// if all of the lake could be read.
    pub(super) fn values_to_mend(&self, is_sound: bool) -> impl Iterator<Item = &WrongValue> {
        let is_sound = is_sound && self.bad.is_empty() && self.corrections().is_some();
        self.wrong_values.iter().filter(move |wrong| is_sound || !wrong.is_of_no_event())
    }

    /// Returns what the report says of it.
    pub(super) fn into_findings(self) -> Vec<Finding> {
        let Self { whose, differences, wrong_values, bad, .. } = self;
        let (user, event_type) = &whose;
        let of_objects = bad.into_iter().map(|bad| Finding::of_object(Some(&whose), bad));
        let of_counts = differences.into_iter().map(|it| Finding::of_count(user, event_type, it));
        let of_values = wrong_values.iter().map(|wrong| Finding::of_value(&whose, wrong));
        of_objects.chain(of_counts).chain(of_values).collect()
    }
}
