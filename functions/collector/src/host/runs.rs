//! Runs of functions over a user's events, which a host may offer.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use weir_core::{
    EventType, Hour, Timestamp, Username,
    ports::{Content, PortError},
};

/// A run that a client asks for. The names of functions are only looked up: nothing of it is ever part of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The name of the function.
    pub function: String,
    /// The type of events.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// The first hour.
    #[serde(with = "as_text")]
    pub from: Option<Hour>,
    /// The hour before which it ends.
    #[serde(with = "as_text")]
    pub to: Option<Hour>,
    /// The name of the function that gets all results as one input.
    pub reduce: Option<String>,
}

/// An hour as the text of it.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use weir_core::Hour;

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(hour: &Option<Hour>, to: S) -> Result<S::Ok, S::Error> {
        match hour {
            Some(hour) => to.collect_str(hour),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hour>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It goes on.
    Running,
    /// It has a result.
    Done,
    /// It has no result, and `error` says why.
    Failed,
    /// The server ended before the run did.
    Lost,
}

impl RunState {
    /// All of them, by name.
    pub(crate) const ALL: [&str; 4] = ["running", "done", "failed", "lost"];
}

impl fmt::Display for RunState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Lost => "lost",
        })
    }
}

/// A run as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id: letters, digits and hyphens.
    #[serde(rename = "run")]
    pub id: String,
    /// What was asked for.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// How far it has come.
    pub state: RunState,
    /// How many objects are chosen, once that is known.
    pub objects: Option<u64>,
    /// How many of them have been mapped.
    pub mapped: u64,
    /// The size of the result, once there is one.
    pub bytes: Option<u64>,
    /// Why there is no result.
    pub error: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it is removed, with its result.
    pub expires_at: Option<Timestamp>,
}

/// The result of a run.
pub struct RunResult {
    /// Its size in bytes.
    pub length: u64,
    /// Its bytes.
    pub content: Content,
}

/// Why a run was not started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// There is no function of this name that clients may run.
    #[error("there is no function {0:?}")]
    NoSuchFunction(String),
    /// As many runs as the user, or as all users may have at once are under way.
    #[error("too many runs are under way")]
    TooMany,
    /// It cannot be started.
    #[error(transparent)]
    Failed(#[from] PortError),
}

/// Runs functions that the operator has registered, over the events of one user.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Starts a run over the user's own events.
    async fn start(&self, username: &Username, wanted: Wanted) -> Result<Run, NotStarted>;

    /// Returns a run of the user's; `None` if no run has this id, or if it was removed since.
    async fn find(&self, username: &Username, id: &str) -> Result<Option<Run>, PortError>;

    /// Opens the result of a run of the user's that is done.
    async fn result(&self, username: &Username, id: &str) -> Result<Option<RunResult>, PortError>;
}

/// A host without functions.
#[async_trait]
impl Runs for () {
    async fn start(&self, _: &Username, wanted: Wanted) -> Result<Run, NotStarted> {
        Err(NotStarted::NoSuchFunction(wanted.function))
    }

    async fn find(&self, _: &Username, _: &str) -> Result<Option<Run>, PortError> {
        Ok(None)
    }

    async fn result(&self, _: &Username, _: &str) -> Result<Option<RunResult>, PortError> {
        Ok(None)
    }
}
