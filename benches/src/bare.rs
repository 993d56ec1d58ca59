//! Starts the bare router, beside which `weir serve` is measured: the program `bare`, built as `weir` is.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::bootstraps;

/// The bare router; dropping it ends it.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    pub(crate) fn start() -> anyhow::Result<Self> {
        // A port that is free now: nothing else takes one meanwhile.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = bootstraps::build_bare("serve")?;
        let child =
            Command::new(program).args(["router", &address.to_string()]).stdin(Stdio::null()).spawn()?;
        let bare = Self { child, address };
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(began.elapsed() < Duration::from_secs(10), "the bare router did not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(bare)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // If it ended by itself, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
