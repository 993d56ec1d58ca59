//! The ports that need one process that stores all events: following them, and counting them by minute. The engine on AWS
//! has neither, which is what the default methods return.

use async_trait::async_trait;

use super::PortError;
use crate::{
    EventType, Username,
    following::{FollowRequest, FollowedPage},
    minutes::MinuteCounts,
    newest::Position,
};

/// The events of each user, in the order in which they are stored.
#[async_trait]
pub trait FollowEvents: Send + Sync {
    /// Returns the position of the last event stored so far, or of one shortly before it; `None` if the engine's events cannot be
    /// followed.
    fn last(&self) -> Option<Position> {
        None
    }

    /// Waits until an event of any user is stored after a position.
    async fn stored_after(&self, _: &Position) {
        std::future::pending::<()>().await;
    }

    /// Returns a page of a user's events after a position, each exactly once and in the order in which they were stored. The
    /// work is bounded: a page may be empty although there are more events. Forgotten events are in no page.
    async fn page(&self, _: &Username, _: &FollowRequest) -> Result<FollowedPage, PortError> {
        Err(PortError::unavailable("following events", "this engine's events cannot be followed"))
    }
}

/// The live counts of the last hour by minute of the event time.
pub trait CountsByMinute: Send + Sync {
    /// Returns the counts of a user's acknowledged events of a type. `None` if the engine has no such counts.
    fn minutes(&self, _: &Username, _: &EventType) -> Option<MinuteCounts> {
        None
    }
}
