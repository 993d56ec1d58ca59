//! What can be typed after `weir user`.

use std::{str::FromStr, time::Duration};

use clap::Subcommand;
use weir_core::{
    Username,
    users::{Label, Scope},
};

use super::{
    options::{Format, Place},
    values::duration,
};

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user, or give one another access key. Prints NAME:SECRET, once; only a hash of it is kept.
    #[command(
        after_help = "Examples:\n  weir user add ethan                                    prints ethan:SECRET, once\n  weir user \
        add ethan --label browser --scope write      a second key, which can only post\n\nTo keep the secret off the \
        screen and off command lines, write it to a file that only you can read:\n  (umask 077; weir user add ethan --label \
        import > ethan.key)\n  weir send clicks.ndjson --credentials-file ethan.key"
    )]
    Add {
        /// 1 to 48 of a-z, 0-9 and single hyphens between them.
        name: Username,
        /// What the access key allows: write (post events), read (counts), or both.
        #[arg(long, default_value = "both", value_parser = Scope::from_str)]
        scope: Scope,
        /// What the access key is called among the user's.
        #[arg(long, default_value = "default")]
        label: Label,
        /// Take a chosen password from standard input instead of generating a secret.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
    /// List users and their access keys.
    List {
        /// How to print them.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
        #[command(flatten)]
        place: Place,
    },
    /// Take away a user, or one access key. Events stay; the server may accept the key for 5 more seconds.
    Remove {
        /// Whose.
        name: Username,
        /// Only this access key.
        #[arg(long)]
        label: Option<Label>,
        #[command(flatten)]
        place: Place,
    },
    /// Put a new secret into the place of an old one. Prints NAME:SECRET, once.
    Rotate {
        /// Whose.
        name: Username,
        /// Which access key. A user who has only one needs no label.
        #[arg(long)]
        label: Option<Label>,
        /// How long the old secret stays good, so that clients can be changed over without an outage.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
        keep_old: Duration,
        /// Take a chosen password from standard input instead of generating a secret.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        place: Place,
    },
}

impl UserCommand {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Add { place, .. }
            | Self::List { place, .. }
            | Self::Remove { place, .. }
            | Self::Rotate { place, .. } => place,
        }
    }
}
