//! The sender of a request, as far as the request and the host tell.

use axum::http::{header, request::Parts};
use weir_core::catalog::Sender;

use crate::Collector;

impl Collector {
    /// Returns the sender of a request.
    pub(crate) fn sender(&self, request: &Parts) -> Sender {
        let user_agent = request.headers.get(header::USER_AGENT);
        Sender {
            address: self.host.authenticate.address(request),
            user_agent: user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        }
    }
}
