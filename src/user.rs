//! `weir user`: manages accounts. Only credentials go to standard output; everything else goes to standard error.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result};
use weir_core::{
    Clock, SystemClock, SystemRandom, Timestamp, Username,
    ports::{Saved, UserAdmin},
    users::{AccessKey, AccessKeyError, Secret, SecretHash, User},
};
use weir_embedded::UserStore;

use crate::{
    cli::{EngineName, Format, UserCommand},
    counted::counted,
    data, names, printed,
    query::rows::{Column, Kind, Printer},
    table,
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
            let (mut rotated, mut old_until) = (label.clone(), None);
            change(users, &name, false, |user, now| {
                let label = label.clone().map_or_else(|| user.only_label(now), Ok)?;
                rotated = Some(label.clone());
                user.rotate(&label, hash.clone(), now.plus_millis(keep), now)?;
                // None if a chosen password replaced another one.
                let old = user.access_keys.iter().filter(|key| key.label == label);
                old_until = old.filter_map(|key| key.expires_at).filter(|end| *end > now).max();
                Ok(())
            })
            .await?;
            let label = rotated.map_or_else(String::new, |label| label.to_string());
            let until = match (old_until, place.engine) {
                (Some(end), _) => format!("stays good until {end}"),
                (None, EngineName::Embedded) => "is refused within 5 seconds".to_owned(),
                (None, EngineName::Aws) => "is not good any more".to_owned(),
            };
            eprintln!("{name} has a new secret for {label}; the old one {until}.");
            secret.hand_over(&name)?;
        }
        UserCommand::Remove { name, label: Some(label), .. } => {
            change(users, &name, false, |user, _| user.remove(&label)).await?;
            eprintln!("{name} has no access key labelled {label} any more.");
        }
        UserCommand::Remove { name, label: None, .. } => {
            // A failure is that of removing.
            let user = users.find(&name).await.ok().flatten();
            let keys = user.map_or(0, |user| user.access_keys.len());
            if !users.remove(&name).await? {
                return Err(names::no_such_user(users, &name).await);
            }
            let keys = counted(keys as u64, "access key is", "access keys are");
            eprintln!("{name} has no account any more: {keys} gone. The events are kept.");
        }
        UserCommand::List { format, .. } => print(&users.list().await?, format)?,
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

fn print(users: &[User], format: Format) -> Result<()> {
    let now = SystemClock.now();
    let names = ["user", "label", "scope", "secret", "since", "until"];
    let mut rows = Vec::new();
    for user in users {
        if user.access_keys.is_empty() {
            rows.push([Some(user.username.to_string()), None, None, None, None, None]);
        }
        for key in &user.access_keys {
            rows.push([
                Some(user.username.to_string()),
                Some(key.label.to_string()),
                Some(key.scope.to_string()),
                Some(if key.hash.is_password() { "chosen" } else { "generated" }.to_owned()),
                Some(key.created_at.to_string()),
                key.expires_at.map(|expiry| match format {
                    Format::Table if !key.is_live(now) => "expired".to_owned(),
                    _ => expiry.to_string(),
                }),
            ]);
        }
    }
    if format == Format::Table {
        let head = names.map(str::to_uppercase);
        let none = |row: [Option<String>; 6]| {
            let has_key = row[1].is_some();
            let mut cells = row.map(Option::unwrap_or_default);
            if !has_key {
                "(none)".clone_into(&mut cells[1]);
            }
            cells
        };
        let rows: Vec<_> = std::iter::once(head).chain(rows.into_iter().map(none)).collect();
        printed::print(&table::aligned(&rows, table::terminal_width()));
        return Ok(());
    }
    let columns = names.map(|name| Column { name: name.to_owned(), kind: Kind::Text });
    let print = || {
        let mut printer = Printer::new(std::io::stdout().lock(), format, columns.into())?;
        rows.into_iter().try_for_each(|row| printer.row(row.into()))?;
        printer.finish()
    };
    print().context("the users cannot be printed")
}
