//! Many large requests at once take bounded memory, and keep no other client waiting for long.

use std::{fs, thread, time::Duration};

use crate::harness::{Weir, gzip, json, request_within};

#[test]
fn a_flood_of_compressed_bodies_takes_bounded_memory_and_all_are_answered() {
    let weir = Weir::start();
    // 15 MiB of events each, a few KB as sent; without a bound, forty of them would take gigabytes.
    let event =
        json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "x": "x".repeat(15_000)});
    let body = gzip(format!("{event}\n").repeat(1000).as_bytes());
    assert!(body.len() < 200_000);
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                // The last one is answered when all the work is done, however slow the machine is.
                let patience = Duration::from_mins(10);
                let (url, who, headers) = (weir.url(), &weir.credentials, [("content-encoding", "gzip")]);
                let answer = request_within(patience, &url, "POST", Some(who), "/events", &headers, &body);
                let answer = answer.expect("the server answers");
                assert_eq!((answer.status, answer.json()["stored"].as_u64()), (200, Some(1000)));
            });
        }
    });
    assert_eq!(weir.get("/counts/button_click").json()["total"], 40_000);
    let status = fs::read_to_string(format!("/proc/{}/status", weir.process_id())).unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 700 * 1024, "{peak} KiB");
}
