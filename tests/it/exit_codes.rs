//! Exit codes mean the same everywhere: 0 done, 1 failed, 2 not understood, 3 done and something is not as it should be,
//! 130 interrupted; and each command keeps to it.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Output, Stdio},
};

use crate::harness::{Weir, click, eventually};

/// The code by which a shell knows how a process ended.
fn code(output: &Output) -> i32 {
    output.status.code().or(output.status.signal().map(|signal| 128 + signal)).unwrap()
}

#[test]
fn every_command_ends_with_0_where_it_is_done_1_where_it_failed_and_2_where_it_is_not_understood() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
    weir.wait_until_filed();
    let empty = tempfile::tempdir().unwrap();
    let no_data = empty.path().join("none");
    let file = empty.path().join("a.ndjson");
    std::fs::write(&file, "{\"event_type\":\"button_click\",\"session_id\":\"s\",\"button_id\":\"b\"}\n")
        .unwrap();
    let file = file.to_str().unwrap();
    let url = weir.url();
    let run = |arguments: &[&str], data: &std::path::Path, credentials: &str| {
        let output = weir
            .command()
            .args(arguments)
            .env("WEIR_DATA", data)
            .env("WEIR_URL", &url)
            .env("WEIR_CREDENTIALS", credentials)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        code(&output)
    };
    let done: &[&[&str]] = &[
        &["help"],
        &["--version"],
        &["user", "list"],
        &["query", "SELECT 1"],
        &["publish", "daily_counts"],
        &["audit"],
        &["counts"],
        &["send", file],
        &["function", "add", "cat", "--", "cat"],
        &["map", "cat", "--type", "button_click"],
        &["function", "list"],
        &["completions", "bash"],
    ];
    for arguments in done {
        assert_eq!(run(arguments, &weir.data(), &weir.credentials), 0, "{arguments:?}");
    }
    // The server's folder is in use, or does not exist.
    let failed: &[&[&str]] = &[
        &["serve", "--listen", "127.0.0.1:0"],
        &["user", "remove", "nobody"],
        &["query", "DROP TABLE events"],
        &["publish", "no_such_answer"],
        &["replay"],
        &["audit", "--repair"],
        &["send", "missing.ndjson"],
        &["restore", "missing"],
        &["function", "remove", "nobody"],
        &["map", "nobody", "--type", "button_click"],
    ];
    for arguments in failed {
        assert_eq!(run(arguments, &weir.data(), &weir.credentials), 1, "{arguments:?}");
    }
    let without_data: &[&[&str]] = &[
        &["user", "list"],
        &["query", "SELECT 1"],
        &["publish"],
        &["replay"],
        &["audit"],
        &["tail"],
        &["counts"],
        &["function", "list"],
        &["map", "cat", "--type", "button_click"],
        &["backup", "new"],
    ];
    for arguments in without_data {
        assert_eq!(run(arguments, &no_data, ""), 1, "{arguments:?}");
    }
    for command in [
        "serve",
        "user",
        "query",
        "publish",
        "replay",
        "audit",
        "send",
        "tail",
        "counts",
        "function",
        "map",
        "completions",
        "backup",
        "restore",
    ] {
        assert_eq!(run(&[command, "--no-such-option"], &weir.data(), ""), 2, "{command}");
    }
    assert_eq!(run(&["no-such-command"], &weir.data(), ""), 2);
}

#[test]
fn audit_and_send_end_with_3_where_something_is_not_as_it_should_be() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", "a")).status, 200);
    weir.wait_until_filed();
    let object = weir.files("lake").remove(0);
    std::fs::remove_file(weir.data().join("lake").join(object)).unwrap();
    assert_eq!(code(&weir.run(&["audit"])), 3);

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.ndjson"), "{}\n").unwrap();
    let sent = weir
        .command()
        .args(["send", "a.ndjson"])
        .current_dir(folder.path())
        .env("WEIR_URL", weir.url())
        .env("WEIR_CREDENTIALS", &weir.credentials)
        .output();
    assert_eq!(code(&sent.unwrap()), 3);
}

#[test]
fn what_is_interrupted_ends_with_130_but_a_server_that_is_asked_to_stop_is_done() {
    let mut weir = Weir::start();
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["tail"][..], &["send", "-"]] {
        let mut child = weir
            .command()
            .args(arguments)
            .current_dir(folder.path())
            .env("WEIR_URL", weir.url())
            .env("WEIR_CREDENTIALS", &weir.credentials)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (id, _open) = (child.id().to_string(), child.stdin.take());
        let interrupt_is = |what: &str| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
            u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap() & 2 != 0
        };
        eventually("it ignores no signal that this process ignores", || !interrupt_is("SigIgn"));
        if arguments[0] == "send" {
            // Before it listens to signals, one ends it as it ends any process, which a shell calls 130 as well.
            eventually("it listens to signals", || interrupt_is("SigCgt"));
        }
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        eventually("it has ended", || child.try_wait().unwrap().is_some());
        assert_eq!(code(&child.wait_with_output().unwrap()), 130, "{arguments:?}");
    }
    assert_eq!(weir.stop("-INT"), Some(0));
}

/// Runs a program with these signals ignored, as a shell runs what is in the background.
const IGNORING: [&str; 3] = ["sh", "-c", r#"trap "" INT HUP; exec "$0" "$@""#];

#[test]
fn signals_that_the_parent_process_ignores_stay_ignored_and_sigterm_ends_the_server() {
    let mut weir = Weir::start();
    assert_eq!(weir.stop("-HUP"), Some(0), "it hangs up where that is not ignored");
    weir.run_by = IGNORING.map(str::to_owned).to_vec();
    weir.restart();
    for signal in ["-INT", "-HUP"] {
        let id = weir.process_id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        assert_eq!(weir.post("/button/click", click("s", "a")).status, 200, "{signal}");
    }
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
    assert_eq!(weir.stop("-TERM"), Some(0));
}

#[test]
fn the_tests_pass_where_sigint_is_ignored_as_in_the_background_job_of_a_script() {
    let [shell, run, script] = IGNORING;
    let output = Command::new(shell)
        .args([run, script])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "exit_codes::what_is_interrupted_ends_with_130_but_a_server_that_is_asked_to_stop_is_done",
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn help_and_the_page_on_the_command_line_tell_them() {
    let help = Command::new(env!("CARGO_BIN_EXE_weir")).arg("help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/COMMANDS.md")).unwrap();
    for code in ["0", "1", "2", "3", "130"] {
        assert!(help.contains(&format!("{code} ")), "{help}");
        assert!(page.contains(&format!("| {code} |")), "{code}");
    }
}
