//! The sender of a request, as far as the request and the host tell.

use axum::http::{header, request::Parts};
use weir_core::catalog::Sender;

use crate::{Collector, intake::bots::Path};

/// What a request tells of the sender of its events.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) sender: Sender,
    /// Where events have a user agent of their own, which comes before the request's: the request may be a server's.
    pub(crate) user_agents: &'static [Path],
}

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

impl From<Sender> for Sent {
    fn from(sender: Sender) -> Self {
        Self { sender, user_agents: &[] }
    }
}
