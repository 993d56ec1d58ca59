//! The server: authorizer, collector and fan-out in one process, over the embedded engine.

mod authenticate;
mod filing;
mod welcome;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use authorizer::Authorizer;
use collector::Collector;
use tokio::net::TcpListener;
use weir_core::{SystemClock, SystemRandom};
use weir_embedded::{Embedded, Flush};

use crate::{catalog, cli::ServeArgs};
use authenticate::BasicAuthentication;
use filing::Filing;

/// How long verified credentials are believed without asking again: as long as a removed user can go on.
const CREDENTIALS_CACHED: Duration = Duration::from_secs(5);

/// How long requests under way may take once the server was told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Serves until told to stop.
pub(crate) async fn run(data: &Path, catalog_folder: Option<&Path>, args: ServeArgs) -> Result<ExitCode> {
    let catalog = Arc::new(catalog::read(catalog_folder)?);
    let flush = Flush { every: args.flush_every, size: args.flush_size };
    let (engine, deliveries) = Embedded::open(data, flush, Arc::new(SystemClock))?;
    // Before anything is made for a first start that then fails.
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another address with --listen", args.listen))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let signals = signals(stop)?;

    let users = Arc::new(engine.users());
    welcome::print(data, catalog_folder, address, &engine.users()).await?;
    let clock = Arc::new(SystemClock);
    let authorizer = Authorizer::new(users, clock.clone(), &SystemRandom, CREDENTIALS_CACHED);
    let shared = Arc::new(engine.clone());
    let collector = Collector {
        catalog,
        stream: shared.clone(),
        live: shared.clone(),
        settled: shared.clone(),
        health: shared,
        authenticate: Arc::new(BasicAuthentication::new(authorizer)),
        clock,
        random: Arc::new(SystemRandom),
    };
    let filing = Filing::start(engine.clone(), deliveries)?;

    let app = collector::router(collector, &args.allow_origins);
    let (draining, drained) = tokio::sync::oneshot::channel();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        // An error means that the task of the signals is gone; stopping is right then, too.
        let _ = stopped.await;
        let _ = draining.send(());
    });
    let overdue = async {
        let _ = drained.await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        ended = server => ended.context("the server failed")?,
        () = overdue => tracing::warn!("some requests were cut off: they took too long to end"),
    }

    // From here on nothing new comes in; what was acknowledged is durable, and is now filed too.
    engine.stop().await?;
    filing.finish().await;
    signals.abort();
    tracing::info!("stopped; everything acknowledged is filed");
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGTERM or Ctrl-C; the second one ends the process at once, which loses nothing either.
fn signals(stop: tokio::sync::oneshot::Sender<()>) -> Result<tokio::task::JoinHandle<()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut next = async move || {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    };
    Ok(tokio::spawn(async move {
        next().await;
        tracing::info!(
            "stopping: filing what was acknowledged; once more ends at once and leaves that to the next start"
        );
        let _ = stop.send(());
        next().await;
        std::process::exit(130);
    }))
}
