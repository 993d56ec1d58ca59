//! The host's side: what differs by where the API runs.
//!
//! - `gateway`: the API behind API Gateway, by `lambda_http`;
//! - `request_id`: the id of a request, in its answer and its log lines;
//! - `leftover`: drains unread bodies; `unreadable`: answers to requests that are not HTTP;
//! - `observe`: what is measured, for the host's metrics;
//! - `runs`: runs of functions, and `queries`: queries in SQL, where the host has any;
//! - `athena`: queries on AWS;
//! - `streams`: the open streams of events.

#[cfg(feature = "lambda")]
pub(crate) mod athena;
#[cfg(feature = "lambda")]
pub(crate) mod gateway;
pub(crate) mod leftover;
pub(crate) mod observe;
pub(crate) mod queries;
pub(crate) mod request_id;
pub(crate) mod runs;
pub(crate) mod streams;
pub(crate) mod unreadable;
