//! The functions that an operator has named: a file for each, below `functions/` of the data folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{
    child::{Environment, Program},
    cli::FunctionName,
    names,
};

/// A command, and its limits for one object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Function {
    /// The program and its arguments.
    pub(super) command: Vec<String>,
    /// The folder in which it runs.
    pub(super) directory: PathBuf,
    time_limit_ms: u64,
    /// The bytes that each of its processes may have of its own.
    pub(super) memory_limit: u64,
    /// The bytes that it may print.
    pub(super) output_limit: u64,
    /// Whether only the operator runs it: clients cannot start it over HTTP.
    #[serde(default)]
    pub(super) private: bool,
}

impl Function {
    pub(super) fn new(
        command: Vec<String>,
        directory: PathBuf,
        time_limit: Duration,
        memory_limit: u64,
        output_limit: u64,
        private: bool,
    ) -> Self {
        let time_limit_ms = u64::try_from(time_limit.as_millis()).unwrap_or(u64::MAX).max(1);
        Self { command, directory, time_limit_ms, memory_limit, output_limit, private }
    }

    pub(super) fn time_limit(&self) -> Duration {
        Duration::from_millis(self.time_limit_ms)
    }

    /// Returns what is run for an object, with these variables.
    pub(super) fn program(&self, environment: Environment) -> Program<'_> {
        Program {
            command: &self.command,
            directory: &self.directory,
            environment,
            time_limit: self.time_limit(),
            memory_limit: self.memory_limit,
            output_limit: self.output_limit,
            file_limit: None,
            sandbox: None,
        }
    }
}

/// The functions of a data folder.
pub(super) struct Functions(PathBuf);

impl Functions {
    pub(super) fn of(data: &Path) -> Self {
        Self(data.join("functions"))
    }

    /// Adds a function, whole or not at all. A name that is taken is refused.
    pub(super) fn add(&self, name: &FunctionName, function: &Function) -> Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("{} cannot be made", self.0.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0)
            .with_context(|| format!("{} cannot be written", self.0.display()))?;
        serde_json::to_writer_pretty(&mut file, function)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(self.file(name)) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("there is a function {name} already: remove it first, or choose another name")
            }
            Err(error) => Err(error.error).with_context(|| format!("the function {name} cannot be written")),
        }
    }

    /// Reads a function. If no function has that name, the error lists the names that exist.
    pub(super) fn get(&self, name: &FunctionName) -> Result<Function> {
        match self.find(name)? {
            Some(function) => Ok(function),
            None => Err(self.no_such(name)?),
        }
    }

    /// Reads a function, if there is one of this name.
    pub(super) fn find(&self, name: &FunctionName) -> Result<Option<Function>> {
        let text = match fs::read(self.file(name)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("the function {name} cannot be read")),
        };
        let function: Function = serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged: remove the function and add it again", self.file(name).display())
        })?;
        if function.command.is_empty() {
            bail!("{} has no command: remove the function and add it again", self.file(name).display());
        }
        Ok(Some(function))
    }

    /// Lists the names, in order.
    pub(super) fn names(&self) -> Result<Vec<FunctionName>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", self.0.display())),
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry?.file_name();
            // Other files are not functions.
            names.extend(file.to_str().and_then(|file| file.strip_suffix(".json")?.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn remove(&self, name: &FunctionName) -> Result<()> {
        match fs::remove_file(self.file(name)) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.no_such(name)?),
            Err(error) => Err(error).with_context(|| format!("the function {name} cannot be removed")),
        }
    }

    fn no_such(&self, name: &FunctionName) -> Result<anyhow::Error> {
        let names = self.names()?;
        let known = names.iter().map(FunctionName::as_str).collect();
        Ok(anyhow::anyhow!(names::no_such("function", name.as_str(), &known)))
    }

    fn file(&self, name: &FunctionName) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}
