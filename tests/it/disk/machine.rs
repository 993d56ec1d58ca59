//! A machine that does not give the server what it needs beside the disk: files, a clock, memory that stays mapped. The start says in
//! one sentence what is wrong and what to do, and what was acknowledged stays.

use std::{fs, path::PathBuf, process::Command};

use super::ends;
use crate::harness::{Weir, click, eventually, json, try_request};

/// A server that was started once, for its user, and stopped.
fn stopped() -> Weir {
    let mut weir = Weir::start_with(&["--flush-every", "100ms"]);
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir
}

/// Everything on standard error of a start that must fail: one line.
fn refused_start(weir: &Weir, environment: &[(&str, String)]) -> String {
    let mut command = weir.command();
    let output = ends(command.args(["serve", "--listen", "127.0.0.1:0"]).envs(environment.iter().cloned()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    said
}

/// Lets commands run with a limit on open files: `-S` for one that the process may raise, `-H` for one that it may not.
fn limit_files(weir: &mut Weir, which: &str, files: u32) {
    let script = format!("ulimit {which} -n {files}; exec \"$@\"");
    weir.run_by = ["sh", "-c", &script, "sh"].map(str::to_owned).into();
}

#[test]
fn too_few_open_files_are_refused_at_the_start_in_one_sentence_whatever_the_number() {
    let mut weir = stopped();
    for files in [4, 6, 9, 12, 16, 20, 40, 63] {
        limit_files(&mut weir, "", files);
        let said = refused_start(&weir, &[]);
        assert!(said.starts_with(&format!("weir: the process may open {files} files only, ")), "{said}");
        assert!(said.contains("raise the limit (`ulimit -n ") && said.contains("LimitNOFILE="), "{said}");
    }
    // The fewest that are allowed are enough to work.
    limit_files(&mut weir, "", 64);
    weir.restart();
    for n in 0..50 {
        assert_eq!(weir.post("/button/click", click("s", &format!("b{n}"))).status, 200);
    }
    eventually("they are filed", || weir.get("/counts/button_click").json()["settled"] == json!(50));
}

#[test]
fn a_limit_that_the_process_may_raise_is_raised_before_anything_is_opened() {
    let mut weir = stopped();
    limit_files(&mut weir, "-S", 20);
    weir.restart();
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
}

/// A library that shifts the wall clock of a program by `CLOCK_SHIFT` seconds, and no other clock: `None` where none can be made
/// or loaded.
fn shifted_clock(weir: &Weir) -> Option<String> {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int failed = syscall(SYS_clock_gettime, clock, now);
            const char *shift = getenv("CLOCK_SHIFT");
            if (!failed && clock == CLOCK_REALTIME && shift) now->tv_sec += atol(shift);
            return failed;
        }
    "#;
    let library = weir.data().with_file_name("clock.so");
    let source = PathBuf::from(format!("{}.c", library.display()));
    fs::write(&source, SOURCE).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    compiled.is_ok_and(|status| status.success()).then(|| library.display().to_string())
}

const CENTURY: i64 = 100 * 365 * 24 * 3600;

#[test]
fn a_clock_before_1970_or_after_9999_is_refused_in_one_sentence_and_another_wrong_one_is_reported() {
    let mut weir = stopped();
    let Some(library) = shifted_clock(&weir) else {
        eprintln!("there is no C compiler: no clock can be shifted");
        return;
    };
    let shifted = |seconds: i64| [("LD_PRELOAD", library.clone()), ("CLOCK_SHIFT", seconds.to_string())];
    let said = refused_start(&weir, &shifted(-CENTURY));
    assert!(said.starts_with("weir: the machine's clock shows a time before 1970: set it"), "{said}");
    let said = refused_start(&weir, &shifted(100 * CENTURY));
    assert!(said.starts_with("weir: the machine's clock shows a time after 9999: set it"), "{said}");

    let [(preload, library), (shift, seconds)] = shifted(-CENTURY / 2);
    weir.run_by = vec!["env".to_owned(), format!("{preload}={library}"), format!("{shift}={seconds}")];
    weir.restart();
    eventually("it is reported", || weir.log().contains("which is before this version of weir was made"));
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
    eventually("it is filed", || weir.get("/counts/button_click").json()["settled"] == json!(1));
    // The clock is set: stored events stay.
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.run_by.clear();
    weir.restart();
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": 1}));
    weir.output(&["audit"]);
}

#[test]
fn a_server_that_dies_because_a_file_that_it_has_mapped_was_cut_has_lost_nothing() {
    for cut in ["events.db-shm", "users.db-shm"] {
        let mut weir = Weir::start_with(&["--flush-every", "1h"]);
        for n in 0..5 {
            assert_eq!(weir.post("/button/click", click("s", &format!("b{n}"))).status, 200);
        }
        fs::File::options().write(true).open(weir.data().join(cut)).unwrap().set_len(0).unwrap();
        // SQLite's next look into the file ends the process (SIGBUS), which no program can answer. A user who is not known yet is
        // looked for in the database.
        let event = click("s", "last");
        let post =
            |who: &str| try_request(&weir.url(), "POST", Some(who), "/button/click", &[], event.as_bytes());
        assert!(post("stranger:x").is_none_or(|answer| answer.status != 200));
        let acknowledged = post(&weir.credentials).is_some_and(|answer| answer.status == 200);
        weir.kill();
        weir.restart();
        let count = 5 + u32::from(acknowledged);
        assert_eq!(weir.get("/button/click/count").json(), json!({"count": count}), "{cut}");
        assert_eq!(weir.stop("-TERM"), Some(0));
        weir.output(&["audit"]);
    }
}
