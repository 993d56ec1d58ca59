//! `weir user`: manages accounts. Only credentials go to standard output; everything else goes to standard error.

use std::{
    io::{Read, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result};
use weir_core::{
    Clock, SystemClock, SystemRandom, Timestamp, Username,
    ports::{Saved, UserAdmin},
    users::{AccessKey, AccessKeyError, Secret, SecretHash, User},
};
use weir_embedded::UserStore;

use crate::{
    cli::{EngineName, UserCommand},
    data, names, table,
};

/// Runs one of the commands.
pub(crate) async fn run(command: UserCommand) -> Result<ExitCode> {
    let place = command.place().clone();
    match place.engine {
        EngineName::Embedded => {
            data::must_be_a_servers(&place.data)?;
            with(&UserStore::open(&place.data)?, command).await
        }
        #[cfg(feature = "aws")]
        EngineName::Aws => {
            let ends_a_key = matches!(command, UserCommand::Remove { .. } | UserCommand::Rotate { .. });
            let code = with(&crate::aws::users().await?, command).await?;
            if ends_a_key {
                eprintln!("{}", crate::aws::CachedGrants::clear().await);
            }
            Ok(code)
        }
        #[cfg(not(feature = "aws"))]
        EngineName::Aws => Err(crate::cli::without_aws()),
    }
}

async fn with(users: &dyn UserAdmin, command: UserCommand) -> Result<ExitCode> {
    match command {
        UserCommand::Add { name, scope, label, password_stdin, place: _ } => {
            let secret = Chosen::read(password_stdin)?;
            let hash = secret.hash()?;
            let existed = users.find(&name).await?.is_some();
            change(users, &name, true, |user, now| {
                let (label, hash) = (label.clone(), hash.clone());
                user.add(AccessKey { label, scope, hash, created_at: now, expires_at: None }, now)
            })
            .await?;
            let what = if existed { "has a new access key" } else { "has an account" };
            eprintln!("{name} {what}, labelled {label}, with the scope {scope}.");
            secret.hand_over(&name)?;
        }
        UserCommand::Rotate { name, label, keep_old, password_stdin, place } => {
            let secret = Chosen::read(password_stdin)?;
            let hash = secret.hash()?;
            let keep = u64::try_from(keep_old.as_millis()).unwrap_or(u64::MAX);
            change(users, &name, false, |user, now| {
                user.rotate(&label, hash.clone(), now.plus_millis(keep), now)
            })
            .await?;
            let until = match place.engine {
                _ if keep_old > Duration::ZERO => "stays good meanwhile",
                EngineName::Embedded => "is refused within 5 seconds",
                EngineName::Aws => "is not good any more",
            };
            eprintln!("{name} has a new secret for {label}; the old one {until}.");
            secret.hand_over(&name)?;
        }
        UserCommand::Remove { name, label: Some(label), .. } => {
            change(users, &name, false, |user, _| user.remove(&label)).await?;
            eprintln!("{name} has no access key labelled {label} any more.");
        }
        UserCommand::Remove { name, label: None, .. } => {
            if !users.remove(&name).await? {
                return Err(names::no_such_user(users, &name).await);
            }
            eprintln!("{name} has no account any more; the events are kept.");
        }
        UserCommand::List { .. } => print(&users.list().await?),
    }
    Ok(ExitCode::SUCCESS)
}

/// A new secret: generated, or read from standard input.
struct Chosen {
    secret: Secret,
    generated: bool,
}

impl Chosen {
    fn read(from_stdin: bool) -> Result<Self> {
        if !from_stdin {
            return Ok(Self { secret: Secret::generate(&SystemRandom), generated: true });
        }
        let mut text = String::new();
        std::io::stdin().take(4096).read_to_string(&mut text).context("cannot read the password")?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        Ok(Self { secret: Secret::presented(password), generated: false })
    }

    fn hash(&self) -> Result<SecretHash> {
        if self.generated {
            return Ok(SecretHash::of_generated(&self.secret, &SystemRandom));
        }
        Ok(SecretHash::of_password(&self.secret, &SystemRandom)?)
    }

    /// Prints the credentials, unless the secret was chosen rather than generated.
    fn hand_over(&self, name: &Username) -> Result<()> {
        if self.generated {
            writeln!(std::io::stdout(), "{name}:{}", self.secret.reveal())
                .context("the secret is set, but could not be printed: weir user rotate makes another")?;
        }
        Ok(())
    }
}

/// Changes a user's current record, retrying if another change came first (optimistic concurrency).
async fn change(
    users: &dyn UserAdmin,
    name: &Username,
    make: bool,
    mut apply: impl FnMut(&mut User, Timestamp) -> Result<(), AccessKeyError>,
) -> Result<()> {
    loop {
        let mut user = match users.find(name).await? {
            Some(user) => user,
            None if make => User::new(name.clone()),
            None => return Err(names::no_such_user(users, name).await),
        };
        apply(&mut user, SystemClock.now())?;
        if users.save(&user).await? == Saved::Yes {
            return Ok(());
        }
    }
}

fn print(users: &[User]) {
    let now = SystemClock.now();
    let mut rows = vec![["USER", "LABEL", "SCOPE", "SECRET", "SINCE", "UNTIL"].map(str::to_owned)];
    for user in users {
        if user.access_keys.is_empty() {
            rows.push([user.username.as_str(), "(none)", "", "", "", ""].map(str::to_owned));
        }
        for key in &user.access_keys {
            let until = match key.expires_at {
                None => String::new(),
                Some(_) if !key.is_live(now) => "expired".to_owned(),
                Some(expiry) => expiry.to_string(),
            };
            rows.push([
                user.username.to_string(),
                key.label.to_string(),
                key.scope.to_string(),
                if key.hash.is_password() { "chosen" } else { "generated" }.to_owned(),
                key.created_at.to_string(),
                until,
            ]);
        }
    }
    print!("{}", table::aligned(&rows, table::terminal_width()));
}
