//! Accounts are managed while the server runs, and secrets are shown once.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use crate::harness::{Value, Weir, click, eventually};
use base64::{Engine, prelude::BASE64_STANDARD};

fn is_let_in(weir: &Weir, who: &str) -> bool {
    weir.get_as(who, "/counts").status == 200
}

#[test]
fn adding_a_user_prints_the_credentials_alone_and_they_work_at_once() {
    let weir = Weir::start();
    let output = weir.run(&["user", "add", "ann"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && printed.starts_with("ann:weir_") && printed.lines().count() == 1,
        "{printed}"
    );
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("ann has an account") && !told.contains("weir_"), "{told}");
    assert!(is_let_in(&weir, printed.trim_end()));
    let again = weir.run(&["user", "add", "ann"]);
    assert!(!again.status.success(), "{again:?}");
    assert!(again.stdout.is_empty(), "{again:?}");
}

#[test]
fn a_chosen_password_works_and_is_not_printed() {
    let weir = Weir::start();
    let mut child = weir
        .command()
        .args(["user", "add", "bob", "--password-stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("pässword: 1\n".as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("pässword"));
    assert!(is_let_in(&weir, "bob:pässword: 1"));
    assert!(!is_let_in(&weir, "bob:pässword: 2"));
    assert!(weir.output(&["user", "list"]).contains("chosen"));
    let listed = weir.output(&["user", "list", "--format", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert!(listed.iter().any(|key| key["secret"] == "chosen" && key["until"].is_null()), "{listed:?}");
}

#[test]
fn a_password_beyond_ascii_is_right_in_utf_8_and_in_latin_1() {
    let weir = Weir::start();
    let mut child = weir
        .command()
        .args(["user", "add", "bob", "--password-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all("pässwörd£1\n".as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let latin_1 =
        |text: &str| text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect::<Vec<u8>>();
    for (bytes, status) in [
        ("bob:pässwörd£1".as_bytes().to_vec(), 200),
        (latin_1("bob:pässwörd£1"), 200),
        (latin_1("bob:pässwörd£2"), 401),
        (latin_1("bob:passwörd£1"), 401),
        ([latin_1("bob:pässw"), "örd£1".as_bytes().to_vec()].concat(), 401),
    ] {
        let header = format!("Basic {}", BASE64_STANDARD.encode(&bytes));
        let answer = weir.request("GET", None, "/counts", &[("authorization", &header)], b"");
        assert_eq!(answer.status, status, "{bytes:?}");
    }
}

#[test]
fn a_removed_user_or_access_key_is_refused_and_the_events_stay() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    let browser = weir.output(&["user", "add", "ann", "--label", "browser"]).trim().to_owned();
    assert_eq!(weir.post_as(&ann, "/button/click", click("s", "b"), &[]).status, 200);
    assert!(is_let_in(&weir, &browser));
    weir.output(&["user", "remove", "ann", "--label", "browser"]);
    eventually("the access key is refused", || !is_let_in(&weir, &browser));
    assert!(is_let_in(&weir, &ann));
    let removed = weir.run(&["user", "remove", "ann"]);
    let said = String::from_utf8_lossy(&removed.stderr).into_owned();
    assert!(removed.status.success() && said.contains("1 access key is gone"), "{said}");
    eventually("the user is refused", || !is_let_in(&weir, &ann));
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=ann").len(), 1);
    assert!(!weir.run(&["user", "remove", "ann"]).status.success());
}

#[test]
fn a_rotated_secret_replaces_the_old_one_now_or_after_a_while() {
    let weir = Weir::start();
    let old = weir.user("ann");
    let new = weir.output(&["user", "rotate", "ann", "--keep-old", "1h"]).trim().to_owned();
    weir.output(&["user", "add", "ann", "--label", "page", "--scope", "write"]);
    let unclear = weir.run(&["user", "rotate", "ann"]);
    let said = String::from_utf8_lossy(&unclear.stderr);
    assert!(
        !unclear.status.success() && said.contains("which access key? Name its label, of: default, page"),
        "{said}"
    );
    weir.output(&["user", "remove", "ann", "--label", "page"]);
    assert!(is_let_in(&weir, &old), "the old key");
    assert!(is_let_in(&weir, &new), "the new key");
    let last = weir.output(&["user", "rotate", "ann"]).trim().to_owned();
    assert!(is_let_in(&weir, &last));
    eventually("the secret before is refused", || !is_let_in(&weir, &new));
    // It may be this one that leaked, although its hour is not over.
    eventually("the one before that is refused", || !is_let_in(&weir, &old));
    assert!(is_let_in(&weir, &last));
}

#[test]
fn no_secret_is_stored_or_listed() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    let secret = ann.split_once(':').unwrap().1;
    assert!(is_let_in(&weir, &ann));
    let list = weir.output(&["user", "list"]);
    assert!(list.contains("ann") && list.contains("demo") && !list.contains(secret), "{list}");
    for name in weir.files("") {
        let bytes = std::fs::read(weir.data().join(&name)).unwrap_or_default();
        let held = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!held, "{name} holds the secret");
    }
}

/// An example that throws the secret away, or shows it to all who can list processes, is followed too.
#[test]
fn the_examples_of_user_add_work_as_they_are_printed_and_put_no_secret_on_a_command_line() {
    let weir = Weir::start();
    let help = weir.output(&["user", "add", "--help"]);
    let examples: Vec<&str> =
        help.lines().filter(|line| line.starts_with("  weir ") || line.starts_with("  (umask")).collect();
    assert_eq!(examples.len(), 4, "{help}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("clicks.ndjson"),
        click("s", "b").replace('{', r#"{"event_type":"button_click","#),
    )
    .unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_weir")).parent().unwrap();
    let mut printed = Vec::new();
    for example in examples {
        // What an example does stands behind it.
        let command = example.trim().split("   ").next().unwrap();
        assert!(!command.contains("$(") && !command.contains('`'), "{command}");
        let output = Command::new("sh")
            .args(["-ec", &format!("PATH={}:$PATH; {command}", program.display())])
            .env("WEIR_DATA", weir.data())
            .env("WEIR_URL", weir.url())
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        printed.push(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    assert!(is_let_in(&weir, &printed[0]));
    assert_eq!(weir.get_as(&printed[1], "/counts").status, 403);
    assert!(printed[2].is_empty() && printed[3].starts_with("clicks.ndjson: 1 sent"), "{printed:?}");
    let mode = std::fs::metadata(folder.path().join("ethan.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
