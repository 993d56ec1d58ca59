//! docs/HOST.md: Weir behind Caddy and nginx with the configurations that stand there, and its backups by systemd.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::harness::{self, Weir, eventually};

mod streams;

/// The name that the page gives the server.
const NAME: &str = "events.example.com";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/HOST.md")).unwrap()
}

/// The page's only block in this language.
fn block(language: &str) -> String {
    let page = page();
    let begin = format!("```{language}\n");
    let mut blocks = page.split(&begin).skip(1);
    let (block, more) = (blocks.next().unwrap(), blocks.next());
    assert!(more.is_none(), "{language}");
    block.split("```").next().unwrap().to_owned()
}

/// A text with each of these replaced, which must be there once.
fn with(text: &str, replaced: &[(&str, &str)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
        text.replace(old, new)
    })
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A certificate for the server's name, which clients are made to trust: `cert.pem` and `key.pem`.
fn certificate(folder: &Path) {
    let own = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
}

/// A proxy; dropping it ends it.
struct Proxy {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
    /// Where nginx listens without TLS.
    plain: u16,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Not SIGKILL, which would leave nginx's workers.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Proxy {
    /// Caddy or nginx, configured as the page has it, in front of this port.
    fn start(name: &str, in_front_of: u16) -> Self {
        Self::start_with(name, in_front_of, "")
    }

    /// The same, with more lines: before Caddy's proxy, or in the configuration around nginx's server.
    fn start_with(name: &str, in_front_of: u16, more: &str) -> Self {
        let (folder, port, plain) = (tempfile::tempdir().unwrap(), free_port(), free_port());
        certificate(folder.path());
        let at = |name: &str| folder.path().join(name).display().to_string();
        let to = format!("127.0.0.1:{in_front_of}");
        let file = at("configuration");
        let program = |arguments: &[&str]| {
            let mut command = Command::new(name);
            // Debian has nginx where only root looks.
            command.env("PATH", "/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin").args(arguments);
            command.env("HOME", folder.path()).env("XDG_DATA_HOME", folder.path()).stdin(Stdio::null());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let (check, run) = if name == "caddy" {
            let text = block("caddy");
            // The page's own text is valid, too.
            fs::write(&file, &text).unwrap();
            let valid = ["validate", "--adapter", "caddyfile", "--config", &file];
            assert!(program(&valid).status().expect("./check says how to install Caddy").success());
            let head = format!(
                "https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {} {}\n",
                at("cert.pem"),
                at("key.pem")
            );
            let text = with(&text, &[(&format!("{NAME} {{\n"), &head), ("127.0.0.1:8080", &to)]);
            let text = with(&text, &[("\treverse_proxy", &format!("{more}\treverse_proxy"))]);
            fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{text}")).unwrap();
            (program(&valid), program(&["run", "--adapter", "caddyfile", "--config", &file]))
        } else {
            let letsencrypt = format!("/etc/letsencrypt/live/{NAME}");
            let text = with(
                &block("nginx"),
                &[
                    ("listen 80;", &format!("listen 127.0.0.1:{plain};")),
                    ("listen [::]:80;", ""),
                    ("listen [::]:443 ssl http2;", ""),
                    ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
                    (&format!("{letsencrypt}/fullchain.pem"), &at("cert.pem")),
                    (&format!("{letsencrypt}/privkey.pem"), &at("key.pem")),
                    ("127.0.0.1:8080", &to),
                ],
            );
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {};", at(kind)))
                .join("\n");
            let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
            let around = format!(
                "{user} daemon off; pid {}; error_log {} warn;\nevents {{}}\nhttp {{\n{temporary}\n{more}\n{text}}}\n",
                at("pid"),
                at("error.log")
            );
            fs::write(&file, around).unwrap();
            (program(&["-t", "-c", &file]), program(&["-c", &file]))
        };
        for (mut command, is_check) in [(check, true), (run, false)] {
            let mut child =
                command.spawn().unwrap_or_else(|error| panic!("./check installs {name}: {error}"));
            if is_check {
                assert!(
                    child.wait().unwrap().success(),
                    "{name} refuses {}",
                    fs::read_to_string(&file).unwrap()
                );
                continue;
            }
            let proxy = Self { child, folder, port, plain };
            eventually("the proxy listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
            return proxy;
        }
        unreachable!("the second one is started")
    }

    /// curl to a path, through the proxy by HTTPS. Prints the answer and its status.
    fn curl(&self, path: &str, options: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--write-out",
            " %{http_code}",
            "--resolve",
        ]);
        command
            .arg(format!("{NAME}:{}:127.0.0.1", self.port))
            .arg("--cacert")
            .arg(self.folder.path().join("cert.pem"));
        command.args(options).arg(format!("https://{NAME}:{}{path}", self.port)).stdout(Stdio::piped());
        command
    }

