//! Basic credentials -> who is calling and what they may do.
//!
//! Read in this order:
//!
//! - what a client sends: [`Credentials`], read from an `Authorization` header;
//! - who that is: [`Authorizer::authorize`], the whole of it for a host that speaks HTTP itself; how often it may be
//!   tried: `sign_ins`, by [`Rate`];
//! - what API Gateway sends and expects: [`AuthorizerEvent`] and [`Answer`], joined by [`Authorizer::answer`].
//!
//! Whatever comes in, what goes out is a grant, a refusal, or the error that the users cannot be asked.
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
