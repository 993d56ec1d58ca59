//! What `template.yaml` makes on AWS is what is promised of it. Nothing is deployed here: the template is read.
#![allow(unreachable_pub, reason = "modules of one test")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "template/api.rs"]
mod api;
#[path = "template/functions.rs"]
mod functions;
mod harness;
#[path = "template/kept.rs"]
mod kept;
#[path = "template/permissions.rs"]
mod permissions;
#[path = "template/reader.rs"]
mod reader;
#[path = "template/sql.rs"]
mod sql;
#[path = "template/watching.rs"]
mod watching;
