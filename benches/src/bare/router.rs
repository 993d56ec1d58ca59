//! A bare axum router, which reads a request, answers with fixed bytes and does nothing else: the most that a server of this kind
//! can do on the machine.

use std::net::SocketAddr;

use axum::{
    Router,
    body::Bytes,
    http::header,
    routing::{get, post},
};

/// Its answer to GET: as long as a slot of an answer is.
const SLOT: &str = r#"{"n":123456,"visits":864192,"button":"button-16"}"#;

/// Its answer to POST: that of a type's own route to an event.
const RECEIVED: &str = r#"{"message":"Received"}"#;

/// Serves the router until the process is killed.
pub(crate) fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let slot = async || ([(header::CONTENT_TYPE, "application/json")], SLOT);
        // Reads the body, as an event's must be.
        let accept = async |_: Bytes| ([(header::CONTENT_TYPE, "application/json")], RECEIVED);
        let router =
            Router::new().route("/answers/{answer}", get(slot)).route("/{group}/{name}", post(accept));
        axum::serve(listener, router).await?;
        Ok(())
    })
}
