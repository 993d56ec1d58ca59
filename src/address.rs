//! Parses server addresses, in the same way everywhere: `8080`, `:8080`, `localhost:8080`, `127.0.0.1:8080`, `[::1]:8080`
//! and `http://…`. A port alone means this machine.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    str::FromStr,
};

use ureq::http::Uri;

/// A server's base URL: a scheme and an authority, perhaps a path, and no slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    pub(crate) fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Returns whether the server is on this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.0.split_once("://").is_some_and(|(_, rest)| is_here(rest))
    }
}

impl fmt::Display for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Base {
    type Err = String;

    /// Parses an address. Without a scheme, it is http on this machine, and https elsewhere.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_end_matches('/');
        let base = match (text.contains("://"), port_alone(text)) {
            (true, _) => text.to_owned(),
            (false, Some(port)) => format!("http://localhost:{port}"),
            (false, None) if is_here(text) => format!("http://{text}"),
            (false, None) => format!("https://{text}"),
        };
        let uri: Option<Uri> = base.parse().ok();
        let Some(uri) =
            uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty()) && uri.query().is_none())
        else {
            return Err("an address is like 8080, localhost:8080 or https://events.example.com".to_owned());
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) || base.ends_with(':') {
            return Err("Weir speaks http and https".to_owned());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(
                "credentials do not belong into an address, where every user of the machine sees them: set \
                        WEIR_CREDENTIALS"
                    .to_owned(),
            );
        }
        Ok(Self(base))
    }
}

/// Parses an address to listen on. A name stands for its first address; `localhost` for 127.0.0.1.
pub(crate) fn to_listen_on(text: &str) -> Result<SocketAddr, String> {
    const LIKE: &str = "an address to listen on is like 8080, localhost:8080, 0.0.0.0:80 or [::1]:8080";
    let text = text.trim().trim_end_matches('/');
    let text = text.strip_prefix("http://").unwrap_or(text);
    if text.starts_with("https://") {
        return Err("Weir serves http: a proxy in front of it ends https".to_owned());
    }
    if let Some(port) = port_alone(text) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (name, port) = text.rsplit_once(':').ok_or(LIKE)?;
    let port: u16 = port.parse().map_err(|_| LIKE)?;
    if name.is_empty() || name.contains([':', '/', '[', '@']) {
        return Err(LIKE.to_owned());
    }
    if name == "localhost" {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let found = (name, port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| format!("{name} is no address of this machine: {LIKE}"))
}

/// Returns the port of `8080` and `:8080`.
fn port_alone(text: &str) -> Option<u16> {
    text.strip_prefix(':').unwrap_or(text).parse().ok()
}

/// Returns whether an address without its scheme is this machine's own.
fn is_here(address: &str) -> bool {
    let authority = address.split('/').next().unwrap_or_default();
    let host = authority.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or_else(|| {
        let (host, _) = authority.rsplit_once(':').unwrap_or((authority, ""));
        host
    });
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_http_on_this_machine_and_https_elsewhere() {
        for (typed, expected) in [
            ("8080", "http://localhost:8080"),
            (":8080", "http://localhost:8080"),
            ("localhost:8080", "http://localhost:8080"),
            (" 127.0.0.1:80/", "http://127.0.0.1:80"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("events.example.com", "https://events.example.com"),
            ("events.example.com:8080", "https://events.example.com:8080"),
            ("http://events.example.com/prod/", "http://events.example.com/prod"),
            ("localhost.example.com:80", "https://localhost.example.com:80"),
        ] {
            assert_eq!(typed.parse::<Base>().unwrap().to_string(), expected);
        }
        for bad in [
            "",
            ":",
            "http://",
            "ftp://example.com",
            "http://u:s@example.com",
            "a b",
            "http://x/?y",
            "localhost:",
        ] {
            assert!(bad.parse::<Base>().is_err(), "{bad}");
        }
        assert!("8080".parse::<Base>().unwrap().is_here() && "[::1]:1".parse::<Base>().unwrap().is_here());
        assert!(!"http://example.com".parse::<Base>().unwrap().is_here());
    }

    #[test]
    fn an_address_to_listen_on_is_read_as_one_to_send_to() {
        for (typed, expected) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("http://localhost:8080/", "127.0.0.1:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(to_listen_on(typed).unwrap().to_string(), expected, "{typed}");
        }
        for bad in [
            "",
            ":",
            "localhost",
            "http://",
            "https://localhost:80",
            "::1:80x",
            "localhost:80/x",
            "99999",
            "a b:1",
        ] {
            assert!(to_listen_on(bad).is_err(), "{bad}");
        }
    }
}
