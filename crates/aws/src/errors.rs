//! What an error of the SDK means to a caller of a port.

use std::error::Error;

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::{display::DisplayErrorContext, metadata::ProvideErrorMetadata};
use weir_core::ports::PortError;

/// Error codes that ask to come back later.
const THROTTLED: [&str; 9] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailableException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// What a failed call may have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and trying again can help.
    None,
    /// Nobody knows: the answer was lost. Trying again can help, where doing it twice does no harm.
    Unknown,
    /// Nothing, and trying again cannot help.
    Refused,
}

/// Tells the effect of a call that failed.
pub(crate) fn effect<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Effect {
    match error {
        SdkError::ConstructionFailure(_) => Effect::Refused,
        // Connecting failed (nothing was sent), or something later did.
        SdkError::DispatchFailure(failure) if failure.is_user() => Effect::Refused,
        SdkError::ServiceError(service) => {
            let throttled = service.err().code().is_some_and(|code| THROTTLED.contains(&code));
            match service.raw().status() {
                _ if throttled => Effect::None,
                status if is(status, 429) || is(status, 503) => Effect::None,
                status if status.is_server_error() => Effect::Unknown,
                _ => Effect::Refused,
            }
        }
        // Timeouts, broken connections, answers that cannot be read.
        _ => Effect::Unknown,
    }
}

fn is(status: StatusCode, number: u16) -> bool {
    status.as_u16() == number
}

/// The error as a port tells it, with everything that the SDK knows of it.
pub(crate) fn port_error<E>(what: &'static str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let text = DisplayErrorContext(error).to_string();
    match effect(error) {
        Effect::None | Effect::Unknown => PortError::unavailable(what, text),
        Effect::Refused => PortError::broken(what, text),
    }
}

/// An item or an answer that is not as Weir writes it.
pub(crate) fn malformed(what: &'static str, detail: impl Into<String>) -> PortError {
    PortError::broken(what, detail.into())
}
