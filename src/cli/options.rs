//! Options that several commands share.

use std::path::{Path, PathBuf};

use clap::{Args, ColorChoice, ValueEnum};

/// Groups of help for options that several commands have.
pub(super) const DATA: &str = "Data";
pub(super) const TYPES: &str = "Event types";
pub(super) const OUTPUT: &str = "Output";

/// Where the events are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// The folder that holds everything. The first `weir serve` makes it.
    #[arg(long, help_heading = DATA, env = "WEIR_DATA", value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    /// What keeps the events: this machine's data folder, or AWS (named by the WEIR_* variables that the stack prints).
    #[arg(long, help_heading = DATA, env = "WEIR_ENGINE", value_enum, default_value = "embedded")]
    pub(crate) engine: EngineName,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct CatalogArgs {
    /// A folder of event types (one JSON Schema each) in place of the built-in ones. Commands beside a data folder use the
    /// one that it was served with.
    #[arg(long, help_heading = TYPES, env = "WEIR_CATALOG", value_name = "DIR")]
    catalog: Option<PathBuf>,
}

impl CatalogArgs {
    /// Returns the folder; `None` for the built-in catalog.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.catalog.as_deref()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AnswersArgs {
    /// A folder of answers to compute beforehand (one NAME.sql each) in place of the built-in ones.
    #[arg(long, help_heading = TYPES, env = "WEIR_ANSWERS", value_name = "DIR")]
    answers: Option<PathBuf>,
}

impl AnswersArgs {
    /// Returns the folder; `None` for the built-in answers.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.answers.as_deref()
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ColorArgs {
    /// When to colour what is printed. With auto: on terminals, unless NO_COLOR is set.
    #[arg(long, help_heading = OUTPUT, value_enum, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// SQLite and folders below --data.
    Embedded,
    /// Firehose, DynamoDB, S3 and Athena.
    Aws,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a header line.
    Csv,
}
