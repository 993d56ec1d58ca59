//! Whatever was acknowledged is stored exactly once, however the server ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::harness::{self, Answer, Value, Weir, eventually, json, try_request};
use fastrand::Rng;

/// How many servers are killed side by side, how often each is audited, and how many kills come before each audit.
const SERVERS: u64 = 4;
const AUDITS: usize = 3;
const KILLS: usize = 18;

/// The seed of a run: when the kills come and what the clients send. Their meeting is the machine's.
fn seed() -> u64 {
    std::env::var("WEIR_CRASH_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap())
}

/// What clients know of their events, each of which has a number of its own.
#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    sent: Mutex<BTreeSet<u64>>,
    acknowledged: Mutex<BTreeSet<u64>>,
}

impl Ledger {
    /// Some new events, and their numbers; clients that mean to send them again give them ids.
    fn events(&self, rng: &mut Rng, with_ids: bool) -> (Vec<u64>, String) {
        let numbers: Vec<u64> =
            (0..rng.u64(1..12)).map(|_| self.next.fetch_add(1, Ordering::SeqCst)).collect();
        self.sent.lock().unwrap().extend(&numbers);
        let event = |n: &u64| {
            let mut event = json!({"event_type": "button_click", "session_id": "s", "n": n,
                "button_id": format!("b{}", n % 5), "filler": "x".repeat(rng.usize(0..400))});
            if with_ids {
                event["event_id"] = json!(format!("e-{n}"));
            }
            event
        };
        (numbers.clone(), Value::from(numbers.iter().map(event).collect::<Vec<_>>()).to_string())
    }

    /// Notes which events an answer acknowledges; says whether it does all of them.
    fn note(&self, numbers: &[u64], answer: &Answer) -> bool {
        if answer.status != 200 && answer.status != 207 {
            return false;
        }
        let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
        assert_eq!(outcomes.len(), numbers.len());
        let is_durable = |outcome: &Value| outcome["status"] == "stored" || outcome["status"] == "duplicate";
        let durable: Vec<u64> = numbers
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| is_durable(outcome))
            .map(|(n, _)| *n)
            .collect();
        self.acknowledged.lock().unwrap().extend(&durable);
        durable.len() == numbers.len()
    }
}

/// One client: with ids, it sends its events until they are acknowledged; without, it sends them once.
fn client(url: &Mutex<String>, who: &str, ledger: &Ledger, with_ids: bool, mut rng: Rng, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let (numbers, body) = ledger.events(&mut rng, with_ids);
        // The server is down at times.
        eventually("all events are acknowledged", || {
            let url = url.lock().unwrap().clone();
            let answer = try_request(&url, "POST", Some(who), "/events", &[], body.as_bytes());
            answer.is_some_and(|answer| ledger.note(&numbers, &answer)) || !with_ids
        });
    }
}

/// Kills the server at random moments while clients send, and starts it again each time; the clients end with their
/// last events acknowledged.
fn kill_under_load(weir: &mut Weir, ledger: &Ledger, rng: &mut Rng) {
    let (url, who, stop) = (Mutex::new(weir.url()), weir.credentials.clone(), AtomicBool::new(false));
    thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        for with_ids in [true, true, false] {
            let rng = rng.fork();
            let (url, who, stop) = (&url, &who, &stop);
            scope.spawn(move || client(url, who, ledger, with_ids, rng, stop));
        }
        for _ in 0..KILLS {
            let before = ledger.acknowledged.lock().unwrap().len();
            // However slow the machine is, something is under way.
            eventually("some events are acknowledged", || {
                ledger.acknowledged.lock().unwrap().len() >= before + 4
            });
            thread::sleep(Duration::from_millis(rng.u64(0..150)));
            weir.kill();
            if rng.u8(0..4) == 0 {
                kill_while_it_starts(weir, Duration::from_millis(rng.u64(0..80)));
            }
            weir.restart();
            *url.lock().unwrap() = weir.url();
        }
    });
}

/// Lets the clients end when the kills are over, or have failed.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn kill_while_it_starts(weir: &Weir, after: Duration) {
    let mut command = weir.command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--flush-every", "20ms"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// How often each event is in a part of the data folder, by its number.
fn occurrences(weir: &Weir, below: &str) -> BTreeMap<u64, usize> {
    let mut found = BTreeMap::new();
    for line in weir.lines(below) {
        *found.entry(line["n"].as_u64().unwrap()).or_default() += 1;
    }
    found
}

