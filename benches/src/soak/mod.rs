//! A soak test of one machine: for an hour, say, clients send to the real `weir serve` while it is killed, stopped, frozen
//! and restarted, its clock jumps, its disk is full or fails, and backups are taken and restored. At each rest the lake is
//! compared with the book of what was acknowledged: everything once, and nothing twice.
//!
//! The seed decides what is sent and what goes wrong; when the two meet is the machine's.
//!
//! - `book`: what was acknowledged; - `clients`, `event`, `wire`: what is sent; - `faults`, `shim`: what goes wrong;
//! - `machine`: the folder and the server; - `lake`: what is there; - `rest`: the comparison.

mod book;
mod clients;
mod event;
mod faults;
mod lake;
mod machine;
mod rest;
mod shim;
mod wire;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use fastrand::Rng;

use book::{Tally, in_words};
use clients::{Client, Shared};
use faults::Faults;
use machine::Machine;
use shim::Shim;

pub(crate) use rest::Plant;

/// How `soak` runs.
#[derive(Args)]
pub(crate) struct Options {
    /// How long it lasts.
    #[arg(long, default_value_t = 60.0, value_parser = positive)]
    pub(crate) minutes: f64,
    /// Decides what is sent and what goes wrong [default: another one each time].
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Seconds from one rest to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    pub(crate) rest_every: f64,
    /// Events a second of all clients, at the most.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// A folder in which the soak makes its own; it is removed if nothing was lost.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Tests this program instead of building `weir`.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) built: Option<PathBuf>,
    /// Changes the lake before the first comparison, which must find it.
    #[arg(long, hide = true)]
    pub(crate) plant: Option<Plant>,
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| *number > 0.0).ok_or_else(|| "not a positive number".to_owned())
}

/// How a soak ended.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) rests: u64,
    pub(crate) acknowledged: u64,
    pub(crate) filed: u64,
    pub(crate) faults: Tally,
    pub(crate) lost: usize,
    pub(crate) double: usize,
    /// What breaks a promise, in words.
    pub(crate) broken: Vec<String>,
    resident: u64,
    on_disk: u64,
}

const CLIENTS: usize = 8;

/// Runs it, and prints a line at each rest and a summary.
pub(crate) fn run(options: &Options, program: &Path) -> anyhow::Result<Summary> {
    let folder = match &options.data {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir_in(program.parent().context("a program is in a folder")?),
    };
    let folder = folder.context("no folder for the data")?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}, in {}", folder.path().display());
    let shim = Shim::make(folder.path(), program)
        .inspect_err(|error| println!("SKIPPED: clock jumps, full disks and disk errors: {error:#}"))
        .ok();
    let (summary, diary) = soak(options, program, folder.path(), shim.as_ref(), seed);
    print!("{}", summary.text());
    if !summary.broken.is_empty() {
        std::fs::write(folder.path().join("diary"), diary.join("\n"))?;
        println!("kept: {}", folder.keep().display());
    }
    Ok(summary)
}

/// The exit code of a soak that ended so.
pub(crate) fn exit_code(summary: &Summary) -> ExitCode {
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soak(
    options: &Options,
    program: &Path,
    folder: &Path,
    shim: Option<&Shim>,
    seed: u64,
) -> (Summary, Vec<String>) {
    let mut rng = Rng::with_seed(seed);
    let (shared, log) = (Shared::default(), folder.join("server.log"));
    let (mut summary, mut diary) = (Summary::default(), Vec::new());
    let outcome = thread::scope(|scope| -> anyhow::Result<()> {
        let _over = OverAtEnd(&shared);
        let mut machine = Machine::new(program, folder.join("data"), &log, shim);
        let demo = machine.must_start(&[])?.context("the first start makes a user")?;
        let mut credentials = vec![demo];
        for name in ["ann", "ben"] {
            credentials.push(machine.output(&["user", "add", name])?.trim().to_owned());
        }
        let name = |secret: &String| secret.split(':').next().unwrap_or_default().to_owned();
        let users: Vec<String> = credentials.iter().map(name).collect();
        machine.open_to(&shared);
        for number in 0..CLIENTS {
            let user = number % users.len();
            let client = Client {
                shared: &shared,
                number,
                of: CLIENTS,
                user,
                users: users.len(),
                credentials: credentials[user].clone(),
                rate: options.rate,
                rng: rng.fork(),
                ids: 0,
                known: Vec::new(),
                made: Vec::new(),
            };
            scope.spawn(move || client.run());
        }
        let paths = [folder.to_owned(), log.clone(), program.to_owned()];
        let mut faults = Faults::new(machine, &shared, shim, &users, paths, rng.fork());
        let outcome = rests(options, &mut faults, &mut rng, &mut summary);
        diary = std::mem::take(&mut faults.diary);
        outcome
    });
    if let Err(error) = outcome {
        summary.broken.push(format!("{error:#}"));
    }
    (summary, diary)
}

/// Lets things go wrong, and rests, until time is over or something is lost.
fn rests(
    options: &Options,
    faults: &mut Faults<'_>,
    rng: &mut Rng,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let lasting = Duration::from_secs_f64(options.minutes * 60.0);
    while began.elapsed() < lasting && summary.broken.is_empty() {
        let until = began.elapsed() + Duration::from_secs_f64(options.rest_every);
        while began.elapsed() < until.min(lasting) {
            thread::sleep(Duration::from_secs_f64(rng.f64() * options.rest_every / 20.0));
            faults.next()?;
        }
        let (happened, tally) = faults.happened();
        let found = rest::rest(faults, CLIENTS, options.plant)?;
        for (what, times) in tally {
            *summary.faults.entry(what).or_default() += times;
        }
        let verdict = &found.verdict;
        let minute = began.elapsed().as_secs_f64() / 60.0;
        println!(
            "minute {minute:.1}: {} acknowledged, {} filed; {happened}; lost {}, double {}; {} resident, {} on the disk",
            verdict.acknowledged,
            verdict.filed,
            verdict.lost.len(),
            verdict.double.len(),
            megabytes(found.resident),
            megabytes(found.on_disk),
        );
        faults.note(format!("rest at minute {minute:.1}"));
        summary.rests += 1;
        (summary.acknowledged, summary.filed) = (verdict.acknowledged, verdict.filed);
        (summary.lost, summary.double) = (verdict.lost.len(), verdict.double.len());
        summary.resident = summary.resident.max(found.resident);
        summary.on_disk = summary.on_disk.max(found.on_disk);
        summary.broken.extend(found.broken);
        ensure!(found.on_disk < MOST_ON_DISK, "the folder takes {}", megabytes(found.on_disk));
    }
    Ok(())
}

/// The soak ends before it fills a disk that it shares.
const MOST_ON_DISK: u64 = 3 << 30;

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

impl Summary {
    fn text(&self) -> String {
        let mut text = format!(
            "{} rests, {} acknowledged, {} filed; {}; lost {}, double {}; at most {} resident and {} on the disk\n",
            self.rests,
            self.acknowledged,
            self.filed,
            in_words(&self.faults),
            self.lost,
            self.double,
            megabytes(self.resident),
            megabytes(self.on_disk),
        );
        for broken in &self.broken {
            text += &format!("BROKEN: {broken}\n");
        }
        text
    }
}

/// Ends the clients when the soak is over, or has failed.
struct OverAtEnd<'a>(&'a Shared);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
