//! What goes wrong during the soak, in an order that the seed decides: every kind comes once before one comes again.

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fastrand::Rng;
use rustix::process::Signal;

use super::{
    book::{Moment, Tally, in_words},
    clients::{Shared, Target},
    lake,
    machine::{Machine, Started, succeeded},
    shim::{self, Failure, Shim},
};

/// Kinds of faults and of an operator's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillAtStart,
    Freeze,
    Stop,
    ClockJumps,
    ClockIsOffAtStart,
    DiskFull,
    DiskErrors,
    Backup,
    Restore,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::Kill,
        Self::KillAtStart,
        Self::Freeze,
        Self::Stop,
        Self::ClockJumps,
        Self::ClockIsOffAtStart,
        Self::DiskFull,
        Self::DiskErrors,
        Self::Backup,
        Self::Restore,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9",
            Self::KillAtStart => "kill -9 at the start",
            Self::Freeze => "SIGSTOP",
            Self::Stop => "SIGTERM",
            Self::ClockJumps => "clock jump",
            Self::ClockIsOffAtStart => "clock jump over a restart",
            Self::DiskFull => "full disk",
            Self::DiskErrors => "disk error",
            Self::Backup => "backup under load, checked",
            Self::Restore => "restore, used from then on",
        }
    }

    fn needs_shim(self) -> bool {
        matches!(self, Self::ClockJumps | Self::ClockIsOffAtStart | Self::DiskFull | Self::DiskErrors)
    }
}

