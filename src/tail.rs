//! `weir tail`: follows accepted and rejected events as they arrive.
//!
//! - `filter`: selects events, and how many of the last ones to print;
//! - `text`: formats an event for people;
//! - `readers`: detects that the reader has gone;
//! - `buckets`: new batches on AWS. On one machine, `weir_embedded::Follower` reads them from outside the server.
//!
//! With `--no-follow` it ends once the earlier events are printed. It has nothing to finish, so Ctrl-C ends it like any process.

#[cfg(feature = "aws")]
mod buckets;
mod filter;
mod readers;
mod text;

use std::{
    io::{self, ErrorKind, IsTerminal},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use weir_embedded::{FollowError, Followed, Follower};

use crate::{
    cli::{EngineName, TailArgs},
    color, data,
    names::Selection,
};
use filter::Tail;

/// The polling interval on one machine.
const LOOK: Duration = Duration::from_millis(200);

/// How many events are searched for the last ones selected.
const LOOK_BACK: u64 = 50_000;

/// Runs the command.
pub(crate) async fn run(args: &TailArgs) -> Result<ExitCode> {
    let (engine, data) = (args.place.engine, args.place.data.as_path());
    if engine == EngineName::Embedded {
        data::must_have_events(data)?;
    }
    // A rejected event may have been sent as any type.
    let event_type = args.event_type.as_ref().filter(|_| !args.rejected);
    Selection { engine, data, catalog: args.catalog.folder(), user: args.user.as_ref(), event_type }
        .check()
        .await?;
    let coloured = color::wanted(args.color.color, io::stdout().is_terminal());
    let mut tail = Tail::new(args, coloured, io::stdout());
    let followed = match engine {
        EngineName::Embedded => embedded(data, args, &mut tail).await,
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            let raw = crate::aws::raw().await?;
            let batches =
                buckets::Batches { raw: &raw, prefix: weir_aws::RAW_PREFIX, clock: &weir_core::SystemClock };
            batches.print(&mut tail, args.no_follow).await
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => return Err(crate::cli::without_aws()),
    };
    match followed {
        // The reader closed the pipe early (`| head`).
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        followed => followed.map(|()| ExitCode::SUCCESS),
    }
}

async fn embedded<W: io::Write>(data: &Path, args: &TailArgs, tail: &mut Tail<W>) -> Result<()> {
    let mut follower = Follower::open(data)?;
    if args.last() > 0 {
        follower.back(u64::try_from(args.last()).unwrap_or(u64::MAX).max(LOOK_BACK));
    }
    loop {
        let took = follower.poll(|followed| match followed {
            Followed::Line(line) => tail.take(line),
            Followed::Gone(events) => {
                tail.gone(events);
                Ok(())
            }
        });
        match took {
            Err(FollowError::Taker(error)) => return Err(error).context("it cannot be printed"),
            other => other?,
        }
        tail.caught_up().context("it cannot be printed")?;
        if args.no_follow || readers::are_gone() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}
