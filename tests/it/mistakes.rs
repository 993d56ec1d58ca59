//! What an operator gets wrong, or loses, is said at once and in full, before it costs events.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use crate::harness::{Weir, click, eventually, json};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A catalog of one type, whose field `email` is redacted.
fn signups() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let signup = json!({
        "type": "object",
        "properties": {"email": {"type": "string"}, "plan": {"type": "string"}},
        "x-weir": {"route": "/signup", "redact": {"email": "hash"}}
    });
    fs::write(folder.path().join("signup.json"), signup.to_string()).unwrap();
    folder
}

#[test]
fn a_command_whose_output_is_not_read_does_its_work_and_ends_as_ever() {
    let mut weir = Weir::start_with(&["--seal-after", "never"]);
    weir.post("/button/click", click("s", "b"));
    weir.stop("-TERM");
    let backup = weir.data().join("../backup");
    let backup = backup.to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["user", "list"],
        &["seal"],
        &["publish"],
        &["replay"],
        &["backup", backup],
        &["function", "list"],
        &["forget", "--user", "demo", "--all"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = weir.command().args(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(
            output.status.success() && !said(&output).contains("panicked"),
            "{arguments:?}: {}",
            said(&output)
        );
    }
    assert!(fs::read_dir(backup).unwrap().next().is_some());
    assert_eq!(weir.query("SELECT count(*) AS n FROM events"), [json!({"n": 0})]);
}

#[test]
fn to_forget_by_a_field_that_no_type_has_is_a_mistake_and_not_a_success() {
    let catalog = signups();
    let mut weir = Weir::start_with(&["--catalog", catalog.path().to_str().unwrap()]);
    assert_eq!(weir.post("/signup", r#"{"email": "ann@example.com"}"#).status, 200);
    weir.stop("-TERM");
    let forget = |condition: &str| weir.run(&["forget", "--user", "demo", "--where", condition]);
    let misspelt = forget("emial=ann@example.com");
    let why = said(&misspelt);
    assert!(
        !misspelt.status.success() && why.contains("no event type has a field emial; did you mean email?"),
        "{why}"
    );
    // A look tells what would go, and nothing goes.
    for (condition, found) in
        [("email=ann@example.com", "1 event of demo (1 signup)"), ("email=b", "0 events of demo")]
    {
        let look = weir.run(&["forget", "--user", "demo", "--where", condition, "--dry-run"]);
        let printed = String::from_utf8_lossy(&look.stdout).into_owned();
        assert!(
            look.status.success() && printed.starts_with(&format!("to be forgotten: {found}")),
            "{printed}"
        );
    }
    assert!(
        said(&weir.run(&["forget", "--user", "demo", "--where", "emial=a", "--dry-run"]))
            .contains("did you mean email?")
    );
    // Again, and for a value that no event has, there is nothing to do, which is no mistake.
    for (condition, forgotten) in
        [("email=bob@example.com", 0), ("email=ann@example.com", 1), ("email=ann@example.com", 0)]
    {
        let output = forget(condition);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && printed.contains(&format!("forgotten: {forgotten} event")),
            "{printed}"
        );
        assert_eq!(printed.contains("counts lowered"), forgotten > 0, "{printed}");
        assert_eq!(printed.contains("Backups from before"), forgotten > 0, "{printed}");
    }
    // A condition that all events meet, and no condition, are not what was meant: they are named.
    for (options, code, named) in [
        (&["--where", "username=demo"][..], 1, "for all of them there is --all"),
        (&["--where", "event_type=signup"], 1, "there is --type signup --all"),
        (&[], 2, "<--where <FIELD=VALUE>|--all>"),
        (&["--all", "--where", "email=a"], 2, "cannot be used with"),
    ] {
        let output = weir.run(&[&["forget", "--user", "demo"], options].concat());
        assert!(output.status.code() == Some(code) && said(&output).contains(named), "{}", said(&output));
    }
    // A rejected event can have them otherwise.
    for condition in ["username=ann@example.com", "event_type=Sign Up"] {
        assert!(forget(condition).status.success(), "{condition}");
    }
    // All rejected events, and nothing else: what was accepted has been forgotten above.
    weir.restart();
    for rejected in [r#"{"event_type": "signup", "email": 7}"#, r#"{"event_type": "singup"}"#, "{"] {
        assert!(weir.post("/events", rejected).status >= 400);
    }
    assert_eq!(weir.post("/signup", r#"{"email": "eve@example.com"}"#).status, 200);
    weir.stop("-TERM");
    let rejected = weir.run(&["forget", "--user", "demo", "--type", "rejected", "--all"]);
    let printed = String::from_utf8_lossy(&rejected.stdout).into_owned();
    assert!(
        rejected.status.success() && printed.contains("forgotten: 3 events of demo (3 rejected)"),
        "{printed}"
    );
}

#[test]
fn a_value_that_came_from_a_variable_is_refused_with_the_variables_name() {
    let run = |words: &[&str]| {
        let mut weir = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        let of_sealing = ("WEIR_KEEP_DAYS", "10d");
        let (name, value) = if words[0] == "seal" { of_sealing } else { ("WEIR_QUERIES", "x") };
        said(&weir.args(words).env(name, value).output().unwrap())
    };
    let of_variable = run(&["serve"]);
    assert!(
        of_variable.contains("it is a whole number, such as 2")
            && of_variable.contains("variable WEIR_QUERIES."),
        "{of_variable}"
    );
    let of_option = run(&["serve", "--queries", "y"]);
    assert!(of_option.contains("'y'") && !of_option.contains("variable"), "{of_option}");
    let of_another = run(&["seal"]);
    assert!(
        of_another.contains("it is a number of days") && of_another.contains("variable WEIR_KEEP_DAYS."),
        "{of_another}"
    );
    assert!(run(&["seal", "--help"]).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_may_not_be_read_is_not_said_to_be_missing() {
    use std::os::unix::process::CommandExt;

    // Root may read everything, so another user asks.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let weir = Weir::start();
    let mut command = weir.command();
    let output = command.args(["counts"]).uid(65_534).gid(65_534).output();
    // Where that user may not run the program either, nothing can be said.
    let Ok(output) = output else { return };
    let why = said(&output);
    assert!(why.contains("Run this as the server's user") && why.contains("Permission denied"), "{why}");
}

#[test]
fn a_server_whose_secret_is_lost_does_not_start_and_says_how_to_go_on() {
    let catalog = signups();
    let catalog = catalog.path().to_str().unwrap();
    let mut weir = Weir::start_with(&["--catalog", catalog]);
    assert_eq!(weir.post("/signup", r#"{"email": "ann@example.com"}"#).status, 200);
    weir.wait_until_filed();
    weir.stop("-TERM");
    let secret = weir.data().join("secret");
    fs::remove_file(&secret).unwrap();
    let data = weir.data();
    let serve = || {
        let mut serve = Command::new(env!("CARGO_BIN_EXE_weir"));
        serve.args(["--listen", "127.0.0.1:0", "--catalog", catalog, "--data"]).arg(&data);
        serve
    };
    let refused = serve().output().unwrap();
    let why = said(&refused);
    assert!(
        !refused.status.success() && why.contains("put it back from a backup") && !secret.exists(),
        "{why}"
    );
    // The command that the message gives makes one that is taken.
    let make = why.split_once("make a new one: ").unwrap().1.trim();
    assert!(Command::new("sh").args(["-c", make]).status().unwrap().success());
    weir.restart();
    assert_eq!(weir.post("/signup", r#"{"email": "ann@example.com"}"#).status, 200);
}

#[test]
fn a_first_start_with_a_wrong_folder_of_answers_makes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (data, answers) = (place.path().join("data"), place.path().join("answers"));
    let mut serve = Command::new(env!("CARGO_BIN_EXE_weir"));
    serve.args(["--listen", "127.0.0.1:0", "--data"]).arg(&data).arg("--answers").arg(&answers);
    let output = serve.output().unwrap();
    assert!(!output.status.success() && said(&output).contains("answers"), "{}", said(&output));
    assert!(output.stdout.is_empty() && !data.exists());
}

#[test]
fn a_command_that_meets_a_damaged_store_says_what_to_do_about_it() {
    let mut weir = Weir::start();
    assert_eq!(weir.post("/button/click", r#"{"session_id": "s", "button_id": "b"}"#).status, 200);
    weir.wait_until_filed();
    assert_eq!(weir.stop("-TERM"), Some(0));
    let store = weir.data().join("events.db");
    // A process that ends may leave pages in the log.
    let db = rusqlite::Connection::open(&store).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    // All pages but the first one, which SQLite looks at when it opens the file.
    let mut pages = fs::read(&store).unwrap();
    pages[4096..].fill(0xff);
    fs::write(&store, pages).unwrap();
    for command in ["counts", "audit", "tail"] {
        let failed = weir.run(&[command]);
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(
            !failed.status.success() && said.contains("Put back a copy of the whole folder"),
            "{command}: {failed:?}"
        );
    }
}

#[test]
fn a_damaged_manifest_of_sealed_days_is_reported_when_the_server_starts_and_events_are_taken() {
    let mut weir = Weir::start_with(&["--seal-after", "never"]);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    weir.stop("-TERM");
    fs::create_dir_all(weir.data().join("sealed")).unwrap();
    fs::write(weir.data().join("sealed/manifest.json"), "{").unwrap();
    weir.restart();
    eventually("the damage is reported", || {
        weir.log().contains("the manifest of sealed days cannot be read")
    });
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
}
