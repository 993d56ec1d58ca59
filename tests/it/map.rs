//! `weir function` and `weir map`: commands over the lake's objects, many at once, within limits, with results in order.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use weir_core::{Clock, SystemClock};

use crate::harness::{Value, Weir, click, eventually, gunzip, json};

const HOURS: u64 = 20;

/// A server with three clicks of each of two users in each of twenty hours: an object an hour and user.
fn with_objects() -> Weir {
    let weir = Weir::start_with(&["--flush-every", "50ms"]);
    let ann = weir.user("ann");
    let now = SystemClock.now().millis();
    let event = |hour: u64, n: u64| {
        let occurred_at = now - hour * 3_600_000;
        json!({"event_type": "button_click", "session_id": n.to_string(), "button_id": "b", "occurred_at": occurred_at})
    };
    let lines: String =
        (0..HOURS).flat_map(|hour| (0..3).map(move |n| event(hour, n).to_string() + "\n")).collect();
    for who in [&weir.credentials, &ann] {
        assert_eq!(weir.post_as(who, "/events", &lines, &[]).status, 200);
    }
    weir.post("/web/page_view", json!({"session_id": "s", "url": "u"}).to_string());
    weir.wait_until_filed();
    weir
}

/// The clicks as they are in the lake, in the order of its objects.
fn clicks(weir: &Weir) -> String {
    let files = weir.files("lake").into_iter().filter(|path| path.contains("/button_click/"));
    files.map(|path| gunzip(&std::fs::read(weir.data().join("lake").join(path)).unwrap())).collect()
}

fn add(weir: &Weir, name: &str, options: &[&str], command: &[&str]) {
    weir.output(&[&["function", "add", name], options, &["--"], command].concat());
}

fn map(weir: &Weir, options: &[&str]) -> String {
    weir.output(&[&["map"], options, &["--type", "button_click"]].concat())
}

/// What a run that must fail says, and prints.
fn failed(weir: &Weir, options: &[&str]) -> (String, String) {
    let arguments = [&["map"], options, &["--type", "button_click"]].concat();
    let output = ended(weir.command().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    (text(&output.stderr), text(&output.stdout))
}

/// Runs a command that must end by itself, though what it started would go on for longer than that is waited for.
fn ended(command: &mut Command) -> Output {
    let mut running = command.stdin(Stdio::null()).spawn().unwrap();
    eventually("the run ends", || running.try_wait().unwrap().is_some());
    running.wait_with_output().unwrap()
}

#[test]
fn results_are_the_same_bytes_in_the_order_of_the_objects_for_any_number_of_workers() {
    let weir = with_objects();
    // Later objects are often done earlier.
    let slow = "sleep 0.0$(($(od -An -N1 -tu1 /dev/urandom) % 5)); cat";
    add(&weir, "slow", &[], &["sh", "-c", slow]);
    let clicks = clicks(&weir);
    assert_eq!(clicks.lines().count() as u64, 2 * 3 * HOURS);
    for workers in ["1", "2", "8"] {
        assert_eq!(map(&weir, &["slow", "--workers", workers]), clicks, "{workers} workers");
    }
}

#[test]
fn each_object_is_in_the_result_once_although_its_command_is_killed_and_one_that_dies_twice_is_named() {
    let weir = with_objects();
    let marks = tempfile::tempdir().unwrap();
    let mark = format!("mark={}/$(echo \"$WEIR_OBJECT\" | tr / _)", marks.path().display());
    // It has printed some lines by then.
    let dies_once =
        format!("{mark}; if [ ! -e \"$mark\" ]; then : > \"$mark\"; head -n 2; kill -9 $$; fi; cat");
    add(&weir, "dies-once", &[], &["sh", "-c", &dies_once]);
    assert_eq!(map(&weir, &["dies-once", "--workers", "4"]), clicks(&weir));

    let dies = format!("{mark}; echo x >> \"$mark.twice\"; echo no luck >&2; cat; kill -9 $$");
    add(&weir, "dies", &[], &["sh", "-c", &dies]);
    let (said, printed) = failed(&weir, &["dies", "--workers", "1"]);
    let first = weir.files("lake").into_iter().find(|path| path.contains("/button_click/")).unwrap();
    let expected = format!(
        "weir: {first} could not be mapped: the command ended with signal: 9 (SIGKILL), and said: no luck"
    );
    assert!(said.contains(&expected), "{said}");
    assert_eq!(printed, "");
    let tries = std::fs::read_to_string(marks.path().join(first.replace('/', "_") + ".twice")).unwrap();
    assert_eq!(tries.lines().count(), 2);
}

#[test]
fn a_command_beyond_a_limit_is_ended_with_all_that_it_started() {
    let weir = with_objects();
    let user = ["--user", "ann"];
    let pids = tempfile::tempdir().unwrap();
    let sleeps = format!("sleep 600 & echo $! > {0}/$$; wait", pids.path().display());
    add(&weir, "sleeps", &["--time-limit", "200ms"], &["sh", "-c", &sleeps]);
    let (said, _) = failed(&weir, &[&["sleeps"], &user[..]].concat());
    assert!(said.contains("the command took longer than its time limit, 200ms"), "{said}");
    all_end(pids.path(), 2);

    add(&weir, "talks", &["--output-limit", "1MiB"], &["yes"]);
    let (said, printed) = failed(&weir, &[&["talks"], &user[..]].concat());
    assert!(said.contains("the command printed more than its output limit, 1.0 MiB"), "{said}");
    assert_eq!(printed, "");

    #[cfg(target_os = "linux")]
    {
        let hoards = "import sys; x = bytearray(int(sys.argv[1])); print(len(x))";
        add(&weir, "hoards", &["--memory-limit", "64MiB"], &["python3", "-c", hoards, "200000000"]);
        let (said, _) = failed(&weir, &[&["hoards"], &user[..]].concat());
        assert!(said.contains("MemoryError"), "{said}");
        add(&weir, "modest", &["--memory-limit", "64MiB"], &["python3", "-c", hoards, "2000000"]);
        assert!(map(&weir, &[&["modest"], &user[..]].concat()).starts_with("2000000\n"));
    }
}

/// Waits until processes whose numbers lie in so many files have ended.
pub fn all_end(folder: &Path, least: usize) {
    let running = |pid: &str| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
    };
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= least, "{files:?}");
    let pids: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    eventually("nothing is left of the commands", || !pids.iter().any(|pid| running(pid)));
}

