//! The dashboard does in a browser what is promised of it: Chromium looks at a real `weir serve`.

mod accessible;
mod contained;
mod pictures;
mod signed_in;
mod told;
mod used;
mod visit;
