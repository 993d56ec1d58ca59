//! `weir completions`: a script that lets a shell complete commands and options.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap_complete::Shell;

/// Prints the script.
pub(crate) fn print(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(), "weir", &mut script);
    match io::stdout().write_all(&script) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("it cannot be printed"),
        _ => Ok(ExitCode::SUCCESS),
    }
}
