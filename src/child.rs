//! Child processes: one with limits of time, memory and output, for a run of a function or a client's query; and one whose
//! output is read as it comes. `sandbox` keeps one from the rest of the machine.
//!
//! Each child leads a process group of its own. Whatever ends it, its time, its output or a signal, ends the whole group, so
//! that nothing that it started stays behind.

mod sandbox;

use std::{
    collections::HashSet,
    io::{self, Read},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub(crate) use sandbox::Sandbox;

use crate::{environment, stderr::Stderr};

/// How much of what a command says on standard error is kept, and how much of that is printed: the end of it.
const KEPT: usize = 64 << 10;
const SAID: usize = 1024;

/// A command, and its limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// The program and its arguments.
    pub(crate) command: &'a [String],
    /// The folder in which it runs.
    pub(crate) directory: &'a Path,
    pub(crate) environment: Environment,
    pub(crate) time_limit: Duration,
    /// The bytes that each of its processes may have of its own.
    pub(crate) memory_limit: u64,
    /// The bytes that it may print.
    pub(crate) output_limit: u64,
    /// The bytes that a file which it writes may have.
    pub(crate) file_limit: Option<u64>,
    /// What of the machine it may touch; `None` for all that this process may.
    pub(crate) sandbox: Option<Sandbox<'a>>,
}

/// Which variables of this process a child gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Environment {
    Inherited,
    /// Those of [`environment::few`].
    Few,
    /// None: what the child runs comes from a client.
    None,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{program} cannot be run: {reason}")]
    CannotRun { program: String, reason: io::Error },
    #[error("the command ended with {status}{}", and_said(said))]
    Ended { status: ExitStatus, said: String },
    #[error("the command took longer than its time limit, {0:?}")]
    TooSlow(Duration),
    #[error("the command printed more than its output limit, {}", ByteSize(*.0).display().iec())]
    TooMuch(u64),
    #[error("it cannot be read: {0}")]
    Input(String),
    #[error("the command's output cannot be read: {0}")]
    Output(io::Error),
    #[error("stopped")]
    Stopped,
}

impl Failure {
    /// Says why, without what the command said and without the paths of this machine.
    pub(crate) fn for_clients(&self) -> String {
        match self {
            Self::CannotRun { .. } => "the command cannot be run".to_owned(),
            Self::Ended { status, .. } => format!("the command ended with {status}"),
            Self::Input(_) => "it cannot be read".to_owned(),
            Self::Output(_) => "the command's output cannot be read".to_owned(),
            Self::TooSlow(_) | Self::TooMuch(_) | Self::Stopped => self.to_string(),
        }
    }

    /// Whether another run may have a result.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(self, Self::CannotRun { .. } | Self::Stopped)
    }
}

/// The children that run now, so that all of them can be ended.
#[derive(Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Default)]
struct State {
    groups: HashSet<Pid>,
    is_stopped: bool,
}

impl Running {
    /// Ends all children, and starts no other.
    pub(crate) fn stop(&self) {
        let mut state = self.0.lock();
        state.is_stopped = true;
        for group in &state.groups {
            end(*group);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.lock().is_stopped
    }

    fn start(&self, command: &mut Command) -> Result<Started<'_>, Failure> {
        let mut state = self.0.lock();
        if state.is_stopped {
            return Err(Failure::Stopped);
        }
        let child = command.spawn().map_err(|reason| {
            let program = command.get_program().to_string_lossy().into_owned();
            Failure::CannotRun { program, reason }
        })?;
        let group = Pid::from_child(&child);
        state.groups.insert(group);
        Ok(Started { child, group, running: self })
    }
}

/// A child whose output is read as it comes. Dropping it ends the child's process group.
pub(crate) struct Printing {
    child: Child,
    group: Pid,
    output: ChildStdout,
    errors: Option<Stderr>,
}

impl Printing {
    /// Starts a command. Each of its processes may have this many bytes of memory.
    pub(crate) fn start(command: &mut Command, memory_limit: u64) -> io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        limit(group, memory_limit, None);
        match (child.stdout.take(), child.stderr.take()) {
            (Some(output), Some(errors)) => {
                Ok(Self { child, group, output, errors: Some(Stderr::of(errors)) })
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Waits for the end of the child, whose output must have been read. Returns its status, and what it printed on standard
    /// error.
    pub(crate) fn end(&mut self) -> io::Result<(ExitStatus, String)> {
        let status = self.child.wait()?;
        Ok((status, self.errors.take().map(Stderr::text).unwrap_or_default()))
    }
}

impl Read for Printing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.output.read(into)
    }
}

