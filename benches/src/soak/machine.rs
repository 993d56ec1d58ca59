//! The soak's machine: a data folder, the server on it, and the commands of its operator.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    clients::{Shared, Target},
    shim::Shim,
};
use crate::process::Process;

/// How long one thing may take on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// A data folder, and perhaps a server on it. Dropping it ends the server.
pub(crate) struct Machine<'a> {
    program: &'a Path,
    pub(crate) data: PathBuf,
    log: &'a Path,
    shim: Option<&'a Shim>,
    server: Option<Child>,
    /// Where the server says that it listens.
    pub(crate) url: String,
}

/// What became of a start.
pub(crate) enum Started {
    /// It listens; the first start on a folder makes a user, whose credentials these are.
    Listens { credentials: Option<String> },
    /// It ended by itself.
    Refused,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(program: &'a Path, data: PathBuf, log: &'a Path, shim: Option<&'a Shim>) -> Self {
        Self { program, data, log, shim, server: None, url: String::new() }
    }

    /// Starts a server with these options of `weir serve`.
    pub(crate) fn start(&mut self, options: &[&str]) -> anyhow::Result<Started> {
        ensure!(self.server.is_none(), "a server is running already");
        let is_first = !self.data.join("users.db").exists();
        let mut command = Command::new(self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&self.data).args(options);
        if let Some(shim) = self.shim {
            shim.all_for(&mut command, &self.data);
        }
        let log = File::options().append(true).create(true).open(self.log)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let lines = BufReader::new(child.stdout.take().context("it is piped")?).lines();
        let (told, said) = mpsc::channel();
        // Goes on reading what is printed later, so that the server never waits for it.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(told.send(line))));
        self.server = Some(child);
        let (mut url, mut credentials) = (None, None);
        let until = Instant::now() + PATIENCE;
        while url.is_none() || (is_first && credentials.is_none()) {
            match said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let mut words = line.split_whitespace();
                    url = url.or_else(|| words.find(|word| word.starts_with("http://")).map(str::to_owned));
                    let named = Some(line.trim().to_owned()).filter(|line| line.starts_with("demo:"));
                    credentials = credentials.or(named);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.wait()?;
                    return Ok(Started::Refused);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("the server neither listens nor ends"),
            }
        }
        self.url = url.unwrap_or_default();
        Ok(Started::Listens { credentials })
    }

    /// Starts a server where nothing keeps it from starting.
    pub(crate) fn must_start(&mut self, options: &[&str]) -> anyhow::Result<Option<String>> {
        match self.start(options)? {
            Started::Listens { credentials } => Ok(credentials),
            Started::Refused => bail!("the server does not start, though nothing is wrong"),
        }
    }

    /// Lets clients send to it.
    pub(crate) fn open_to(&self, shared: &Shared) {
        let url = self.server.is_some().then(|| self.url.clone());
        shared.set_target(Target { url, ..shared.target() });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// Fails if the server ended by itself.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<()> {
        if let Some(server) = &mut self.server
            && let Some(status) = server.try_wait()?
        {
            self.server = None;
            bail!("the server ended by itself: {status}");
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let server = self.server.as_ref().context("no server")?;
        let process = Pid::from_raw(server.id().try_into()?).context("a process has a number")?;
        Ok(kill_process(process, signal)?)
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.must_run()?;
        if let Some(mut server) = self.server.take() {
            server.kill()?;
            server.wait()?;
        }
        Ok(())
    }

    /// Asks the server to stop, which it must do within its limit.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        self.must_run()?;
        self.signal(Signal::TERM)?;
        let code = self.wait()?;
        ensure!(code == Some(0), "a server that was asked to stop ended with {code:?}");
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<Option<i32>> {
        let mut server = self.server.take().context("no server")?;
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.try_wait()? {
                return Ok(status.code());
            }
            if Instant::now() > until {
                server.kill()?;
                server.wait()?;
                bail!("the server does not end");
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// A `weir` command on the folder. It sees the machine's clock, as it is; its calls do not fail.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        command.args(arguments).env("WEIR_DATA", &self.data).stdin(Stdio::null());
        if let Some(shim) = self.shim {
            shim.clock_for(&mut command);
        }
        command
    }

    /// Runs a command that must succeed.
    pub(crate) fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        succeeded(arguments, &self.command(arguments).output()?)
    }

    /// Recounts the lake.
    pub(crate) fn audit(&self) -> anyhow::Result<()> {
        self.output(&["audit"]).map(drop)
    }

    pub(crate) fn resident(&self) -> u64 {
        self.server.as_ref().and_then(|server| Process(server.id()).resident().ok()).unwrap_or_default()
    }
}

/// What a command printed that must have succeeded.
pub(crate) fn succeeded(arguments: &[&str], output: &Output) -> anyhow::Result<String> {
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(
        output.status.success(),
        "`weir {}` ended with {}: {}{}",
        arguments.join(" "),
        output.status,
        said(&output.stdout),
        said(&output.stderr)
    );
    Ok(said(&output.stdout))
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// What a folder takes on the disk.
pub(crate) fn on_disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // What the server removes meanwhile takes nothing.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            bytes += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}
