//! A library that is preloaded into `weir` (`shim.c`): it shifts the wall clock, also of a running process, and lets calls
//! on the data folder's files fail. It needs a C compiler and no privilege.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

const SOURCE: &str = include_str!("shim.c");

/// The layout of `struct control`.
const CLOCK_SHIFT: u64 = 0;
const ERROR: u64 = 8;
const PER_MILLE: u64 = 12;
const CALLS: u64 = 16;
const AFTER: u64 = 20;
const SEED: u64 = 24;
const FAILED: u64 = 40;
const LOADED: u64 = 48;
const LENGTH: u64 = 56;

/// Calls that can fail.
pub(crate) const WRITES: u32 = 1;
pub(crate) const SYNCS: u32 = 2;
pub(crate) const CREATIONS: u32 = 4;
pub(crate) const RENAMES: u32 = 8;
pub(crate) const READS: u32 = 16;

pub(crate) const NO_SPACE: i32 = 28;
pub(crate) const INPUT_OUTPUT: i32 = 5;

/// How calls on files fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    pub(crate) error: i32,
    pub(crate) calls: u32,
    pub(crate) per_mille: u32,
    /// How many of a thousand failures come after the call took effect.
    pub(crate) after: u32,
}

/// The library, and the page of memory by which it gets its orders.
pub(crate) struct Shim {
    library: PathBuf,
    page: PathBuf,
    control: File,
}

impl Shim {
    /// Compiles the library into a folder, and tries it on a program.
    pub(crate) fn make(folder: &Path, program: &Path) -> anyhow::Result<Self> {
        let (source, library) = (folder.join("shim.c"), folder.join("shim.so"));
        std::fs::write(&source, SOURCE)?;
        let compiled =
            Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).args([&library, &source]).output();
        let compiled = compiled.context("there is no C compiler")?;
        ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
        let page = folder.join("control");
        let control = File::options().read(true).write(true).create(true).truncate(true).open(&page)?;
        control.set_len(LENGTH)?;
        let shim = Self { library, page, control };
        let mut command = Command::new(program);
        shim.clock_for(&mut command);
        command.arg("--version").output().context("the program cannot be run")?;
        ensure!(shim.number(LOADED)? > 0, "{} loads no library", program.display());
        Ok(shim)
    }

    /// Lets a command see the shifted clock.
    pub(crate) fn clock_for(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("SOAK_CONTROL", &self.page);
    }

    /// Lets a command see the shifted clock, and have the failures of a data folder.
    pub(crate) fn all_for(&self, command: &mut Command, data: &Path) {
        self.clock_for(command);
        command.env("SOAK_FOLDER", data);
    }

    /// Sets the clock off by so many seconds.
    pub(crate) fn shift_clock(&self, seconds: i64) -> anyhow::Result<()> {
        Ok(self.control.write_all_at(&seconds.to_ne_bytes(), CLOCK_SHIFT)?)
    }

    /// Lets calls fail from now on.
    pub(crate) fn fail(&self, failure: Failure, seed: u64) -> anyhow::Result<()> {
        self.control.write_all_at(&seed.to_ne_bytes(), SEED)?;
        self.control.write_all_at(&failure.per_mille.to_ne_bytes(), PER_MILLE)?;
        self.control.write_all_at(&failure.calls.to_ne_bytes(), CALLS)?;
        self.control.write_all_at(&failure.after.to_ne_bytes(), AFTER)?;
        Ok(self.control.write_all_at(&failure.error.to_ne_bytes(), ERROR)?)
    }

    /// Lets no call fail any more.
    pub(crate) fn lift(&self) -> anyhow::Result<()> {
        Ok(self.control.write_all_at(&0_i32.to_ne_bytes(), ERROR)?)
    }

    /// How many calls have failed.
    pub(crate) fn failed(&self) -> anyhow::Result<u64> {
        self.number(FAILED)
    }

    fn number(&self, at: u64) -> anyhow::Result<u64> {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_ne_bytes(bytes))
    }
}
