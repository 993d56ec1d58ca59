//! The server: authorizer, collector and fan-out in one process, over the embedded engine.
//!
//! - `machine`: the requirements of a start; `welcome`: the banner that it prints;
//! - `connections`: all of them, with the limit on their number and eviction in the order of `idle`; `connection`: one of them,
//!   its phase and deadline; `pace`: slow clients; `refusal`: the answer to bytes that are not a request;
//! - `authenticate`: the caller of a request, and the rate limit;
//! - `sealing`: the schedule of sealing;
//! - `filing`: the fan-out over every batch; `answers`: the schedule of answers computed beforehand;
//! - `metrics`: the metrics for Prometheus.

mod answers;
mod authenticate;
mod connection;
mod connections;
mod filing;
mod idle;
mod machine;
mod metrics;
mod pace;
mod refusal;
mod sealing;
mod welcome;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use authorizer::Authorizer;
use axum::middleware;
use collector::{Collector, Host, Limits};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use weir_core::{BufferedRandom, Catalog, Clock, SystemClock, SystemRandom, ports::Users};
use weir_embedded::{Embedded, Flush, SealedFolder};

use crate::{
    catalog,
    cli::{EngineName, ServeArgs},
    data, forget,
    signals::Signals,
    traces::{self, Traces},
};
use answers::Schedule;
use authenticate::BasicAuthentication;
use connection::Patience;
use connections::Connections;
use filing::Filing;
pub(crate) use machine::prepare;
use metrics::{Metrics, endpoint};

/// How long verified credentials are cached; also the longest that a removed user can go on.
const CREDENTIALS_CACHED: Duration = Duration::from_secs(5);

/// Grace period for requests in flight after the signal to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Grace period for runs of functions, whose commands are ended.
const LAST_RUNS: Duration = Duration::from_secs(3);

/// Grace period for filing after that. A full disk must not keep the server from ending, and nothing is lost by stopping.
const LAST_FILING: Duration = Duration::from_secs(30);

/// Grace period for exporting the last traces.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// The sum of these plus some slack: by then a stopping server has ended, even if something is stuck.
const LIMIT: Duration = Duration::from_secs(
    LAST_REQUESTS.as_secs() + LAST_RUNS.as_secs() + LAST_FILING.as_secs() + LAST_TRACES.as_secs() + 3,
);

/// Maximum concurrent connections to a separate metrics address.
const METRICS_CONNECTIONS: usize = 16;

/// Serves until a signal to stop.
pub(crate) async fn run(args: ServeArgs, traces: Option<Traces>) -> Result<ExitCode> {
    let catalog = catalog::read(args.catalog.folder())?;
    catalog::warn(args.catalog.folder(), &catalog);
    let ended = match args.place.engine {
        EngineName::Embedded => embedded(catalog, args).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => on_aws(catalog, args).await,
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    };
    if let Some(traces) = traces {
        traces.end(LAST_TRACES).await;
    }
    ended
}