/// Every acknowledged event is there once, nothing is there that was not sent, and all counts are what is there.
fn check(weir: &Weir, ledger: &Ledger) {
    weir.wait_until_filed();
    let (sent, acknowledged) = (ledger.sent.lock().unwrap(), ledger.acknowledged.lock().unwrap());
    let (raw, lake) = (occurrences(weir, "raw"), occurrences(weir, "lake"));
    let lost: Vec<_> = acknowledged.iter().filter(|n| !raw.contains_key(n)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let repeated: Vec<_> = raw.iter().filter(|(_, times)| **times != 1).collect();
    assert!(repeated.is_empty(), "repeated in raw: {repeated:?}");
    assert_eq!(raw, lake);
    let invented: Vec<_> = raw.keys().filter(|n| !sent.contains(n)).collect();
    assert!(invented.is_empty(), "never sent: {invented:?}");
    assert!(weir.files("quarantine").is_empty());

    // Some events were stored whose acknowledgement the kill cut off: they count like all others.
    let counts = weir.get("/counts/button_click").json();
    assert_eq!((&counts["total"], &counts["settled"]), (&json!(lake.len()), &json!(lake.len())));
    for button in 0..5 {
        let there = lake.keys().filter(|n| *n % 5 == button).count();
        let counted = weir.get(&format!("/button/click/count?button_id=b{button}")).json();
        assert_eq!(counted, json!({"count": there}), "button {button}");
    }
    let audit = weir.run(&["audit"]);
    let said = [audit.stdout, audit.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert_eq!(audit.status.code(), Some(0), "{said}");
}

#[test]
fn hundreds_of_kills_under_load_lose_nothing_and_repeat_nothing() {
    let seed = seed();
    println!("WEIR_CRASH_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    thread::scope(|scope| {
        for _ in 0..SERVERS {
            let mut rng = rng.fork();
            scope.spawn(move || {
                // Batches of a few events, cut all the time: every step of their way is under way at some kill.
                let mut weir = Weir::start_with(&["--flush-every", "20ms", "--flush-size", "2000"]);
                let ledger = Ledger::default();
                for _ in 0..AUDITS {
                    kill_under_load(&mut weir, &ledger, &mut rng);
                    check(&weir, &ledger);
                }
                let acknowledged = ledger.acknowledged.lock().unwrap().len();
                println!("{} kills, {acknowledged} events acknowledged", AUDITS * KILLS);
            });
        }
    });
}

#[test]
fn a_server_that_is_asked_to_stop_files_everything_first() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let mut weir = Weir::start_with(&["--flush-every", "1h"]);
        for n in 0..50 {
            assert_eq!(weir.post("/button/click", harness::click("s", &format!("b{n}"))).status, 200);
        }
        assert_eq!(weir.files("lake").len(), 0);
        assert_eq!(weir.stop(signal), Some(0));
        assert_eq!(weir.lines("lake").len(), 50);
        weir.restart();
        let counts = weir.get("/counts/button_click").json();
        assert_eq!((&counts["total"], &counts["settled"]), (&json!(50), &json!(50)));
    }
}

/// Stops a server that cannot write another line to standard error, with one signal or as many as it takes, and gives its
/// exit code.
fn stop_where_the_log_is_stuck(only_once: bool) -> Option<i32> {
    const FULL: u16 = u16::MAX;
    // A line that was logged before may have a page of the pipe to itself.
    const PAGE: u16 = 4096;
    let folder = tempfile::tempdir().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    let welcome = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    welcome.take_while(|line| !line.contains(" query '")).for_each(drop);
    let filling = thread::spawn(move || drop(writer.write_all(&vec![b'.'; 2 * usize::from(FULL)])));
    eventually("nothing more can be logged", || {
        rustix::io::ioctl_fionread(&reader).unwrap() > (FULL - PAGE).into()
    });
    let id = child.id().to_string();
    let signal = || assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    signal();
    if !only_once {
        // Two signals that come before the first one is taken are one.
        eventually("it has ended", || {
            signal();
            child.try_wait().unwrap().is_some()
        });
    }
    let code = child.wait().unwrap().code();
    drop(reader);
    filling.join().unwrap();
    code
}

#[test]
fn a_second_signal_ends_a_server_that_is_stuck_and_one_ends_it_within_its_limit() {
    thread::scope(|scope| {
        let one = scope.spawn(|| stop_where_the_log_is_stuck(true));
        assert_eq!(stop_where_the_log_is_stuck(false), Some(143));
        assert_eq!(one.join().unwrap(), Some(0));
    });
}

#[test]
fn a_server_that_cannot_file_ends_all_the_same_and_the_next_start_files_the_rest() {
    let mut weir = Weir::start_with(&["--flush-every", "1h"]);
    assert_eq!(weir.post("/button/click", harness::click("s", "b")).status, 200);
    let in_the_way = weir.data().join("lake");
    std::fs::write(&in_the_way, "").unwrap();
    assert_eq!(weir.stop("-TERM"), Some(0));
    let log = weir.log();
    assert!(log.contains("filing took too long, and the next start goes on with it"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    std::fs::remove_file(&in_the_way).unwrap();
    weir.restart();
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake").len(), 1);
}

#[test]
fn a_second_server_on_the_folder_is_refused_with_a_reason() {
    let weir = Weir::start();
    refused_as_in_use(&weir);
}

#[test]
fn a_second_server_is_refused_where_the_lock_file_was_removed_or_replaced() {
    let weir = Weir::start();
    let lock = weir.data().join("lock");
    std::fs::remove_file(&lock).unwrap();
    refused_as_in_use(&weir);
    assert!(!lock.exists(), "the second server made a lock of its own");
    std::fs::write(&lock, "").unwrap();
    refused_as_in_use(&weir);
    assert_eq!(weir.post("/button/click", harness::click("s", "b")).status, 200);
}

/// Asserts that another server is refused on the folder, and that the refusal names the process that serves it.
fn refused_as_in_use(weir: &Weir) {
    let output = weir.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let named = format!("is in use by another weir process (pid {})", weir.process_id());
    assert!(said.contains(&named), "{said}");
}
