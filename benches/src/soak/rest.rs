//! A rest of the soak: clients stop, the server files everything, and what is there is compared with the book.

use std::{
    fs,
    io::Write,
    path::Path,
    sync::{PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use flate2::{Compression, write::GzEncoder};

use super::{
    book::Verdict,
    clients::Shared,
    faults::Faults,
    lake,
    machine::{Machine, PATIENCE, on_disk},
};

/// What can be changed in the lake to see that it is found.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Plant {
    /// An acknowledged event is removed.
    Loss,
    /// An event is written twice.
    Repeat,
}

/// What a rest found.
pub(crate) struct Found {
    pub(crate) verdict: Verdict,
    /// What breaks a promise, in words.
    pub(crate) broken: Vec<String>,
    pub(crate) resident: u64,
    pub(crate) on_disk: u64,
}

/// Lets clients rest, looks at everything, and lets them go on.
pub(crate) fn rest(faults: &mut Faults<'_>, clients: usize, plant: Option<Plant>) -> anyhow::Result<Found> {
    faults.lift()?;
    faults.shared.is_paused.store(true, Ordering::SeqCst);
    wait_until("clients rest", || Ok(faults.shared.resting.load(Ordering::SeqCst) == clients))?;
    goes_on(&faults.machine)?;
    let resident = faults.machine.resident();
    let data = faults.machine.data.clone();
    let not_filed = || anyhow::Ok(weir_embedded::not_filed_yet(&data)?.events);
    if faults.files_by_itself && faults.rng.bool() {
        wait_until("everything is filed", || Ok(not_filed()? == 0))?;
    } else {
        faults.machine.stop()?;
        ensure!(not_filed()? == 0, "a server that was asked to stop left events behind");
    }
    if let Some(plant) = plant {
        plant_into(&data, plant)?;
    }
    let mut broken: Vec<String> =
        faults.machine.audit().err().map(|error| format!("{error:#}")).into_iter().collect();
    let verdict = faults.shared.book.compare(faults.users, &lake::events(&data)?, None);
    broken.extend(verdict.broken());
    if !lake::files(&data.join("quarantine"))?.is_empty() {
        broken.push("events are in quarantine".to_owned());
    }
    let unexpected = faults.shared.unexpected.lock().unwrap_or_else(PoisonError::into_inner).clone();
    broken.extend(unexpected.into_iter().take(5));
    if fs::read_to_string(&faults.log)?.contains("panicked") {
        broken.push("the server panicked".to_owned());
    }
    let on_disk = on_disk(&faults.folder);
    faults.lift()?;
    faults.shared.is_paused.store(false, Ordering::SeqCst);
    Ok(Found { verdict, broken, resident, on_disk })
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < until, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Fails if the server does not go on by itself once nothing is wrong any more.
fn goes_on(machine: &Machine<'_>) -> anyhow::Result<()> {
    let health = format!("{}/health", machine.url);
    let is_well = || Ok(ureq::get(&health).call().is_ok());
    wait_until("the server is well", is_well)
}

/// Changes a lake behind the server's back, to show that it is found.
fn plant_into(data: &Path, plant: Plant) -> anyhow::Result<()> {
    for path in lake::files(&data.join("lake"))? {
        let text = lake::lines(&path)?;
        let mut lines: Vec<&str> = text.lines().collect();
        // Of what is rejected, and of an object's only line, nothing is taken.
        if lines.len() < 2 || path.to_string_lossy().contains("/rejected/") {
            continue;
        }
        match plant {
            Plant::Loss => drop(lines.pop()),
            Plant::Repeat => lines.push(lines[0]),
        }
        let mut gzip = GzEncoder::new(fs::File::create(&path)?, Compression::default());
        for line in lines {
            writeln!(gzip, "{line}")?;
        }
        gzip.finish().context("the object is written")?;
        return Ok(());
    }
    bail!("no object of the lake has two events")
}

impl Shared {
    /// Ends all clients.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}
