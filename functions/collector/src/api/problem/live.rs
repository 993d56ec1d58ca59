//! The problems of the stream of events and of counts by minute.

use axum::http::StatusCode;

use crate::host::streams::MOST_OF_USER;

/// Why there is no stream of events, or why there are no counts by minute.
#[derive(Debug)]
pub(crate) enum LiveProblem {
    /// This host's events cannot be followed.
    NoStream,
    /// This host has no counts by minute.
    NoMinutes,
    /// The user, or all users together, have as many open streams as are allowed.
    TooManyStreams,
}

impl LiveProblem {
    /// Returns status, type and title.
    pub(super) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            // Not 501: on AWS, an alarm watches the API's own errors.
            Self::NoStream => (StatusCode::NOT_FOUND, "no-stream-here", "No stream of events here"),
            Self::NoMinutes => (StatusCode::NOT_FOUND, "no-minutes-here", "No counts by minute here"),
            Self::TooManyStreams => {
                (StatusCode::SERVICE_UNAVAILABLE, "too-many-streams", "Too many streams at once")
            }
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::NoStream => "On AWS events cannot be streamed. Poll GET /events, and read older pages by GET /events?after= \
                               until an event comes that you know."
                .to_owned(),
            Self::NoMinutes => "On AWS counts are kept by hour: GET /counts/{event_type}/hours.".to_owned(),
            Self::TooManyStreams => format!(
                "This user has {MOST_OF_USER} open streams, or all users together have as many as are allowed. Retry-After \
                 says when to try again."
            ),
        }
    }
}
