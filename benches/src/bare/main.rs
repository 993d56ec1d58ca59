//! `bare`: programs that do the least that is possible, beside which Weir's are measured. They have the libraries, the allocator and the
//! build of Weir's programs, and of Weir itself only the configuration of the SDK.

mod function;
mod router;

use std::net::SocketAddr;

use clap::Parser;
use mimalloc::MiMalloc;

/// The allocator of `weir` and of the collector.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Does the least that is possible.
#[derive(Parser)]
enum Bare {
    /// Answers every request with the same bytes.
    Router {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Makes the calls of a click for each invocation, as a function on Lambda.
    Function,
}

fn main() -> anyhow::Result<()> {
    match Bare::parse() {
        Bare::Router { listen } => router::serve(listen),
        Bare::Function => function::serve(),
    }
}