#[test]
fn an_interrupted_run_ends_with_130_and_all_its_commands_end_with_it() {
    let weir = with_objects();
    let pids = tempfile::tempdir().unwrap();
    let sleeps =
        format!("sleep 600 & echo $! > {0}/$$.new; mv {0}/$$.new {0}/$$; wait", pids.path().display());
    add(&weir, "sleeps", &["--time-limit", "1h"], &["sh", "-c", &sleeps]);
    let mut running = weir
        .command()
        .args(["map", "sleeps", "--type", "button_click", "--workers", "3"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually("commands run", || std::fs::read_dir(pids.path()).unwrap().count() >= 3);
    let id = running.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    eventually("the run ends", || running.try_wait().unwrap().is_some());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    all_end(pids.path(), 3);
}

#[test]
fn users_and_hours_choose_objects_and_results_can_be_reduced_to_one() {
    let weir = with_objects();
    add(&weir, "who", &[], &["sh", "-c", "echo $WEIR_USERNAME $WEIR_EVENT_TYPE $WEIR_HOUR $(wc -l)"]);
    add(&weir, "nothing", &[], &["true"]);
    add(&weir, "unended", &[], &["printf", "x"]);
    add(&weir, "lines", &[], &["wc", "-l"]);
    let all = map(&weir, &["who"]);
    assert_eq!(all.lines().count() as u64, 2 * HOURS);
    let hours: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("ann button_click ")).collect();
    assert_eq!(hours.len() as u64, HOURS);
    assert!(hours.iter().all(|hour| hour.ends_with(" 3")), "{hours:?}");
    let mut sorted: Vec<&str> = hours.iter().map(|hour| hour.split(' ').next().unwrap()).collect();
    sorted.sort_unstable();
    let chosen = map(&weir, &["who", "--user", "ann", "--from", sorted[3], "--to", sorted[5]]);
    let expected: Vec<String> = hours
        .iter()
        .filter(|hour| (sorted[3]..sorted[5]).contains(&hour.split(' ').next().unwrap()))
        .map(|hour| format!("ann button_click {hour}"))
        .collect();
    assert_eq!(chosen.lines().collect::<Vec<_>>(), expected);
    assert_eq!(expected.len(), 2);

    assert_eq!(map(&weir, &["nothing"]), "");
    // Two results are not one line.
    assert_eq!(map(&weir, &["unended", "--user", "ann"]), "x\n".repeat(20));
    assert_eq!(map(&weir, &["who", "--reduce", "lines"]).trim(), "40");
    assert_eq!(map(&weir, &["nothing", "--reduce", "lines"]).trim(), "0");
}

#[test]
fn a_run_waits_for_filing_and_its_function_runs_in_the_folder_in_which_it_was_added() {
    let weir = Weir::start_with(&["--flush-every", "1s"]);
    let folder = tempfile::tempdir().unwrap();
    let add = ["function", "add", "where", "--", "sh", "-c", "pwd; wc -l"];
    assert!(weir.command().args(add).current_dir(folder.path()).status().unwrap().success());
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    let folder = folder.path().canonicalize().unwrap();
    let mapped = map(&weir, &["where"]);
    assert_eq!(mapped.split_whitespace().collect::<Vec<_>>(), [folder.to_str().unwrap(), "1"]);

    // One that wants no more of a long object is not at fault.
    let long = json!({"session_id": "s", "button_id": "b", "long": "x".repeat(200_000)});
    assert_eq!(weir.post("/button/click", long.to_string()).status, 200);
    self::add(&weir, "first", &[], &["head", "-c", "1"]);
    assert_eq!(map(&weir, &["first"]), "{\n{\n");
}

#[test]
fn a_damaged_object_is_named_and_no_result_of_it_is_printed() {
    let weir = with_objects();
    add(&weir, "cat", &[], &["cat"]);
    let paths: Vec<String> =
        weir.files("lake").into_iter().filter(|path| path.contains("/button_click/")).collect();
    let damaged = weir.data().join("lake").join(&paths[1]);
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() - 4]).unwrap();
    let (said, printed) = failed(&weir, &["cat"]);
    assert!(
        said.contains(&format!("{} could not be mapped: it cannot be read: its gzip is damaged", paths[1])),
        "{said}"
    );
    assert_eq!(printed.lines().count(), 3, "the object before it is printed");
}

