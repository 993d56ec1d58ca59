//! The server: authorizer, collector and fan-out in one process, over the embedded engine.

mod authenticate;
mod filing;
mod welcome;

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use authorizer::Authorizer;
use collector::Collector;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use weir_core::{Catalog, SystemClock, SystemRandom, ports::Users};
use weir_embedded::{Embedded, Flush};

use crate::{
    catalog,
    cli::{EngineName, ServeArgs},
};
use authenticate::BasicAuthentication;
use filing::Filing;

/// How long verified credentials are believed without asking again: as long as a removed user can go on.
const CREDENTIALS_CACHED: Duration = Duration::from_secs(5);

/// How long requests under way may take once the server was told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// How long filing may take then: a full disk must not keep a server from ending, as nothing is lost by it.
const LAST_FILING: Duration = Duration::from_secs(30);

/// Serves until told to stop.
pub(crate) async fn run(
    engine: EngineName,
    data: &Path,
    catalog_folder: Option<&Path>,
    args: ServeArgs,
) -> Result<ExitCode> {
    let catalog = Arc::new(catalog::read(catalog_folder)?);
    match engine {
        EngineName::Embedded => embedded(data, catalog_folder, catalog, args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => on_aws(catalog, args).await,
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

/// Everything in this process: what is acknowledged is filed by it too.
async fn embedded(
    data: &Path,
    catalog_folder: Option<&Path>,
    catalog: Arc<Catalog>,
    args: ServeArgs,
) -> Result<ExitCode> {
    let flush = Flush { every: args.flush_every, size: args.flush_size };
    // Before anything is made for a first start that then fails.
    let listener = listen(&args).await?;
    let (engine, deliveries) = Embedded::open(data, flush, Arc::new(SystemClock))?;
    welcome::print(data, catalog_folder, &catalog, listener.local_addr()?, &engine.users()).await?;
    let shared = Arc::new(engine.clone());
    let collector = Collector {
        catalog,
        stream: shared.clone(),
        live: shared.clone(),
        settled: shared.clone(),
        health: shared,
        authenticate: authenticate(Arc::new(engine.users())),
        observe: Arc::new(()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    let filing = Filing::start(engine.clone(), deliveries)?;
    let signals = serve(listener, collector, &args).await?;

    // From here on nothing new comes in; what was acknowledged is durable, and is now filed too, if it can be.
    let file_the_rest = async {
        engine.stop().await?;
        anyhow::Ok(filing.finish().await)
    };
    match tokio::time::timeout(LAST_FILING, file_the_rest).await {
        Ok(Ok(true)) => tracing::info!("stopped; everything acknowledged is filed"),
        Ok(Ok(false)) => tracing::warn!("stopped; some batches could not be filed: see above"),
        Ok(Err(error)) => tracing::warn!(%error, "stopped; the next start files what is left"),
        Err(_) => tracing::warn!("stopped; filing took too long, and the next start goes on with it"),
    }
    signals.abort();
    Ok(ExitCode::SUCCESS)
}

/// The authorizer and the collector only: on AWS, batches are filed by the fan-out function.
#[cfg(feature = "aws")]
async fn on_aws(catalog: Arc<Catalog>, args: ServeArgs) -> Result<ExitCode> {
    let crate::aws::Serving { stream, counts, users, health } = crate::aws::serving().await?;
    let listener = listen(&args).await?;
    println!("Weir is listening on http://{} and keeps everything on AWS", listener.local_addr()?);
    let counts = Arc::new(counts);
    let collector = Collector {
        catalog,
        stream: Arc::new(stream),
        live: counts.clone(),
        settled: counts,
        health: Arc::new(health),
        authenticate: authenticate(Arc::new(users)),
        observe: Arc::new(()),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    serve(listener, collector, &args).await?.abort();
    Ok(ExitCode::SUCCESS)
}

async fn listen(args: &ServeArgs) -> Result<TcpListener> {
    let listener = TcpListener::bind(args.listen).await;
    listener
        .with_context(|| format!("cannot listen on {}: choose another address with --listen", args.listen))
}

fn authenticate(users: Arc<dyn Users>) -> Arc<BasicAuthentication> {
    let authorizer = Authorizer::new(users, Arc::new(SystemClock), &SystemRandom, CREDENTIALS_CACHED);
    Arc::new(BasicAuthentication::new(authorizer))
}

/// Answers requests until a signal; gives the task that waits for a second one.
async fn serve(listener: TcpListener, collector: Collector, args: &ServeArgs) -> Result<JoinHandle<()>> {
    let (stop, stopped) = oneshot::channel();
    let signals = signals(stop)?;
    let app = collector::router(collector, &args.allow_origins);
    let (draining, drained) = oneshot::channel();
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
    Ok(signals)
}

/// Waits for SIGTERM or Ctrl-C; the second one ends the process at once, which loses nothing either.
fn signals(stop: oneshot::Sender<()>) -> Result<JoinHandle<()>> {
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
