//! A bare axum router, which reads a request, answers with fixed bytes and does nothing else: the most that a server of this kind
//! can do on the machine.
//!
//! It is this program, in a process of its own. Built with `--profile serve`, it is built as `weir` is.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::ensure;
use axum::{
    Router,
    body::Bytes,
    http::header,
    routing::{get, post},
};
use clap::Args;

/// Its answer to GET: as long as a slot of an answer is.
const SLOT: &str = r#"{"n":123456,"visits":864192,"button":"button-16"}"#;

/// Its answer to POST: as long as that to an event is.
const ACCEPTED: &str = r#"{"status":"accepted","event_id":"01976f3b-0c2e-7c3f-9a52-3f1f8c7d9e10"}"#;

/// The bare router; dropping it ends it.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    pub(crate) fn start() -> anyhow::Result<Self> {
        // A port that is free now: nothing else takes one meanwhile.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = std::env::current_exe()?;
        let child =
            Command::new(program).args(["bare", &address.to_string()]).stdin(Stdio::null()).spawn()?;
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

/// Where the bare router listens.
#[derive(Args)]
pub(crate) struct Listen {
    address: SocketAddr,
}

/// Serves the bare router until the process is killed.
pub(crate) fn serve(listen: &Listen) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen.address).await?;
        let slot = async || ([(header::CONTENT_TYPE, "application/json")], SLOT);
        // Reads the body, as an event's must be.
        let accept = async |_: Bytes| ([(header::CONTENT_TYPE, "application/json")], ACCEPTED);
        let router =
            Router::new().route("/answers/{answer}", get(slot)).route("/{group}/{name}", post(accept));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
