//! A DuckDB that works for an answer, and can be ended from another thread.

use std::{
    io,
    process::{Child, Command, ExitStatus},
};

use parking_lot::Mutex;

/// At most one process, until a stop.
#[derive(Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    child: Option<Child>,
}

impl Running {
    /// Starts a process; returns what `pipes` takes out of it.
    pub(crate) fn start<T>(
        &self,
        command: &mut Command,
        pipes: impl FnOnce(&mut Child) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.0.lock();
        if state.stopped {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let mut child = command.spawn()?;
        let taken = pipes(&mut child)?;
        state.child = Some(child);
        Ok(taken)
    }

    /// Waits for its end. Its output must have been read.
    pub(crate) fn wait(&self) -> io::Result<ExitStatus> {
        let child = self.0.lock().child.take();
        child.ok_or(io::ErrorKind::Interrupted)?.wait()
    }

    /// Ends the process of a computation that failed.
    pub(crate) fn give_up(&self) {
        // It may have ended by itself.
        if let Some(mut child) = self.0.lock().child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the process, and lets no other one start.
    pub(crate) fn stop(&self) {
        self.0.lock().stopped = true;
        self.give_up();
    }

    /// Returns whether it was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }
}
