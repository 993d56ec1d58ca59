//! Ports behind batching keep every promise, and share calls: against an engine in memory that counts its calls.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod appends;
mod conformance;
mod engine;
mod increments;
mod reads;
