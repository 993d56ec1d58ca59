//! Ctrl-C, SIGTERM and SIGHUP, handled on a thread of their own: a second one ends the process, even if the rest of it is
//! stuck.

use std::{io, thread, time::Duration};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// How long the program may take to end by itself after a second signal.
const AFTER_A_SECOND: Duration = Duration::from_millis(500);

/// Limit for a last message or act.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The signals that ask the process to end.
pub(crate) struct Signals {
    codes: UnboundedReceiver<u8>,
}

impl Signals {
    /// Listens from now on: no signal is missed between two calls of [`Self::next`]. A second signal ends the process half
    /// a second later, if it has not ended by itself. After the first one, the program has until `limit`, if there is one.
    ///
    /// SIGINT and SIGHUP stay ignored if the parent process ignores them, as shells do for background jobs, and nohup does.
    pub(crate) fn listen(limit: Option<Duration>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let source = {
            let _inside = runtime.enter();
            Source::open()?
        };
        let (tell, codes) = mpsc::unbounded_channel();
        let watch = move || runtime.block_on(watch(source, tell, limit));
        thread::Builder::new().name("weir-signals".to_owned()).spawn(watch)?;
        Ok(Self { codes })
    }

    /// Waits for the next signal, and returns the exit code that a shell expects for it.
    pub(crate) async fn next(&mut self) -> u8 {
        match self.codes.recv().await {
            Some(code) => code,
            // The thread lives as long as the process.
            None => std::future::pending().await,
        }
    }
}

async fn watch(mut source: Source, tell: UnboundedSender<u8>, limit: Option<Duration>) {
    let first = source.next().await;
    let _ = tell.send(first);
    let limit = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        second = source.next() => {
            let _ = tell.send(second);
            tokio::time::sleep(AFTER_A_SECOND).await;
            exit(first);
        }
        () = limit => {
            // Even standard error may be stuck.
            for_a_moment(|| tracing::warn!("stopped, although not everything has ended: it took too long"));
            exit(0);
        }
    }
}

/// Ends the process, even if its last acts are stuck.
fn exit(code: u8) {
    for_a_moment(move || std::process::exit(code.into()));
    #[cfg(unix)]
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}

/// Runs an act that may get stuck, and waits a second for it at most.
fn for_a_moment(act: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    let acting = thread::Builder::new().spawn(move || {
        act();
        let _ = done.send(());
    });
    if acting.is_ok() {
        let _ = wait.recv_timeout(LAST_WORD);
    }
}

#[cfg(unix)]
use unix::Source;

#[cfg(unix)]
mod unix {
    use std::io;

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// The source of signals, without those that the parent process ignores.
    pub(super) struct Source {
        hang_up: Option<Signal>,
        interrupt: Option<Signal>,
        terminate: Signal,
    }

    impl Source {
        pub(super) fn open() -> io::Result<Self> {
            let unless_ignored = |kind: SignalKind| (!is_ignored(kind)).then(|| signal(kind)).transpose();
            Ok(Self {
                hang_up: unless_ignored(SignalKind::hangup())?,
                interrupt: unless_ignored(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }

        pub(super) async fn next(&mut self) -> u8 {
            tokio::select! {
                () = next(&mut self.hang_up) => 129,
                () = next(&mut self.interrupt) => 130,
                _ = self.terminate.recv() => 143,
            }
        }
    }

    async fn next(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }

    /// Returns whether the process was started with a signal ignored. Only Linux reveals this without unsafe code.
    fn is_ignored(kind: SignalKind) -> bool {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        let bit = u32::try_from(kind.as_raw_value() - 1).ok().and_then(|place| 1_u64.checked_shl(place));
        bit.is_some_and(|bit| ignored & bit != 0)
    }
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    fn open() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> u8 {
        // An error means that there are no signals on this system: none will come.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        130
    }
}
