//! Runs the programs of vendors' clients, which are beside this file.

use std::{path::Path, process::Command};

use crate::harness::path_with_venv;

/// Runs a client's program of this folder to its end, and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = if program.ends_with(".py") { "python3" } else { "node" };
    let output = Command::new(interpreter)
        .arg(repository.join("tests/it/vendors").join(program))
        .args(arguments)
        .env("PATH", path_with_venv())
        .env("MODULES", repository.join("target/browser"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{program}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}
