//! The runs that are under way, and what they share.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use collector::Run;
use parking_lot::{Condvar, Mutex};
use weir_core::{Clock, Username, ports::LakeObjects};

use super::{functions::Functions, kept::Kept};
use crate::child::Running;

/// What all runs of a data folder share.
pub(super) struct Shared {
    pub(super) data: PathBuf,
    pub(super) functions: Functions,
    pub(super) kept: Kept,
    pub(super) lake: Arc<dyn LakeObjects>,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether the disk has space for results.
    pub(super) has_room: Box<dyn Fn() -> bool + Send + Sync>,
    /// How many runs may be under way.
    pub(super) most: usize,
    /// The most bytes of a run's results, and the longest that it may take.
    pub(super) bounds: (u64, Duration),
    pub(super) active: Mutex<State>,
    /// Notified when a run ends.
    pub(super) changed: Condvar,
}

/// The runs under way, by their ids, and whether no other starts.
#[derive(Default)]
pub(super) struct State {
    pub(super) runs: HashMap<String, Active>,
    pub(super) is_stopped: bool,
}

/// A run under way.
pub(super) struct Active {
    pub(super) username: Username,
    pub(super) run: Arc<Mutex<Run>>,
    pub(super) running: Arc<Running>,
}

impl Shared {
    /// Returns whether runs are being ended.
    pub(super) fn is_stopped(&self) -> bool {
        self.active.lock().is_stopped
    }

    /// Frees the place of a run that has ended.
    pub(super) fn free(&self, id: &str) {
        self.active.lock().runs.remove(id);
        self.changed.notify_all();
    }
}
