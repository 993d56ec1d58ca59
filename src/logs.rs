//! What is said on standard error: INFO and above, or what `WEIR_LOG` asks for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets logging up.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
