//! The dashboard does in a browser what is promised of it: Chromium looks at a real `weir serve`.
#![allow(unreachable_pub, reason = "modules of one test")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "dashboard/accessible.rs"]
mod accessible;
#[path = "dashboard/browser.rs"]
mod browser;
#[path = "dashboard/contained.rs"]
mod contained;
mod harness;
#[path = "dashboard/pictures.rs"]
mod pictures;
#[path = "dashboard/used.rs"]
mod used;
#[path = "dashboard/visit.rs"]
mod visit;
