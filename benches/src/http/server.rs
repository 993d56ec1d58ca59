//! `weir serve` as a process of its own, on a folder of its own.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context, ensure};

use crate::process::Process;

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Of the user that the first start makes.
    pub(crate) credentials: String,
}

impl Server {
    /// Starts a program on a new data folder; with the built-in catalog, if no other is named.
    pub(crate) fn start(program: &Path, data: &Path, catalog: Option<&Path>) -> anyhow::Result<Self> {
        let options = catalog.iter().flat_map(|folder| [OsStr::new("--catalog"), folder.as_os_str()]);
        Self::start_with(program, data, &options.collect::<Vec<_>>(), None)
    }

    /// Starts a program with more options, on a new data folder or, with the credentials that its first server printed, again.
    pub(crate) fn start_with(
        program: &Path,
        data: &Path,
        options: &[impl AsRef<OsStr>],
        known: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be run", program.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().context("its output is piped")?);
        let (mut url, mut credentials) = (None, known.map(ToOwned::to_owned));
        while url.is_none() || credentials.is_none() {
            let mut line = String::new();
            ensure!(stdout.read_line(&mut line)? > 0, "the server did not start");
            let mut words = line.split_whitespace();
            url = url.or_else(|| words.find_map(|word| word.strip_prefix("http://")?.parse().ok()));
            credentials =
                credentials.or_else(|| Some(line.trim().to_owned()).filter(|line| line.starts_with("demo:")));
        }
        // Its output is read to the end: a full pipe would stop it.
        thread::spawn(move || stdout.lines().for_each(drop));
        let (address, credentials) = url.zip(credentials).context("it has both by now")?;
        Ok(Self { child, address, credentials })
    }

    pub(crate) fn process(&self) -> Process {
        Process(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it ended by itself, there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