/// Runs everything in this process, including the filing of acknowledged events.
async fn embedded(catalog: Catalog, args: ServeArgs) -> Result<ExitCode> {
    let data = args.place.data.as_path();
    let flush = Flush { every: args.flush_every, size: args.flush_size };
    // Listens first, so that a first start that fails leaves nothing behind.
    let listener = listen(args.listen, "--listen")?;
    let for_metrics = listen_for_metrics(&args)?;
    // So does a wrong file of an answer.
    crate::answers::read(args.answers.folder(), &catalog)?;
    data::must_have_its_secret(data)?;
    forget::finish(data)?;
    let (engine, deliveries, breakages) =
        Embedded::open_with_catalog(data, flush, Arc::new(SystemClock), &catalog)
            .map_err(|error| data::in_use(error, "stop it first, or name another folder with --data"))?;
    for breakage in breakages {
        tracing::warn!("the catalog changed: {breakage}");
    }
    if let Err(error) = SealedFolder::of(data).reads().await {
        tracing::error!(%error, "the manifest of sealed days cannot be read: queries and sealing fail until it is put back");
    }
    let secret = if catalog.needs_secret() { Some(engine.secret(&SystemRandom)?) } else { None };
    let catalog = Arc::new(catalog.with_secret(secret));
    engine.keep_free(args.keep_free);
    if let Some(free) = engine.free_space().filter(|free| *free < args.keep_free) {
        tracing::warn!(
            free_bytes = free,
            "the disk has less space left than --keep-free: events are refused until there is more"
        );
    }
    // Handles signals before announcing that the server runs and can be stopped.
    let signals = Signals::listen(Some(LIMIT))?;
    let clock = Arc::new(SystemClock);
    let schedule = Schedule::start(&args, &catalog, Arc::new(SystemClock))?;
    let sealing = sealing::Schedule::start(&args, &catalog, Arc::new(SystemClock))?;
    let limits = limits(&args);
    let metrics = Metrics::new(&catalog, Some(&engine), None, limits.clone(), clock.clone());
    #[cfg_attr(not(unix), expect(unused_mut, reason = "functions run on Unix only"))]
    let mut host = host(Arc::new(engine.users()), &args, &metrics, clock);
    #[cfg(unix)]
    let runs = runs(&engine, &args);
    #[cfg(unix)]
    if let Some(runs) = &runs {
        host.runs = runs.clone();
    }
    #[cfg(unix)]
    if args.queries > 0 {
        host.queries = queries(&engine, &catalog, &args)?;
    }
    // From here on nothing keeps the server from running.
    welcome::print(data, args.catalog.folder(), &catalog, listener.local_addr()?, &engine.users()).await?;
    let collector = Collector { catalog, ports: engine.ports(), host, limits };
    let filing = Filing::start(engine.clone(), deliveries, metrics.filing.clone())?;
    let signals = serve(
        listener,
        for_metrics,
        collector,
        metrics,
        &args,
        signals,
        "stopping: filing what was acknowledged; once more ends at once and leaves that to the next start",
    )
    .await;

    drop((schedule, sealing));
    #[cfg(unix)]
    if let Some(runs) = runs {
        runs.stop(LAST_RUNS).await;
    }
    // From here on no new events come in. Acknowledged ones are durable, and are now filed too, if possible.
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

/// Returns the limits of this process. Open streams may take a quarter of the connections.
fn limits(args: &ServeArgs) -> Limits {
    Limits::default().with_streams((machine::at_most(args.connections) / 4).max(1))
}

/// Offers the operator's functions to clients, unless there may be no runs.
#[cfg(unix)]
fn runs(engine: &Embedded, args: &ServeArgs) -> Option<Arc<crate::map::FunctionRuns>> {
    if args.map_runs == 0 {
        return None;
    }
    let (_, lake, _) = engine.folders();
    let (engine, kept_free) = (engine.clone(), args.keep_free);
    let has_room = move || engine.free_space().is_none_or(|free| free >= kept_free);
    let (lake, clock, most) = (Arc::new(lake), Arc::new(SystemClock), args.map_runs.into());
    let runs = crate::map::FunctionRuns::start(&args.place.data, lake, clock, most, has_room);
    Some(Arc::new(runs))
}

/// Answers clients' queries; fails where DuckDB is missing, or cannot be locked in.
#[cfg(unix)]
fn queries(
    engine: &Embedded,
    catalog: &Arc<Catalog>,
    args: &ServeArgs,
) -> Result<Arc<crate::queries::OwnRows>> {
    let (engine, kept_free) = (engine.clone(), args.keep_free);
    let room = move || engine.free_space().map_or(u64::MAX, |free| free.saturating_sub(kept_free));
    let (data, duckdb) = (&args.place.data, crate::query::DuckDb::find());
    let queries = crate::queries::OwnRows::start(data, &duckdb, catalog.clone(), args.queries.into(), room);
    Ok(Arc::new(queries.context("--queries cannot be used")?))
}

/// Runs the authorizer and the collector only: on AWS, the fan-out function files batches. Concurrent requests share AWS
/// calls.
#[cfg(feature = "aws")]
async fn on_aws(catalog: Catalog, args: ServeArgs) -> Result<ExitCode> {
    let secret = if catalog.needs_secret() { Some(crate::aws::secret()?) } else { None };
    let catalog = Arc::new(catalog.with_secret(secret));
    let limits = Limits::default();
    let clock = Arc::new(SystemClock);
    let crate::aws::Serving { ports, stats, users } = crate::aws::serving(args.gather_for).await?;
    let take_stats =
        Box::new(move || metrics::EngineStats { shared: stats.take_shared(), aws_calls: stats.take_calls() });
    let metrics = Metrics::new(&catalog, None, Some(take_stats), limits.clone(), clock.clone());
    let listener = listen(args.listen, "--listen")?;
    let for_metrics = listen_for_metrics(&args)?;
    let signals = Signals::listen(Some(LIMIT))?;
    let address = listener.local_addr()?;
    let listening = format!("Weir is listening on http://{address} and keeps everything on AWS\n");
    // In one piece: a program that starts this one may read a line and close the pipe.
    crate::printed::print(&(listening + welcome::OF_BUILD));
    let host = host(Arc::new(users), &args, &metrics, clock);
    let collector = Collector { catalog, ports, host, limits };
    let stopping = "stopping: answering the last requests; once more ends at once and cuts them off";
    serve(listener, for_metrics, collector, metrics, &args, signals, stopping).await.abort();
    Ok(ExitCode::SUCCESS)
}

fn listen(address: SocketAddr, option: &str) -> Result<TcpListener> {
    connections::listen(address)
        .with_context(|| format!("cannot listen on {address}: choose another address with {option}"))
}

/// Binds the separate metrics address, if one is set, and prints it, as the system may have picked its port.
fn listen_for_metrics(args: &ServeArgs) -> Result<Option<TcpListener>> {
    let Some(address) = args.metrics_listen else { return Ok(None) };
    let listener = listen(address, "--metrics-listen")?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    Ok(Some(listener))
}

/// Returns this process as the host of a collector.
fn host(users: Arc<dyn Users>, args: &ServeArgs, metrics: &Arc<Metrics>, clock: Arc<dyn Clock>) -> Host {
    Host {
        authenticate: authenticate(users, args, metrics, clock.clone()),
        observe: metrics.clone(),
        clock,
        random: Arc::new(BufferedRandom),
        runs: Arc::new(()),
        queries: Arc::new(()),
        counted_within: None,
        keep_days: args.seal.keep_days,
    }
}

fn authenticate(
    users: Arc<dyn Users>,
    args: &ServeArgs,
    metrics: &Metrics,
    clock: Arc<dyn Clock>,
) -> Arc<BasicAuthentication> {
    let authorizer = Authorizer::new(users, clock.clone(), &SystemRandom, CREDENTIALS_CACHED)
        .with_failures_a_minute(args.failed_sign_ins);
    let (calls, proxy) = (args.requests_per_second, args.trust_forwarded_for);
    Arc::new(BasicAuthentication::new(authorizer, calls, proxy, clock, metrics.refused.clone()))
}

/// Answers requests until a signal, then logs the shutdown; returns the task that waits for a second signal.
async fn serve(
    listener: TcpListener,
    for_metrics: Option<TcpListener>,
    collector: Collector,
    metrics: Arc<Metrics>,
    args: &ServeArgs,
    signals: Signals,
    stopping: &'static str,
) -> JoinHandle<()> {
    let (stop, stopped) = oneshot::channel();
    let streams = collector.limits.streams().clone();
    let signals = wait_for(signals, stop, stopping);
    let app = traces::continued(collector::router(collector, &args.allow_origins));
    let count = middleware::from_fn_with_state(metrics.requests.clone(), metrics::count);
    let no_room = collector::no_room(&args.allow_origins, Arc::new(SystemClock), Arc::new(SystemRandom));
    let unreadable =
        collector::Unreadable::new(&args.allow_origins, Arc::new(SystemClock), Arc::new(SystemRandom));
    let patience = Patience { idle: args.idle_timeout, client: args.client_timeout };
    let limit = machine::at_most(args.connections);
    let counted = metrics.connections.clone();
    let app = match for_metrics {
        // Both in one call: each further one costs every request an allocation.
        None => app.layer((middleware::from_fn_with_state(metrics, endpoint::for_this_machine), count)),
        Some(listener) => {
            let alone = endpoint::alone(metrics);
            let few = Connections::new(alone.clone(), alone, METRICS_CONNECTIONS, patience);
            // It runs until the process ends, so that metrics show the shutdown too.
            tokio::spawn(few.serve(listener, std::future::pending()));
            app.layer(count)
        }
    };
    let (draining, drained) = oneshot::channel();
    let server = Connections::new(app, no_room, limit, patience)
        .counted(counted)
        .explaining(unreadable)
        .serve(listener, async move {
            // An error means that the signal task is gone; stopping is right then, too.
            let _ = stopped.await;
            streams.end();
            let _ = draining.send(());
        });
    let overdue = async {
        let _ = drained.await;
        tokio::time::sleep(LAST_REQUESTS).await;
    };
    tokio::select! {
        () = server => {}
        () = overdue => tracing::warn!("some requests were cut off: they took too long to end"),
    }
    signals
}

/// Waits for a signal to stop; a second one ends the process at once, which loses nothing either.
fn wait_for(mut signals: Signals, stop: oneshot::Sender<()>, stopping: &'static str) -> JoinHandle<()> {
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("{stopping}");
        let _ = stop.send(());
        let code = signals.next().await;
        std::process::exit(code.into());
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use axum::http::{Request, header};
    use base64::{Engine, prelude::BASE64_STANDARD};
    use clap::Parser;
    use collector::{Authenticate, NotAuthenticated};
    use weir_core::{
        ManualClock, SeededRandom, Timestamp, Username,
        ports::PortError,
        users::{Scope, StoredUser, User, generate},
    };

    use super::*;
    use crate::cli::Cli;

    #[cfg(feature = "aws")]
    #[test]
    fn requests_gather_as_long_as_the_engine_lets_them_unless_set_otherwise() {
        assert_eq!(Cli::parse_from(["weir"]).serve.gather_for, weir_aws::GATHERING);
    }

    /// A store with one user, until their access key is removed.
    struct One(Mutex<Option<User>>);

    #[async_trait]
    impl Users for One {
        async fn stored(&self, _: &Username) -> Result<Option<StoredUser>, PortError> {
            Ok(self.0.lock().unwrap().as_ref().map(|user| user.try_into().unwrap()))
        }
    }

    #[tokio::test]
    async fn a_removed_access_key_is_refused_five_seconds_later() {
        let now = Timestamp::saturating(1_795_179_605_007);
        let (access_key, secret) =
            generate("default".parse().unwrap(), Scope::Both, now, &SeededRandom::new(1));
        let mut user = User::new("ann".parse().unwrap());
        user.add(access_key, now).unwrap();
        let (users, clock) = (Arc::new(One(Mutex::new(Some(user)))), Arc::new(ManualClock::at(now)));
        let args = Cli::parse_from(["weir"]).serve;
        let metrics =
            Metrics::new(&Catalog::built_in().unwrap(), None, None, Limits::default(), clock.clone());
        let door = authenticate(users.clone(), &args, &metrics, clock.clone());
        let header = format!("Basic {}", BASE64_STANDARD.encode(format!("ann:{}", secret.reveal())));
        let request =
            Request::builder().header(header::AUTHORIZATION, header).body(()).unwrap().into_parts().0;

        assert!(door.caller(&request).await.is_ok());
        *users.0.lock().unwrap() = None;
        clock.advance(4_999);
        assert!(door.caller(&request).await.is_ok(), "it is not asked for at each request");
        // Using the cache entry meanwhile does not extend its life.
        clock.advance(1);
        assert!(matches!(door.caller(&request).await, Err(NotAuthenticated::Refused)));
    }
}