    fn answer(&self, path: &str, options: &[&str]) -> String {
        let output = self.curl(path, options).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What holds behind any proxy.
fn serves_behind(proxy: &Proxy, credentials: &str) {
    let posted = r#"{"message":"Received"} 200"#;
    let click = ["-u", credentials, "-d", r#"{"session_id":"s1","button_id":"abc"}"#];
    assert_eq!(proxy.answer("/button/click", &click), posted);
    assert!(proxy.answer("/", &["-H", "accept: text/html"]).ends_with(" 200"));
    // To the machine itself only.
    assert!(proxy.answer("/metrics", &[]).ends_with(" 404"));
    // A batch of 4 MiB is more than a proxy takes by itself, and a larger one is refused by Weir, with its reason.
    let large = proxy.folder.path().join("large");
    let line = format!(
        "{{\"event_type\":\"button_click\",\"session_id\":\"s1\",\"button_id\":\"b\",\"text\":\"{}\"}}\n",
        "x".repeat(900)
    );
    fs::write(&large, line.repeat((4 << 20) / line.len())).unwrap();
    let data = format!("@{}", large.display());
    let post = |path| {
        proxy.answer(
            path,
            &["-u", credentials, "-H", "content-type: application/x-ndjson", "--data-binary", &data],
        )
    };
    let taken = post("/events");
    assert!(taken.ends_with(" 200"), "{}", &taken[taken.len() - 300..]);
    fs::write(&large, line.repeat((4 << 20) / line.len() + 10)).unwrap();
    let refused = post("/events");
    assert!(refused.contains("urn:weir:problem:") && refused.ends_with(" 413"), "{refused}");
    // A client that claims other addresses is known by its own, and limited.
    let guess = |n: usize| {
        proxy.answer("/counts", &["-u", "demo:no", "-H", &format!("x-forwarded-for: 192.0.2.{n}")])
    };
    let refused: Vec<String> =
        (1..=4).map(guess).map(|answer| answer[answer.len() - 3..].to_owned()).collect();
    assert_eq!(refused, ["401", "401", "401", "429"]);
}

#[test]
fn events_come_by_https_through_nginx_as_the_page_configures_it() {
    let weir = Weir::start_with(&["--trust-forwarded-for", "--failed-sign-ins", "3"]);
    let port = weir.url().rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::start("nginx", port);
    serves_behind(&proxy, &weir.credentials);
    // Without TLS, it sends to the address with it.
    let plain = format!("http://127.0.0.1:{}/counts?a=b", proxy.plain);
    let sent =
        Command::new("curl").args(["--silent", "--include", "-H", &format!("Host: {NAME}"), &plain]).output();
    let sent = String::from_utf8(sent.unwrap().stdout).unwrap();
    assert!(
        sent.starts_with("HTTP/1.1 308") && sent.contains(&format!("https://{NAME}/counts?a=b")),
        "{sent}"
    );
}

/// A server at this port, and what it printed at its start up to a line that has this.
fn serve(port: u16, data: &Path, until: &str) -> (Child, String) {
    let mut server = harness::with_default_signals(env!("CARGO_BIN_EXE_weir"))
        .args([
            "serve",
            "--trust-forwarded-for",
            "--failed-sign-ins",
            "3",
            "--listen",
            &port.to_string(),
            "--data",
        ])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut printed, mut stdout) = (String::new(), BufReader::new(server.stdout.take().unwrap()));
    while !printed.contains(until) {
        assert!(stdout.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    (server, printed)
}

#[test]
fn events_come_by_https_through_caddy_as_the_page_configures_it_and_a_read_waits_for_a_restart() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let data = folder.path().join("data");
    let (mut server, printed) = serve(port, &data, " query '");
    let credentials = printed.lines().map(str::trim).find(|line| line.starts_with("demo:")).unwrap();
    let proxy = Proxy::start("caddy", port);
    serves_behind(&proxy, credentials);

    stop(&mut server);
    let mut held = proxy.curl("/health", &[]).spawn().unwrap();
    // It is under way, and has no answer yet.
    eventually("curl is connected to Caddy", || connections_to(proxy.port) > 0);
    assert!(held.try_wait().unwrap().is_none());
    let (mut server, _) = serve(port, &data, "listening");
    let answered = held.wait_with_output().unwrap();
    let answered = String::from_utf8_lossy(&answered.stdout);
    assert!(answered.ends_with(" 200"), "{answered}");
    stop(&mut server);
}

fn stop(server: &mut Child) {
    assert!(Command::new("kill").arg(server.id().to_string()).status().unwrap().success());
    assert!(server.wait().unwrap().success());
}

/// How many connections to a port of this machine there are.
fn connections_to(port: u16) -> usize {
    // Established ones have the state 01.
    let to = format!(":{port:04X} 01 ");
    fs::read_to_string("/proc/net/tcp").unwrap().lines().filter(|line| line.contains(&to)).count()
}

/// The script that the backup's unit runs, on these folders.
fn backup_script(data: &Path, backups: &Path) -> String {
    let unit = fs::read_to_string(root().join("systemd/weir-backup.service")).unwrap().replace("\\\n", "");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/bin/sh -euc '")).unwrap();
    let script = line.strip_suffix('\'').unwrap().replace("%%", "%");
    let backups = backups.display().to_string();
    let replaced =
        [("/var/lib/weir-backup", backups.as_str()), ("/usr/local/bin/weir", env!("CARGO_BIN_EXE_weir"))];
    with(&script, &replaced).replace("/var/lib/weir", &data.display().to_string())
}

#[test]
fn the_nightly_backup_keeps_seven_and_can_be_restored_and_a_second_run_of_the_day_is_none() {
    let weir = Weir::start();
    weir.post("/button/click", harness::click("s1", "abc"));
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    for day in 1..=8 {
        fs::create_dir_all(backups.join(format!("2020-01-0{day}"))).unwrap();
    }
    // Not a backup, so it stays.
    fs::create_dir(backups.join("notes")).unwrap();
    let script = backup_script(&weir.data(), &backups);
    for _ in 0..2 {
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut kept: Vec<PathBuf> = fs::read_dir(&backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    assert_eq!(kept.len(), 8, "{kept:?}");
    assert!(kept[0].ends_with("2020-01-03") && kept[7].ends_with("notes"), "{kept:?}");
    let (backup, restored) = (kept[6].to_str().unwrap(), folder.path().join("restored"));
    let restored = restored.to_str().unwrap();
    for words in [["restore", backup, "--data", restored].as_slice(), &["audit", "--data", restored]] {
        let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
