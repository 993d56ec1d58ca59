//! Ports for programs that must be told on which to listen, and bind it only later.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs::File, net::TcpListener, process};

/// A port that no other test takes, as long as this is held.
pub struct Port {
    pub number: u16,
    _lock: File,
}

/// Below the ports that systems choose from: a process that asks for any port, or connects, gets none of these in the
/// meantime.
const RANGE: std::ops::Range<u16> = 20_000..30_000;

impl Port {
    /// A port that is free now.
    pub fn free() -> Self {
        let first = usize::try_from(process::id()).unwrap() * 61 % RANGE.len();
        let free = RANGE.cycle().skip(first).take(RANGE.len()).find_map(|number| {
            let lock = File::create(std::env::temp_dir().join(format!("weir-test-port-{number}"))).ok()?;
            lock.try_lock().ok()?;
            // Another process may listen there.
            TcpListener::bind(("127.0.0.1", number)).ok()?;
            Some(Self { number, _lock: lock })
        });
        free.expect("a free port")
    }
}
