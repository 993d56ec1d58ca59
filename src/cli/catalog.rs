//! What can be typed after `weir catalog`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::options::{CatalogArgs, DATA, Format};

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Check event types before they are served, and what they change for the stored events.
    #[command(
        after_help = "Exit code: 0 nothing was found, 3 something was, 1 the types cannot be served.\n\nExamples:\n  weir catalog \
        check --catalog my-types\n  weir catalog check --catalog my-types --data /var/lib/weir     before the server is \
        started with them"
    )]
    Check(CatalogPlace),
    /// Write the built-in event types into a folder, as a beginning of a catalog of your own.
    #[command(
        after_help = "Example:\n  weir catalog export my-types\n  weir serve --catalog my-types     serves these, and no \
        other ones"
    )]
    Export {
        /// A folder, which is made if it does not exist. Files in it are left as they are.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// List the event types, their routes and their fields.
    #[command(after_help = "Example:\n  weir catalog list --catalog my-types --format json")]
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        #[command(flatten)]
        place: CatalogPlace,
    },
}

/// The event types, and the stored events to compare them with.
#[derive(Debug, Args)]
pub(crate) struct CatalogPlace {
    /// The folder that holds the stored events. Without it, ./data if that is there.
    #[arg(long, help_heading = DATA, env = "WEIR_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) catalog: CatalogArgs,
}
