//! `/map…`: functions that clients start over their own events, within limits, with results that are read whole.

use crate::{
    harness::{Answer, Value, Weir, click, eventually, gunzip, json},
    map::all_end,
};

fn add(weir: &Weir, name: &str, options: &[&str], script: &str) {
    weir.output(&[&["function", "add", name], options, &["--", "sh", "-c", script]].concat());
}

fn start(weir: &Weir, who: &str, function: &str) -> Answer {
    weir.post_as(who, &format!("/map/{function}"), "", &[])
}

/// Starts a run and returns its path.
fn started(weir: &Weir, who: &str, function: &str) -> String {
    let answer = start(weir, who, function);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let path = answer.header("location").unwrap().to_owned();
    assert_eq!(path, format!("/map/runs/{}", answer.json()["run"].as_str().unwrap()));
    path
}

/// Waits for the end of a run, and returns how it ended.
fn ended(weir: &Weir, who: &str, path: &str) -> Value {
    let mut run = Value::Null;
    eventually("the run ends", || {
        run = weir.get_as(who, path).json();
        run["state"] != "running"
    });
    run
}

/// Runs a function, and returns its result.
fn result(weir: &Weir, who: &str, function: &str) -> String {
    let path = started(weir, who, function);
    let run = ended(weir, who, &path);
    assert_eq!(run["state"], "done", "{run}");
    let answer = weir.get_as(who, run["result"].as_str().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(run["bytes"], json!(answer.body.len()));
    answer.text()
}

/// A user's clicks as they are in the lake, in the order of its objects.
fn clicks(weir: &Weir, user: &str) -> String {
    let below = format!("username={user}/button_click/");
    let files = weir.files("lake").into_iter().filter(|path| path.starts_with(&below));
    files.map(|path| gunzip(&std::fs::read(weir.data().join("lake").join(path)).unwrap())).collect()
}

#[test]
fn a_run_has_the_callers_events_only_and_its_result_is_whole_and_in_the_order_of_the_objects() {
    let weir = Weir::start_with(&["--flush-every", "1s"]);
    let (demo, ann) = (&weir.credentials, &weir.user("ann"));
    let now = weir_core::Clock::now(&weir_core::SystemClock).millis();
    for who in [demo, ann] {
        for hour in 0..3 {
            let long = json!({"session_id": who, "button_id": "b", "occurred_at": now - hour * 3_600_000, "long": "x".repeat(200_000)});
            assert_eq!(weir.post_as(who, "/button/click", long.to_string(), &[]).status, 200);
        }
    }
    add(&weir, "cat", &[], "cat");
    add(&weir, "count", &[], "wc -l");
    add(&weir, "hours", &[], "echo $WEIR_USERNAME $WEIR_HOUR");
    add(&weir, "env", &[], "env");
    add(&weir, "private", &["--private"], "cat");
    // The run itself waits until the lake has them.
    let of_ann = result(&weir, ann, "cat?type=button_click");
    assert_eq!(of_ann, clicks(&weir, "ann"));
    assert_eq!(result(&weir, demo, "cat?type=button_click"), clicks(&weir, "demo"));
    assert_eq!(of_ann.lines().count(), 3);
    assert!(!of_ann.contains("demo"));

    assert_eq!(result(&weir, ann, "cat?type=button_click&reduce=count").trim(), "3");
    let hours = result(&weir, ann, "hours?type=button_click");
    let second = hours.lines().nth(1).unwrap().strip_prefix("ann ").unwrap();
    let mut sorted: Vec<&str> = hours.lines().map(|line| line.strip_prefix("ann ").unwrap()).collect();
    sorted.sort_unstable();
    let chosen = format!("hours?type=button_click&from={}&to={}", sorted[1], sorted[2]);
    assert_eq!(result(&weir, ann, &chosen), format!("ann {}\n", sorted[1]), "{second}");
    assert_eq!(result(&weir, ann, "cat?type=page_view"), "");
    // The server's own variables stay with it.
    let env = result(&weir, ann, "env?type=button_click");
    assert!(env.contains("WEIR_EVENT_TYPE=button_click") && !env.contains("WEIR_DATA"), "{env}");

    // Another user's run looks like none.
    let path = started(&weir, ann, "count?type=button_click");
    assert_eq!(ended(&weir, ann, &path)["function"], "count");
    for below in ["", "/result"] {
        weir.get(&format!("{path}{below}")).problem(404, "no-such-run");
    }
    let tag = weir.get_as(ann, &format!("{path}/result")).header("etag").unwrap().to_owned();
    let again = weir.request("GET", Some(ann), &format!("{path}/result"), &[("if-none-match", &tag)], b"");
    assert_eq!(again.status, 304);

    let writer = weir.output(&["user", "add", "bob", "--scope", "write"]);
    start(&weir, writer.trim(), "cat?type=button_click").problem(403, "out-of-scope");
    assert_eq!(weir.request("POST", None, "/map/cat?type=button_click", &[], b"").status, 401);
    for unknown in ["private", "no", "Cat", "..%2Fcat", "cat%00", "$(cat)", "cat;cat", "runs", "%2Fbin%2Fsh"]
    {
        start(&weir, ann, &format!("{unknown}?type=button_click")).problem(404, "no-such-function");
    }
    start(&weir, ann, "cat?type=button_click&reduce=private").problem(404, "no-such-function");
    start(&weir, ann, "cat?type=no").problem(404, "unknown-event-type");
    for wrong in ["", "?type=button_click&from=2026", "?type=button_click&user=demo2&form=2026-11-20"] {
        start(&weir, ann, &format!("cat{wrong}")).problem(422, "invalid-query");
    }
    // No parameter chooses another user.
    assert_eq!(result(&weir, ann, "cat?type=button_click&user=demo&username=demo"), of_ann);
}

#[test]
fn a_function_that_fails_is_named_with_its_object_and_nothing_of_what_it_said() {
    let weir = Weir::start();
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    add(&weir, "fails", &[], "cat; echo secret >&2; exit 7");
    add(&weir, "talks", &["--output-limit", "1KiB"], "yes");
    add(&weir, "sleeps", &["--time-limit", "100ms"], "sleep 600");
    for (function, why) in [
        ("fails", "the command ended with exit status: 7"),
        ("talks", "the command printed more than its output limit, 1.0 KiB"),
        ("sleeps", "the command took longer than its time limit, 100ms"),
    ] {
        let path = started(&weir, &weir.credentials, &format!("{function}?type=button_click"));
        let run = ended(&weir, &weir.credentials, &path);
        let object = &weir.files("lake")[0];
        assert_eq!(run["state"], "failed", "{run}");
        assert_eq!(run["error"], format!("{object} could not be mapped: {why}"));
        assert_eq!(run["result"], Value::Null);
        weir.get(&format!("{path}/result")).problem(409, "no-result");
    }
    assert!(!weir.log().contains("secret") && !weir.log().contains("ERROR"), "{}", weir.log());
}

#[test]
fn runs_at_once_are_limited_and_end_with_the_server_which_says_that_they_are_lost() {
    let mut weir = Weir::start_with(&["--flush-every", "50ms", "--map-runs", "2"]);
    let demo = weir.credentials.clone();
    let [ann, bob] = ["ann", "bob"].map(|name| weir.user(name));
    for who in [&demo, &ann, &bob] {
        assert_eq!(weir.post_as(who, "/button/click", click("s", "b"), &[]).status, 200);
    }
    let pids = tempfile::tempdir().unwrap();
    let noted = format!("echo $$ > {0}/$$.new; mv {0}/$$.new {0}/$$", pids.path().display());
    add(&weir, "stays", &["--time-limit", "1h"], &format!("trap '' TERM; {noted}; exec sleep 600"));
    // It ends once nothing reads what it prints.
    let goes_on = format!("{noted}; while echo x; do sleep 0.05; done");
    add(&weir, "goes-on", &["--time-limit", "1h"], &goes_on);
    let function = "stays?type=button_click";
    let refused = |who: &str| {
        let refused = start(&weir, who, function);
        refused.problem(429, "too-many-runs");
        assert_eq!(refused.header("retry-after"), Some("5"));
    };
    let first = started(&weir, &demo, function);
    refused(&demo);
    let second = started(&weir, &ann, function);
    refused(&bob);
    weir.get(&format!("{first}/result")).problem(409, "no-result");
    for path in [first.clone(), format!("{first}/result")] {
        weir.get_as(&ann, &path).problem(404, "no-such-run");
    }
    eventually("both run", || std::fs::read_dir(pids.path()).unwrap().count() == 2);
    assert_eq!(weir.get(&first).json()["objects"], 1);
    assert_eq!(weir.stop("-TERM"), Some(0));
    all_end(pids.path(), 2);
    weir.restart();
    for (who, path) in [(&demo, &first), (&ann, &second)] {
        let run = weir.get_as(who, path).json();
        assert_eq!(run["state"], "lost", "{run}");
        assert!(run["expires_at"].as_u64() > run["ended_at"].as_u64(), "{run}");
    }

    let function = "goes-on?type=button_click";
    let killed = started(&weir, &demo, function);
    eventually("it runs", || std::fs::read_dir(pids.path()).unwrap().count() == 3);
    weir.kill();
    weir.restart();
    assert_eq!(weir.get(&killed).json()["state"], "lost");
    weir.get(&format!("{killed}/result")).problem(409, "no-result");
    all_end(pids.path(), 3);
    started(&weir, &demo, function);
    assert!(!weir.log().contains("ERROR"), "{}", weir.log());
}
