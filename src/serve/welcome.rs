//! What a person reads at the start: where the server is, and on the first start how to use it.

use std::{env, net::SocketAddr, path::Path};

use anyhow::{Result, bail};
use weir_core::{
    Clock, SystemClock, SystemRandom, Username,
    ports::{Saved, UserAdmin},
    users::{self, Scope, User},
};
use weir_embedded::UserStore;

const FIRST_USER: &str = "demo";

/// Prints it; makes a user on the first start.
pub(crate) async fn print(
    data: &Path,
    catalog: Option<&Path>,
    address: SocketAddr,
    users: &UserStore,
) -> Result<()> {
    println!("Weir is listening on http://{address} and keeps everything in {}", data.display());
    if users.is_new() {
        let credentials = first_user(users).await?;
        let weir = command(data, catalog);
        println!(
            "
This is its first start, so there is a user to try it with. Only a hash of the secret is kept: note it now.

    {credentials}

Post an event, read its count, and ask the lake with SQL:

    curl -u '{credentials}' -d '{{\"session_id\":\"s1\",\"button_id\":\"abc\"}}' http://{address}/button/click
    curl -u '{credentials}' 'http://{address}/button/click/count?button_id=abc'
    {weir} query 'SELECT button_id, count(*) FROM button_click GROUP BY 1'
"
        );
    } else if users.list().await?.is_empty() {
        println!("Nobody has an account yet: {} user add NAME", command(data, catalog));
    }
    Ok(())
}

async fn first_user(users: &UserStore) -> Result<String> {
    let now = SystemClock.now();
    let name: Username = FIRST_USER.parse()?;
    let mut user = User::new(name.clone());
    let (access_key, secret) = users::generate("default".parse()?, Scope::Both, now, &SystemRandom);
    user.add(access_key, now)?;
    match users.save(&user).await? {
        Saved::Yes => Ok(format!("{name}:{}", secret.reveal())),
        Saved::Outdated => bail!("somebody else made the user {name} just now"),
    }
}

/// How to call this very program on this very data: as it was called, if that can be typed again.
fn command(data: &Path, catalog: Option<&Path>) -> String {
    let program = env::current_exe().unwrap_or_else(|_| "weir".into());
    let below = env::current_dir().ok().and_then(|here| Some(program.strip_prefix(here).ok()?.to_owned()));
    let mut command = quoted(&below.unwrap_or(program));
    if data != Path::new("./data") {
        command += &format!(" --data {}", quoted(data));
    }
    if let Some(catalog) = catalog {
        command += &format!(" --catalog {}", quoted(catalog));
    }
    command
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
