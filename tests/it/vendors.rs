//! Vendors' clients, unmodified: their address is changed to a Weir's, and what they report as sent is in the lake, once.
//!
//! All tests share one server, each with a user of its own.

mod beacon;
mod cloudevents;
mod gate;
mod in_browser;
mod posthog;
mod segment;
mod snowplow;

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex, Weak},
};

use crate::harness::{Value, Weir, path_with_venv};

static SHARED: Mutex<Weak<Weir>> = Mutex::new(Weak::new());

/// The server of all tests that run now.
pub fn shared() -> Arc<Weir> {
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let weir = Arc::new(Weir::start_with(&["--flush-every", "200ms", "--failed-sign-ins", "0"]));
        *shared = Arc::downgrade(&weir);
        weir
    })
}

/// Makes an access key of a user, `USER:SECRET`.
pub fn key(weir: &Weir, user: &str, scope: &str) -> String {
    let said = weir.output(&["user", "add", user, "--label", scope, "--scope", scope]);
    said.split_whitespace().find(|word| word.starts_with(&format!("{user}:"))).unwrap().to_owned()
}

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

/// The user's stored events of a type, from the lake.
pub fn stored(weir: &Weir, user: &str, event_type: &str) -> Vec<Value> {
    weir.lines(&format!("lake/username={user}/{event_type}"))
}