/// Does what goes wrong.
pub(crate) struct Faults<'a> {
    pub(crate) machine: Machine<'a>,
    pub(crate) shared: &'a Shared,
    pub(crate) shim: Option<&'a Shim>,
    pub(crate) users: &'a [String],
    pub(crate) folder: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) program: PathBuf,
    pub(crate) rng: Rng,
    deck: Vec<Fault>,
    /// How many backups were taken.
    folders: u32,
    /// The folder that the last restore replaced.
    replaced: Option<PathBuf>,
    /// Whether the server files everything within seconds, and not only when it stops.
    pub(crate) files_by_itself: bool,
    /// What happened since the last rest.
    pub(crate) tally: Tally,
    /// What was done, and when: to be read when something was lost.
    pub(crate) diary: Vec<String>,
    began: Instant,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(
        machine: Machine<'a>,
        shared: &'a Shared,
        shim: Option<&'a Shim>,
        users: &'a [String],
        [folder, log, program]: [PathBuf; 3],
        rng: Rng,
    ) -> Self {
        let (deck, tally, diary) = (Vec::new(), Tally::new(), Vec::new());
        let (folders, replaced) = (0, None);
        Self {
            machine,
            shared,
            shim,
            users,
            folder,
            log,
            program,
            rng,
            deck,
            folders,
            replaced,
            files_by_itself: true,
            tally,
            diary,
            began: Instant::now(),
        }
    }

    /// Options of a start: mostly such that every step of a batch's way is under way at some moment.
    fn options(&mut self) -> Vec<&'static str> {
        let every = *self.rng.choice(&["50ms", "500ms", "2s", "10s", "1h"]).unwrap_or(&"2s");
        let size = *self.rng.choice(&["4000", "100000", "16MiB"]).unwrap_or(&"16MiB");
        vec!["--flush-every", every, "--flush-size", size]
    }

    /// Options of a start of the server that clients send to.
    fn options_of_the_server(&mut self) -> Vec<&'static str> {
        let options = self.options();
        self.files_by_itself = !options.contains(&"1h");
        options
    }

    pub(crate) fn note(&mut self, what: impl AsRef<str>) {
        self.diary.push(format!("{:7.2} s  {}", self.began.elapsed().as_secs_f64(), what.as_ref()));
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn wait(&mut self, millis: std::ops::Range<u64>) {
        thread::sleep(Duration::from_millis(self.rng.u64(millis)));
    }

    /// Starts a server where nothing is wrong, and lets clients send to it.
    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        let options = self.options_of_the_server();
        self.machine.must_start(&options)?;
        self.machine.open_to(self.shared);
        Ok(())
    }

    /// Ends what is wrong: the disk works, and a server runs.
    pub(crate) fn lift(&mut self) -> anyhow::Result<()> {
        if let Some(shim) = self.shim {
            shim.lift()?;
        }
        self.machine.must_run()?;
        if !self.machine.is_running() {
            self.start()?;
        }
        Ok(())
    }

    /// Lets the next thing go wrong.
    pub(crate) fn next(&mut self) -> anyhow::Result<()> {
        if self.deck.is_empty() {
            let has_shim = self.shim.is_some();
            self.deck = Fault::ALL.into_iter().filter(|fault| has_shim || !fault.needs_shim()).collect();
            self.rng.shuffle(&mut self.deck);
        }
        let fault = self.deck.pop().context("there are some")?;
        self.note(fault.name());
        self.count(fault.name());
        match fault {
            Fault::Kill => self.kill()?,
            Fault::KillAtStart => self.kill_at_start()?,
            Fault::Freeze => self.freeze()?,
            Fault::Stop => self.machine.stop()?,
            Fault::ClockJumps => self.jump()?,
            Fault::ClockIsOffAtStart => {
                self.machine.kill()?;
                self.jump()?;
            }
            Fault::DiskFull | Fault::DiskErrors => self.disk(fault)?,
            Fault::Backup => self.backup(false)?,
            Fault::Restore => self.backup(true)?,
        }
        self.lift().with_context(|| format!("after {}", fault.name()))
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.machine.kill()?;
        if self.rng.bool() {
            self.wait(0..1000);
        }
        Ok(())
    }

    fn kill_at_start(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.rng.u8(1..4) {
            self.machine.kill()?;
            let mut command = self.machine.command(&["serve", "--listen", "127.0.0.1:0"]);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            self.wait(0..120);
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn freeze(&mut self) -> anyhow::Result<()> {
        self.machine.signal(Signal::STOP)?;
        self.wait(100..6000);
        if self.rng.u8(0..4) == 0 {
            return self.machine.kill();
        }
        self.machine.signal(Signal::CONT)
    }

    /// Sets the clock right, or off by up to decades.
    fn jump(&mut self) -> anyhow::Result<()> {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        const SHIFTS: [i64; 10] = [0, 0, 3, -3, HOUR, -HOUR, 26 * HOUR, -2 * DAY, 400 * DAY, -50 * 365 * DAY];
        let shift = *self.rng.choice(&SHIFTS).unwrap_or(&0);
        self.note(format!("the clock is off by {shift} s"));
        self.shim.context("clocks jump only with it")?.shift_clock(shift)
    }

    /// Calls on the data folder fail for a while; in some cases the server ends meanwhile, or starts again.
    fn disk(&mut self, fault: Fault) -> anyhow::Result<()> {
        let shim = self.shim.context("disks fail only with it")?;
        let failure = if fault == Fault::DiskFull {
            let per_mille = if self.rng.bool() { 1000 } else { self.rng.u32(50..900) };
            let calls = shim::WRITES | shim::CREATIONS;
            Failure { error: shim::NO_SPACE, calls, per_mille, after: 300 }
        } else {
            let all = shim::WRITES | shim::SYNCS | shim::CREATIONS | shim::RENAMES;
            let calls = *self
                .rng
                .choice(&[shim::WRITES, shim::SYNCS, shim::RENAMES, shim::READS, all, all | shim::READS])
                .unwrap_or(&all);
            Failure { error: shim::INPUT_OUTPUT, calls, per_mille: self.rng.u32(5..700), after: 300 }
        };
        self.note(format!("{failure:?}"));
        let before = shim.failed()?;
        shim.fail(failure, self.rng.u64(..))?;
        self.wait(300..3000);
        match self.rng.u8(0..4) {
            0 => self.machine.kill()?,
            1 => self.machine.stop()?,
            _ => self.machine.must_run()?,
        }
        if !self.machine.is_running() && self.rng.bool() {
            self.note("a start meanwhile");
            let options = self.options_of_the_server();
            if let Started::Listens { .. } = self.machine.start(&options)? {
                self.machine.open_to(self.shared);
                self.wait(300..2000);
            } else {
                self.count("start refused by a bad disk");
            }
        }
        self.note(format!("{} calls failed", shim.failed()? - before));
        *self.tally.entry("failed call").or_default() += shim.failed()? - before;
        Ok(())
    }

    /// Takes a backup while clients send, in some cases while the server is killed. What is restored from it takes over, or
    /// is checked.
    fn backup(&mut self, takes_over: bool) -> anyhow::Result<()> {
        self.folders += 1;
        let backup = self.folder.join(format!("backup-{}", self.folders));
        let restored = self.folder.join(format!("data-{}", self.folders));
        let (Some(to), Some(data)) = (backup.to_str(), restored.to_str()) else {
            bail!("the folder is no text")
        };
        let before = self.shared.book.now();
        let arguments = ["backup", to];
        let mut command = self.machine.command(&arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if self.rng.u8(0..3) == 0 {
            self.note("killed during the backup");
            self.wait(0..300);
            self.machine.kill()?;
            self.start()?;
        }
        succeeded(&arguments, &child.wait_with_output()?)?;
        if takes_over {
            self.machine.kill()?;
            self.machine.output(&["restore", to, "--data", data])?;
            let number = self.shared.book.restore(before);
            self.shared.set_target(Target { url: None, restores: number });
            // The folder before is kept until another one takes over: it may tell what went wrong.
            let replaced = std::mem::replace(&mut self.machine.data, restored);
            if let Some(older) = self.replaced.replace(replaced) {
                fs::remove_dir_all(older)?;
            }
        } else {
            self.machine.output(&["restore", to, "--data", data])?;
            self.check(restored, before)?;
        }
        Ok(fs::remove_dir_all(backup)?)
    }

    /// Holds a restored folder to what was acknowledged before its backup.
    fn check(&mut self, restored: PathBuf, before: Moment) -> anyhow::Result<()> {
        let (program, log, shim) = (self.program.clone(), self.log.clone(), self.shim);
        let mut machine = Machine::new(&program, restored, &log, shim);
        machine.output(&["audit"])?;
        let options = self.options();
        machine.must_start(&options)?;
        machine.stop()?;
        machine.audit()?;
        let verdict = self.shared.book.compare(self.users, &lake::events(&machine.data)?, Some(before));
        let broken = verdict.broken();
        if !broken.is_empty() {
            bail!("a restored backup ({}): {}", machine.data.display(), broken.join("; "));
        }
        Ok(fs::remove_dir_all(&machine.data)?)
    }

    /// What happened since it was asked last, in words.
    pub(crate) fn happened(&mut self) -> (String, Tally) {
        let tally = std::mem::take(&mut self.tally);
        (in_words(&tally), tally)
    }
}
