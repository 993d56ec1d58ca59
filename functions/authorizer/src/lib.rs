//! Turns Basic credentials into a caller and the caller's rights.
//!
//! Read in this order:
//!
//! - [`Credentials`]: what a client sends, read from an `Authorization` header;
//! - [`Authorizer::authorize`]: finds the caller; a host that speaks HTTP itself needs no more. `sign_ins` limits the
//!   attempts by [`Rate`];
//! - [`AuthorizerEvent`] and [`Answer`]: what API Gateway sends and expects, joined by [`Authorizer::answer`].
//!
//! Every input ends in a grant, a refusal, or the error that the users cannot be read.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod authorize;
mod basic;
mod cache;
mod comparison;
mod event;
#[cfg(test)]
mod fixtures;
mod flight;
mod rate;
mod response;
mod sign_ins;
mod stage;

pub use answer::{Answer, Failure};
pub use authorize::{Authorizer, Grant, Refusal};
pub use basic::{BasicError, Credentials, MAX_HEADER_BYTES};
pub use event::{AuthorizerEvent, CredentialsError, EventError, EventKind};
pub use rate::Rate;
pub use response::{Context, Policy, PolicyDocument, Simple, Statement};
pub use stage::{Stage, StageError};