impl Drop for Printing {
    fn drop(&mut self) {
        // After a wait, another process may have the child's number.
        if matches!(self.child.try_wait(), Ok(None)) {
            end(self.group);
            let _ = self.child.wait();
        }
    }
}

/// A child whose group is ended when this is dropped.
struct Started<'a> {
    child: Child,
    group: Pid,
    running: &'a Running,
}

impl Started<'_> {
    /// Waits for the end of the child, ends what is left of its group, and takes its status.
    fn end(mut self) -> io::Result<ExitStatus> {
        // The process is left as it is, so that its number stays its own until the group is ended.
        let _ = waitid(WaitId::Pid(self.group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        self.leave();
        self.child.wait()
    }

    fn leave(&self) {
        let mut state = self.running.0.lock();
        if state.groups.remove(&self.group) {
            end(self.group);
        }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.leave();
        // It has ended.
        let _ = self.child.wait();
    }
}

fn end(group: Pid) {
    // An error means that it has ended by itself.
    let _ = kill_process_group(group, Signal::KILL);
}

/// Runs a command on what `feed` writes, and returns what it prints.
pub(crate) fn run(
    program: &Program<'_>,
    variables: &[(&str, String)],
    feed: impl FnOnce(ChildStdin) -> Result<(), String> + Send,
    running: &Running,
) -> Result<Vec<u8>, Failure> {
    let Some((name, arguments)) = program.command.split_first() else { return Err(Failure::Stopped) };
    let mut command = Command::new(name);
    match program.environment {
        Environment::Inherited => &mut command,
        Environment::Few => command.env_clear().envs(environment::few()),
        Environment::None => command.env_clear(),
    };
    command
        .args(arguments)
        .current_dir(program.directory)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut start = || running.start(&mut command);
    let mut started = match program.sandbox {
        Some(sandbox) => sandbox
            .inside(start)
            .map_err(|reason| Failure::CannotRun { program: format!("{name}, in a sandbox,"), reason })??,
        None => start()?,
    };
    limit(started.group, program.memory_limit, program.file_limit);
    let pipes = (started.child.stdin.take(), started.child.stdout.take(), started.child.stderr.take());
    let (Some(stdin), Some(output), Some(errors)) = pipes else { return Err(Failure::Stopped) };
    let group = started.group;
    thread::scope(|scope| {
        let feeding = scope.spawn(|| feed(stdin));
        let saying = scope.spawn(|| last_of(errors));
        let (done, wait) = mpsc::channel::<()>();
        let watching = scope.spawn(move || {
            let is_over = wait.recv_timeout(program.time_limit) == Err(RecvTimeoutError::Timeout);
            if is_over {
                end(group);
            }
            is_over
        });
        let printed = read_up_to(output, program.output_limit);
        if !matches!(printed, Ok(Some(_))) {
            end(group);
        }
        // The time limit holds until the process itself has ended, and its number is its own until then.
        let _ = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        drop(done);
        let took_too_long = watching.join().unwrap_or(true);
        let status = started.end();
        let (input, said) = (feeding.join(), saying.join().unwrap_or_default());
        if running.is_stopped() {
            return Err(Failure::Stopped);
        }
        if took_too_long {
            return Err(Failure::TooSlow(program.time_limit));
        }
        let printed = printed.map_err(Failure::Output)?.ok_or(Failure::TooMuch(program.output_limit))?;
        input.unwrap_or_else(|_| Err("a panic".to_owned())).map_err(Failure::Input)?;
        let status = status.map_err(Failure::Output)?;
        if status.success() { Ok(printed) } else { Err(Failure::Ended { status, said }) }
    })
}

#[cfg(target_os = "linux")]
fn limit(child: Pid, memory: u64, file: Option<u64>) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limits = [(Resource::Data, Some(memory)), (Resource::Fsize, file)];
    for (resource, bytes) in limits.into_iter().filter(|(_, bytes)| bytes.is_some()) {
        // An error means that it has ended already.
        let _ = prlimit(Some(child), resource, Rlimit { current: bytes, maximum: bytes });
    }
}

#[cfg(not(target_os = "linux"))]
fn limit(_: Pid, _: u64, _: Option<u64>) {}

/// Reads everything; `None` if that is more than the limit.
fn read_up_to(from: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Reads everything, and keeps the end of it.
fn last_of(mut from: impl Read) -> String {
    let (mut last, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        last.extend_from_slice(&piece[..length]);
        last.drain(..last.len().saturating_sub(KEPT));
    }
    String::from_utf8_lossy(&last).trim().to_owned()
}

fn and_said(said: &str) -> String {
    let from = said.ceil_char_boundary(said.len().saturating_sub(SAID));
    if said.is_empty() { String::new() } else { format!(", and said: {}", said[from..].trim()) }
}
