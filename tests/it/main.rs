//! The end-to-end tests: each module runs the real `weir` as its users do, and holds one of the promises.
//!
//! They are one program, so that one link instead of forty follows a change, and they run beside each other in it: a test
//! changes nothing of its own process (environment, folder, signals) and takes every port, folder and server for itself.
//! `cargo test --test it lake::` runs one module.
#![allow(unreachable_pub, reason = "modules of one program")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../harness/mod.rs"]
mod harness;

mod answers;
mod audit;
#[cfg(feature = "aws")]
mod aws_engine;
mod backup;
mod catalog;
mod clients;
mod completions;
mod counts;
mod crash;
mod dashboard;
mod dashboard_routes;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod dist;
mod docs;
#[cfg(target_os = "linux")]
mod event_streams;
mod events;
#[cfg(target_os = "linux")]
mod exhaustion;
mod exit_codes;
mod filing_again;
mod first_try;
mod flood;
mod forget;
#[cfg(target_os = "linux")]
mod host;
#[cfg(target_os = "linux")]
mod hostile_catalog;
mod image_and_unit;
#[cfg(target_os = "linux")]
mod keys_of_range;
mod lake;
mod latest;
#[cfg(target_os = "linux")]
mod lost_files;
mod many_events;
#[cfg(target_os = "linux")]
mod map;
#[cfg(target_os = "linux")]
mod map_runs;
mod metrics;
mod minutes;
mod mistakes;
mod openapi;
mod operate;
mod progress;
mod promises;
#[cfg(target_os = "linux")]
mod queries;
#[cfg(target_os = "linux")]
mod reading;
mod readme;
mod redact;
mod refusals;
mod request_ids;
mod retention;
mod retries;
mod sealing;
mod security;
mod send;
mod tail;
mod template;
mod tenants;
mod traces;
mod users;
mod vendors;
