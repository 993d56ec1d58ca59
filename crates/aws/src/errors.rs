//! Translates errors of the SDK into errors of the ports.

use std::error::Error;

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::StatusCode,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use weir_core::ports::PortError;

/// Error codes that ask the client to retry later.
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

/// The possible effect of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The call had no effect, and a retry can help.
    None,
    /// The answer was lost, so the effect is unknown. A retry can help if the call is idempotent.
    Unknown,
    /// The call had no effect, and a retry cannot help.
    Refused,
}

/// Returns whether a service refused a call because there were too many, or too few resources for it.
fn is_throttling(code: &str) -> bool {
    THROTTLED.contains(&code)
}

/// Returns whether a service answered; throttling counts as an answer.
pub(crate) fn unless_throttled<T, E>(
    what: &'static str,
    answer: &Result<T, SdkError<E, HttpResponse>>,
) -> Result<(), PortError>
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match answer {
        Err(SdkError::ServiceError(service)) if service.err().code().is_some_and(is_throttling) => Ok(()),
        Err(error) => Err(port_error(what, error)),
        Ok(_) => Ok(()),
    }
}

/// Returns whether a part of a transaction was cancelled for throttling. The reasons have codes of their own, without
/// `Exception`. (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>)
pub(crate) fn is_throttled_part(code: &str) -> bool {
    ["ProvisionedThroughputExceeded", "ThrottlingError", "RequestLimitExceeded"].contains(&code)
}

/// Returns the effect of a call that failed.
pub(crate) fn effect<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Effect {
    match error {
        SdkError::ConstructionFailure(_) => Effect::Refused,
        // Either connecting failed (nothing was sent), or a later step did.
        SdkError::DispatchFailure(failure) if failure.is_user() => Effect::Refused,
        SdkError::ServiceError(service) => {
            let throttled = service.err().code().is_some_and(is_throttling);
            match service.raw().status() {
                _ if throttled => Effect::None,
                status if is(status, 429) || is(status, 503) => Effect::None,
                status if status.is_server_error() => Effect::Unknown,
                _ => Effect::Refused,
            }
        }
        // Timeouts, broken connections, unreadable answers.
        _ => Effect::Unknown,
    }
}

fn is(status: StatusCode, number: u16) -> bool {
    status.as_u16() == number
}

/// Converts an error of the SDK into a port's error.
pub(crate) fn port_error<E>(what: &'static str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match effect(error) {
        Effect::None | Effect::Unknown => PortError::unavailable(what, explained(error)),
        Effect::Refused => PortError::broken(what, explained(error)),
    }
}

/// Describes a failed call in one line: the service's message and its request id, or else each cause of a failure on the way.
/// The SDK's own texts are a page for each, with all headers.
pub fn explained<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let SdkError::ServiceError(service) = error {
        let said = service.err().meta();
        let status = service.raw().status().as_u16();
        let code = said.code().map_or_else(|| format!("HTTP status {status}"), str::to_owned);
        let message = said.message().map(|message| format!(": {message}")).unwrap_or_default();
        let request = said.extra("aws_request_id").map(|id| format!(" (request {id})")).unwrap_or_default();
        return format!("{code}{message}{request}");
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text += &format!(": {told}");
        }
        cause = error.source();
    }
    text
}

/// Returns the error for an item or an answer of a form that Weir does not write.
pub(crate) fn malformed(what: &'static str, detail: impl Into<String>) -> PortError {
    PortError::broken(what, detail.into())
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    fn answered(status: u16, said: ErrorMetadata) -> SdkError<GetItemError, HttpResponse> {
        let raw = HttpResponse::new(status.try_into().unwrap(), SdkBody::from("<html>a page</html>"));
        SdkError::service_error(GetItemError::generic(said), raw)
    }

    #[test]
    fn what_a_service_says_is_reported_in_one_line() {
        let said = ErrorMetadata::builder().code("AccessDenied").message("no role allows it");
        let said = said.custom("aws_request_id", "r-1").build();
        assert_eq!(explained(&answered(400, said)), "AccessDenied: no role allows it (request r-1)");
        assert_eq!(explained(&answered(502, ErrorMetadata::builder().build())), "HTTP status 502");
    }

    #[test]
    fn a_service_that_throttles_is_there_and_one_that_refuses_is_not() {
        let said = |code| ErrorMetadata::builder().code(code).build();
        let throttled: Result<(), _> = Err(answered(400, said("ThrottlingException")));
        assert!(unless_throttled("x", &throttled).is_ok());
        let refused: Result<(), _> = Err(answered(400, said("AccessDeniedException")));
        assert!(unless_throttled("x", &refused).is_err());
        let answered: Result<(), SdkError<GetItemError, HttpResponse>> = Ok(());
        assert!(unless_throttled("x", &answered).is_ok());
    }

    #[test]
    fn what_goes_wrong_on_the_way_is_reported_with_its_causes() {
        let cause = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "no server listens");
        let error: SdkError<GetItemError, HttpResponse> =
            SdkError::dispatch_failure(ConnectorError::io(cause.into()));
        assert_eq!(explained(&error), "dispatch failure: io error: no server listens");
    }
}