#[test]
fn functions_are_added_listed_and_removed_by_the_operator_and_a_wrong_name_is_answered_with_the_right_one() {
    let weir = with_objects();
    add(&weir, "buttons", &["--private"], &["grep", "-o", "button_id"]);
    add(&weir, "a_2", &["--time-limit", "10m"], &["cat"]);
    let listed = weir.output(&["function", "list"]);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[1..],
        [vec!["a_2", "600s", "yes", "cat"], vec!["buttons", "60s", "no", "grep", "-o", "button_id"]]
    );

    let said = |arguments: &[&str], code: i32| {
        let output = weir.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    };
    let taken = said(&["function", "add", "buttons", "--", "cat"], 1);
    assert!(taken.contains("there is a function buttons already"), "{taken}");
    for wrong in ["../x", "A", "a b", ""] {
        said(&["function", "add", wrong, "--", "cat"], 2);
    }
    said(&["function", "add", "x"], 2);
    let typo = said(&["map", "button", "--type", "button_click"], 1);
    assert!(typo.contains("there is no function button") && typo.contains("did you mean buttons?"), "{typo}");
    said(&["map", "buttons", "--type", "button_clik"], 1);
    said(&["map", "buttons"], 2);
    add(&weir, "missing", &[], &["no-such-program"]);
    let missing = said(&["map", "missing", "--type", "button_click"], 1);
    assert!(missing.contains("no-such-program cannot be run"), "{missing}");
    let lambda = said(&["function", "add", "x", "--lambda", "arn:aws:lambda:eu-west-1:1:function:x"], 1);
    assert!(lambda.contains("a Lambda is a function on AWS"), "{lambda}");

    weir.output(&["function", "remove", "buttons"]);
    said(&["map", "buttons", "--type", "button_click"], 1);
    said(&["function", "remove", "buttons"], 1);
    // Nothing that a client sends is a command.
    let event: Value = json!({"session_id": "$(touch x)", "button_id": "`touch x`; touch x"});
    assert_eq!(weir.post("/button/click", event.to_string()).status, 200);
    weir.wait_until_filed();
    add(&weir, "cat", &[], &["cat"]);
    assert!(map(&weir, &["cat"]).contains("`touch x`; touch x"));
}
