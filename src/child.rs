//! One run of a function: a child process with limits of time, memory and output.
//!
//! Each child leads a process group of its own. Whatever ends it, its time, its output or a signal, ends the whole group, so
//! that nothing that it started stays behind.

use std::{
    collections::HashSet,
    io::{self, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::functions::Function;

/// How much of what a command says on standard error is kept: its end.
const SAID: usize = 1024;

/// The variables of the server that a function gets which a client starts. Others may hold secrets, which it could print.
const FEW: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// Which variables of this process a function gets.
#[derive(Debug, Clone, Copy)]
pub(super) enum Environment {
    Inherited,
    /// [`FEW`].
    Few,
}

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{program} cannot be run: {reason}")]
    CannotRun { program: String, reason: io::Error },
    #[error("the command ended with {status}{said}")]
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
    pub(super) fn for_clients(&self) -> String {
        match self {
            Self::CannotRun { .. } => "the command cannot be run".to_owned(),
            Self::Ended { status, .. } => format!("the command ended with {status}"),
            Self::Input(_) => "it cannot be read".to_owned(),
            Self::Output(_) => "the command's output cannot be read".to_owned(),
            Self::TooSlow(_) | Self::TooMuch(_) | Self::Stopped => self.to_string(),
        }
    }

    /// Whether another run may have a result.
    pub(super) fn may_pass(&self) -> bool {
        !matches!(self, Self::CannotRun { .. } | Self::Stopped)
    }
}

/// The children that run now, so that all of them can be ended.
#[derive(Default)]
pub(super) struct Running(Mutex<State>);

#[derive(Default)]
struct State {
    groups: HashSet<Pid>,
    is_stopped: bool,
}

impl Running {
    /// Ends all children, and starts no other.
    pub(super) fn stop(&self) {
        let mut state = self.0.lock();
        state.is_stopped = true;
        for group in &state.groups {
            end(*group);
        }
    }

    pub(super) fn is_stopped(&self) -> bool {
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

/// Runs a function on what `feed` writes, and returns what it prints.
pub(super) fn run(
    function: &Function,
    variables: &[(&str, String)],
    environment: Environment,
    feed: impl FnOnce(ChildStdin) -> Result<(), String> + Send,
    running: &Running,
) -> Result<Vec<u8>, Failure> {
    let Some((program, arguments)) = function.command.split_first() else { return Err(Failure::Stopped) };
    let mut command = Command::new(program);
    if let Environment::Few = environment {
        command.env_clear().envs(FEW.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    }
    command
        .args(arguments)
        .current_dir(&function.directory)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut started = running.start(&mut command)?;
    limit_memory(started.group, function.memory_limit);
    let pipes = (started.child.stdin.take(), started.child.stdout.take(), started.child.stderr.take());
    let (Some(stdin), Some(output), Some(errors)) = pipes else { return Err(Failure::Stopped) };
    let group = started.group;
    thread::scope(|scope| {
        let feeding = scope.spawn(|| feed(stdin));
        let saying = scope.spawn(|| last_of(errors));
        let (done, wait) = mpsc::channel::<()>();
        let watching = scope.spawn(move || {
            let is_over = wait.recv_timeout(function.time_limit()) == Err(RecvTimeoutError::Timeout);
            if is_over {
                end(group);
            }
            is_over
        });
        let printed = read_up_to(output, function.output_limit);
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
            return Err(Failure::TooSlow(function.time_limit()));
        }
        let printed = printed.map_err(Failure::Output)?.ok_or(Failure::TooMuch(function.output_limit))?;
        input.unwrap_or_else(|_| Err("a panic".to_owned())).map_err(Failure::Input)?;
        let status = status.map_err(Failure::Output)?;
        if status.success() { Ok(printed) } else { Err(Failure::Ended { status, said }) }
    })
}

#[cfg(target_os = "linux")]
fn limit_memory(child: Pid, bytes: u64) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // An error means that it has ended already.
    let _ = prlimit(Some(child), Resource::Data, limit);
}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_: Pid, _: u64) {}

/// Reads everything; `None` if that is more than the limit.
fn read_up_to(from: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Reads everything, and keeps the end of it, as a part of a message.
fn last_of(mut from: impl Read) -> String {
    let (mut last, mut piece) = (Vec::new(), [0; SAID]);
    while let Ok(length @ 1..) = from.read(&mut piece) {
        last.extend_from_slice(&piece[..length]);
        last.drain(..last.len().saturating_sub(SAID));
    }
    let last = String::from_utf8_lossy(&last);
    if last.trim().is_empty() { String::new() } else { format!(", and said: {}", last.trim()) }
}
