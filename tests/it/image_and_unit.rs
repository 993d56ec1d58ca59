//! The container image and the systemd unit are what is promised of them. Neither is made here: the files are read, by this
//! test and by the programs that know them, where these exist.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use weir_core::{Clock, Day, SystemClock};

use crate::harness::{Weir, click, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The instructions of the Dockerfile, each in one line.
fn instructions() -> Vec<String> {
    let lines = file("Dockerfile").replace("\\\n", " ");
    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(ToOwned::to_owned).collect()
}

/// What follows the only instruction of that name in the last stage.
fn last_stage(name: &str) -> String {
    let all = instructions();
    let begins = all.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let found: Vec<&str> =
        all[begins..].iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).collect();
    let [one] = found[..] else { panic!("{name}: {found:?}") };
    one.to_owned()
}

/// What `weir serve` and `weir` say of their options.
fn help() -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_weir")).args(["serve", "--help"]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

#[test]
fn the_image_runs_as_an_unprivileged_user_on_pinned_images_with_nothing_in_it_but_weir() {
    let bases: Vec<String> = instructions()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("FROM ")?.split(' ').next().unwrap().to_owned()))
        .collect();
    assert_eq!(bases.last().map(String::as_str), Some("scratch"));
    for base in bases.iter().filter(|base| *base != "scratch") {
        let (_, tag) = base.split_once(':').unwrap_or_else(|| panic!("{base} has no version"));
        let version: Vec<&str> = tag.split('-').next().unwrap().split('.').collect();
        assert_eq!(version.len(), 3, "{base}");
        assert!(version.iter().all(|part| part.parse::<u32>().is_ok()), "{base}");
    }
    // The compiler is at least the one that the packages ask for.
    let wanted = file("Cargo.toml");
    let wanted = wanted.split("rust-version = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(bases[0].starts_with(&format!("rust:{wanted}.")), "{bases:?}, {wanted}");

    let user = last_stage("USER");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 2, "{user}");
    assert!(ids.iter().all(|id| *id >= 10_000), "{user}");
    assert_eq!((last_stage("VOLUME"), last_stage("EXPOSE")), ("/data".to_owned(), "8080".to_owned()));
    assert_eq!(last_stage("ENTRYPOINT"), r#"["/weir"]"#);
    assert_eq!(last_stage("CMD"), r#"["serve"]"#);
    assert!(last_stage("HEALTHCHECK").ends_with(r#"CMD ["/weir", "health"]"#));
    let variables = last_stage("ENV");
    let help = help();
    for variable in variables.split(' ') {
        let name = variable.split('=').next().unwrap();
        assert!(help.contains(&format!("[env: {name}=")), "{name} is no variable of weir's");
    }
}

#[test]
fn what_the_image_is_built_from_is_there_and_nothing_else_is_sent_to_the_builder() {
    let mut copied = Vec::new();
    for line in instructions() {
        if let Some(sources) = line.strip_prefix("COPY ").filter(|rest| !rest.starts_with("--")) {
            let words: Vec<&str> = sources.split(' ').collect();
            copied.extend(words[..words.len() - 1].iter().map(|&word| word.to_owned()));
        }
        for secret in ["SECRET", "PASSWORD", "TOKEN", "AWS_ACCESS"] {
            assert!(!line.to_uppercase().contains(secret), "{line}");
        }
    }
    assert!(copied.len() >= 5, "{copied:?}");
    for name in &copied {
        assert!(root().join(name).exists(), "{name} is not there");
    }
    let ignored = file(".dockerignore");
    let lines: Vec<&str> =
        ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let mut sent: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    sent.sort_unstable();
    copied.sort();
    assert_eq!((lines[0], sent), ("*", copied.iter().map(String::as_str).collect()));
    // Every member of the workspace is among them, or there is nothing to build.
    let members = file("Cargo.toml");
    let members = members.lines().find_map(|line| line.strip_prefix("members = ")).unwrap();
    for member in members.split('"').skip(1).step_by(2) {
        let folder = member.split('/').next().unwrap();
        assert!(copied.iter().any(|name| name == folder), "{folder} is not copied");
    }
}

/// The settings of the unit, in order.
fn settings() -> Vec<(String, String)> {
    let unit = file("systemd/weir.service");
    let lines = unit.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn setting(name: &str) -> String {
    let found: Vec<String> =
        settings().into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect();
    let [one] = &found[..] else { panic!("{name}: {found:?}") };
    one.clone()
}

#[test]
fn the_unit_starts_weir_with_options_that_it_has_and_gives_it_time_to_stop() {
    let start = setting("ExecStart");
    let words: Vec<&str> = start.split(' ').collect();
    assert_eq!(words[1], "serve");
    let options: Vec<&&str> = words.iter().filter(|word| word.starts_with("--")).collect();
    let help = help();
    assert!(options.len() >= 2);
    for option in options {
        assert!(help.contains(&format!("{option} <")), "{option}");
    }
    // 10 seconds for the last requests, 30 for filing, 2 for the last traces.
    assert!(setting("TimeoutStopSec").parse::<u32>().unwrap() > 42);
    assert_eq!(setting("Restart"), "on-failure");
    assert!(setting("LimitNOFILE").parse::<u32>().unwrap() >= 4096 + 256);
}

#[test]
fn the_unit_may_do_what_weir_does_and_little_else() {
    for name in [
        "DynamicUser",
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "MemoryDenyWriteExecute",
        "RestrictNamespaces",
        "RestrictSUIDSGID",
        "LockPersonality",
    ] {
        assert_eq!(setting(name), "yes", "{name}");
    }
    assert_eq!(
        (setting("ProtectSystem"), setting("CapabilityBoundingSet")),
        ("strict".into(), String::new())
    );
    assert_eq!((setting("StateDirectory"), setting("StateDirectoryMode")), ("weir".into(), "0700".into()));
    assert_eq!(setting("RestrictAddressFamilies"), "AF_INET AF_INET6 AF_UNIX");
    assert!(setting("ExecStart").ends_with("--data /var/lib/weir"));
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        println!("SKIPPED: there is no systemd-analyze on this machine");
        return;
    };
    assert!(version.status.success());
    // The program must be where the unit says, so the unit says where it is.
    let folder = tempfile::tempdir().unwrap();
    let names = ["weir.service", "weir-backup.service", "weir-backup.timer"];
    let units: Vec<PathBuf> = names.iter().map(|name| folder.path().join(name)).collect();
    for (name, unit) in names.iter().zip(&units) {
        let text =
            file(&format!("systemd/{name}")).replace("/usr/local/bin/weir", env!("CARGO_BIN_EXE_weir"));
        fs::write(unit, text).unwrap();
    }
    let verified = Command::new("systemd-analyze").arg("verify").args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !names.iter().any(|name| said.contains(&format!("{name}:"))),
        "{said}"
    );
}

/// Weir runs with the system calls of the unit, as under systemd: what it does with the least usual ones is a thread of lower
/// priority, a sandbox for a query, and DuckDB that takes only idle time.
#[test]
#[cfg(target_arch = "x86_64")]
fn weir_stores_files_seals_and_answers_with_the_system_calls_that_the_unit_allows() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("SKIPPED: there is no systemd-analyze on this machine");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/image_and_unit/system_calls.py");
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/weir.service");
    let mut weir = Weir::start_with(&["--queries", "2", "--flush-every", "100ms", "--seal-after", "never"]);
    weir.stop("-TERM");
    weir.run_by = ["python3", script, unit].map(str::to_owned).into();
    weir.restart();

    assert_eq!(weir.post("/button/click", click("s1", "b1")).status, 200);
    let old = Day::of(SystemClock.now().hour()).minus(5).first_hour().start().millis();
    let old =
        json!({"event_type": "button_click", "session_id": "s2", "button_id": "b2", "occurred_at": old});
    assert_eq!(weir.post("/events", old.to_string()).status, 200);
    weir.wait_until_filed();
    assert!(weir.output(&["seal"]).contains("1 event"), "sealing, in time that no other program wants");
    let answer =
        weir.post_with("/query", "SELECT count(*) AS n FROM button_click", &[("content-type", "text/plain")]);
    assert_eq!((answer.status, answer.json()), (200, json!([{"n": 2}])), "a query, in its sandbox");

    let tasks = fs::read_dir(format!("/proc/{}/task", weir.process_id())).unwrap();
    let nice = |task: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, fields) = stat.rsplit_once(')').unwrap();
        let nice: i32 = fields.split_whitespace().nth(16).unwrap().parse().unwrap();
        (name.rsplit_once('(').unwrap().1.to_owned(), nice)
    };
    let filing = tasks.map(nice).find(|(name, _)| name.contains("filing")).unwrap();
    assert!(filing.1 > 0, "filing gives way to requests: {filing:?}");
    // Without this call, sealing takes a low priority and says nothing, so the call is tried as it is made.
    let idle = ["/usr/bin/chrt", "--idle", "0", "/bin/true"];
    let idle = Command::new("python3").args([script, unit]).args(idle).status().unwrap();
    assert!(idle.success(), "the server's own sealing may take idle time only");
    assert!(!weir.log().contains("WARN"), "{}", weir.log());
}
