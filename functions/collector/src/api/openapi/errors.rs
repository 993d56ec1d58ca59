//! Describes errors: those of an operation, and those that every request may meet.

use serde_json::{Map, Value, json};

use super::reference;
use crate::api::examples::{Of, examples};

/// The errors of every operation, and the names of their shared responses.
pub(super) const ANYWHERE: [(u16, &str); 4] =
    [(400, "MalformedRequest"), (431, "HeadTooLarge"), (500, "Internal"), (503, "Busy")];

/// The errors of requests that match no operation.
const ELSEWHERE: [(u16, &str); 2] = [(404, "NotFound"), (405, "MethodNotAllowed")];

/// Returns the shared responses, by name.
pub(super) fn shared_responses() -> Map<String, Value> {
    let response = |(status, name): (u16, &str)| {
        let mut responses = errors(Of::Any, &[status]);
        let mut response = responses[status.to_string()].take();
        response["headers"] = request_id_header();
        (name.to_owned(), response)
    };
    ANYWHERE.into_iter().chain(ELSEWHERE).map(response).collect()
}

/// Documents the header of each response.
pub(super) fn identified(responses: &mut Map<String, Value>) {
    for response in responses.values_mut() {
        response["headers"] = request_id_header();
    }
}

fn request_id_header() -> Value {
    json!({"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}})
}

/// Returns the errors of a route that reads.
pub(super) fn problems(statuses: &[u16]) -> Value {
    errors(Of::Reading, statuses)
}

/// Returns the responses of an operation with these statuses.
pub(super) fn errors(route: Of, statuses: &[u16]) -> Value {
    let of = |status: u16| match (status, route) {
        (
            400,
            Of::Any
            | Of::Reading
            | Of::Receipt
            | Of::Keys
            | Of::Minutes
            | Of::Stream
            | Of::Answers
            | Of::Latest
            | Of::Starting
            | Of::Runs,
        ) => "The request is not valid HTTP.",
        (400, Of::Query) => "The SQL cannot be answered, or the request is not valid HTTP.",
        (400, Of::Sql) => "The SQL is wrong, the body did not come whole, or the request is not valid HTTP.",
        (400, _) => "The body did not come whole, or the request is not valid HTTP.",
        (401, _) => "There are no usable credentials.",
        (
            403,
            Of::Reading
            | Of::Receipt
            | Of::Keys
            | Of::Minutes
            | Of::Stream
            | Of::Answers
            | Of::Latest
            | Of::Runs
            | Of::Query,
        ) => "The access key does not have the scope.",
        (403, _) => "The access key does not have the scope, or the page that posts may not call the API.",
        (404, Of::Any) => "There is no such path.",
        (404, Of::Starting) => "There is no such function, or no such event type.",
        (404, Of::Runs) => "There is no such run, or not any more.",
        (404, Of::Receipt) => "No event of the caller's is known under this id.",
        (404, Of::Keys) => "Queries are not answered here, or there is no such event type.",
        (404, Of::Minutes) => "There are no counts by minute here, or there is no such event type.",
        (404, Of::Stream) => "Events cannot be streamed here, or there is no such event type.",
        (404, Of::Latest) => "None of the keys has a latest value.",
        (404, Of::Answers) => "There is no such answer, or it has no such path or slot.",
        (404, Of::Query) => "No query of the caller's has this id, or queries are not answered here.",
        (404, Of::Sql) => "Queries are not answered here.",
        (404, _) => "There is no such event type.",
        (405, _) => "The path does not have this method. Allow names those that it has.",
        (409, Of::Query) => "The query was stopped.",
        (409, _) => "The run has no result, or not yet.",
        (406, _) => "The answer has no format that the client accepts.",
        (408, _) => "The body came too slowly.",
        (413, Of::Keys) => "The range has too many keys.",
        (413, Of::Query) => "The answer is too large, or the tables have too many rows.",
        (413, Of::Sql) => "The body or the answer is too large, or the tables have too many rows.",
        (413, _) => "The body is too large, or has too many events.",
        (415, _) => "The content encoding is not known.",
        (422, _) => "It is not valid; the members say why.",
        (429, Of::Starting) => {
            "Too many runs at once, too many requests, or failed sign-ins. Retry-After says when to try again."
        }
        (429, Of::Sql | Of::Keys) => {
            "Too many queries at once, too many requests, or failed sign-ins. Retry-After says when to try again."
        }
        (429, _) => "Too many requests, or failed sign-ins. Retry-After says when to try again.",
        (431, _) => "The request line and the headers are too large.",
        (500, _) => "A fault in the collector, which was logged.",
        (504, _) => "The query took too long.",
        _ => "Not available now. Retry-After says when to try again.",
    };
    let answer = |status: u16| {
        let content = json!({"schema": reference("Problem"), "examples": examples(route, status)});
        json!({"description": of(status), "content": {"application/problem+json": content}})
    };
    statuses.iter().map(|status| (status.to_string(), answer(*status))).collect::<Map<_, _>>().into()
}
