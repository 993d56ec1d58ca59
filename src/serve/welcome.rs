//! The banner at startup: the server's address and, on the first start, how to use it.

use std::{
    env,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use anyhow::{Context, Result, bail};
use weir_core::{
    Catalog, Clock, SystemClock, SystemRandom, Username,
    catalog::Definition,
    ports::{Saved, UserAdmin},
    users::{self, Scope, User},
};
use weir_embedded::UserStore;

const FIRST_USER: &str = "demo";

/// A line about a build that is not made for serving; empty for others.
pub(crate) const OF_BUILD: &str = if cfg!(debug_assertions) {
    "This is a development build, which is slower than one made with: cargo build --profile serve\n"
} else {
    ""
};

/// Prints the banner; on the first start, also creates a user.
pub(crate) async fn print(
    data: &Path,
    folder: Option<&Path>,
    catalog: &Catalog,
    address: SocketAddr,
    users: &UserStore,
) -> Result<()> {
    let weir = command(data, folder);
    let mut text =
        format!("Weir is listening on http://{address} and keeps everything in {}\n", data.display());
    text += OF_BUILD;
    if users.is_new() {
        let credentials = first_user(users).await?;
        let page = from_here(address);
        let (name, _) = credentials.split_once(':').unwrap_or((&credentials, ""));
        let why = if data.join("raw").read_dir().is_ok_and(|mut batches| batches.next().is_some()) {
            "The folder has events, and users.db is new, so there"
        } else {
            "This is the first start, so there"
        };
        text += &format!(
            "
Open the dashboard to see events arrive, and to send some with its button:

    http://{page}/

{why} is a user to sign in with: the username is {name}, and the secret is what stands behind the
colon. Only a hash of it is kept: note it now.

    {credentials}

Or post an event, read its count, and ask the lake with SQL:

{}
",
            lines_to_paste(&weir, catalog, page, &credentials)
        );
    } else if users.list().await?.is_empty() {
        text += &format!("No user has an account yet: {weir} user add NAME\n");
    }
    let told = std::io::stdout().write_all(text.as_bytes());
    told.context("the welcome could not be printed; weir user rotate demo makes a secret that can")
}

/// Returns the address at which a browser on this machine finds the server, as the listening address may be a wildcard.
fn from_here(address: SocketAddr) -> SocketAddr {
    let here = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(here, address.port())
}

/// Returns three lines for one of the catalog's types, with an event that its schema gives as an example.
fn lines_to_paste(weir: &str, catalog: &Catalog, address: SocketAddr, credentials: &str) -> String {
    let example = |definition: &Definition| definition.schema().get("examples")?.get(0).cloned();
    let Some((definition, event)) =
        catalog.iter().find_map(|definition| Some((definition, example(definition)?)))
    else {
        return format!("    curl -u '{credentials}' http://{address}/counts");
    };
    let (route, event_type) = (definition.route(), definition.event_type());
    let key = definition.count_by().and_then(|field| Some((field, event.get(field)?.as_str()?)));
    let (counted, sql) = match key {
        Some((field, value)) => (
            format!(
                "-G --data-urlencode {} http://{address}{route}/count",
                in_quotes(&format!("{field}={value}"))
            ),
            format!("SELECT \"{field}\", count(*) FROM {event_type} GROUP BY 1"),
        ),
        None => (format!("http://{address}{route}/count"), format!("SELECT count(*) FROM {event_type}")),
    };
    format!(
        "    curl -u '{credentials}' -d {} http://{address}{route}
    curl -u '{credentials}' {counted}
    {weir} query {}",
        in_quotes(&definition.example().unwrap_or_else(|| event.to_string())),
        in_quotes(&sql)
    )
}

async fn first_user(users: &UserStore) -> Result<String> {
    let now = SystemClock.now();
    let name: Username = FIRST_USER.parse()?;
    let mut user = User::new(name.clone());
    let (access_key, secret) = users::generate("default".parse()?, Scope::Both, now, &SystemRandom);
    user.add(access_key, now)?;
    match users.save(&user).await? {
        Saved::Yes => Ok(format!("{name}:{}", secret.reveal())),
        Saved::Outdated => bail!("another command made the user {name} just now"),
    }
}

/// Returns the command for this very program and data: as it was called, if that can be typed again.
fn command(data: &Path, catalog: Option<&Path>) -> String {
    let program = env::current_exe().unwrap_or_else(|_| "weir".into());
    let below = env::current_dir().ok().and_then(|here| Some(program.strip_prefix(here).ok()?.to_owned()));
    // A shell searches the `PATH` for a bare name.
    let below =
        below.map(|below| if below.components().count() == 1 { Path::new(".").join(below) } else { below });
    let mut command = quoted(&below.unwrap_or(program));
    if data != Path::new("./data") {
        command += &format!(" --data {}", quoted(data));
    }
    if let Some(catalog) = catalog {
        command += &format!(" --catalog {}", quoted(catalog));
    }
    command
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { in_quotes(&text) }
}

/// Quotes any text for a shell.
fn in_quotes(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_named_by_one_that_a_browser_on_this_machine_can_open() {
        for (listens, opened) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("192.0.2.1:80", "192.0.2.1:80")]
        {
            assert_eq!(from_here(listens.parse().unwrap()).to_string(), opened);
        }
    }
}
