//! What can be typed after `weir backup` and `weir restore`.

use std::path::PathBuf;

use clap::Args;

use super::options::{DATA, EngineName};

#[derive(Debug, Args)]
#[command(
    after_help = "Every event that was acknowledged before the backup began is in it. The backup appears under its name once it \
    is whole and on the disk. On AWS, use point-in-time recovery of the tables and the versions of the buckets.\n\nExamples:\n  \
    weir backup /backup/2026-11-20\n  weir restore /backup/2026-11-20 --data /var/lib/weir"
)]
pub(crate) struct BackupArgs {
    /// Where to: a folder that does not exist yet, or is empty. It should lie on another disk.
    #[arg(value_name = "DIR")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) folder: Folder,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The data folder must be empty, or not exist: an old one is moved away first, and removed by hand. The backup \
    stays as it is.\n\nExample:\n  weir restore /backup/2026-11-20 --data /var/lib/weir && weir audit --data /var/lib/weir"
)]
pub(crate) struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "DIR")]
    pub(crate) from: PathBuf,
    #[command(flatten)]
    pub(crate) folder: Folder,
}

/// The data folder. AWS has backups of its own: where it is the engine, that is said.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder that holds everything.
    #[arg(long, help_heading = DATA, env = "WEIR_DATA", value_name = "DIR", default_value = "./data")]
    pub(crate) data: PathBuf,
    #[arg(long, hide = true, env = "WEIR_ENGINE", value_enum, default_value = "embedded")]
    pub(crate) engine: EngineName,
}
