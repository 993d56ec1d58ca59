//! What holds where a client ends its side of the connection, or loses its access key, before it has its answer.

use super::{impatient, others_are_served, patient};
use crate::harness::{
    basic, click, eventually,
    wire::{Wire, head},
};

#[test]
fn a_client_that_ends_its_side_after_a_whole_request_is_answered() {
    let weir = patient(&[]);
    let body = click("s", "b");
    let whole = head(&weir, "POST", &format!("content-length: {}\r\n", body.len())) + &body;
    for requests in [1, 3] {
        let mut wire = Wire::to(&weir);
        wire.send(whole.repeat(requests));
        wire.end_sending();
        for _ in 0..requests {
            assert_eq!(wire.answer().status, 200);
        }
        wire.wait_for_the_end();
    }
    assert_eq!(weir.get("/button/click/count").json()["count"], 4);
}

#[test]
fn a_client_that_ends_its_side_within_a_request_has_stored_nothing() {
    let weir = patient(&[]);
    let body = click("s", "b");
    let mut wire = Wire::begin(&weir, body.len() + 1);
    wire.send(&body);
    wire.end_sending();
    wire.answer().problem(400, "incomplete-body");
    wire.wait_for_the_end();
    assert_eq!(weir.get("/button/click/count").json()["count"], 0);
}

#[test]
fn a_client_that_ends_its_side_and_never_reads_is_cut_off() {
    let weir = impatient();
    let connections = || {
        let metrics = weir.request("GET", None, "/metrics", &[], b"");
        let text = metrics.text();
        let line = text.lines().find(|line| line.starts_with("weir_connections "));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u32>().unwrap()
    };
    let before = connections();
    let mut deaf = Wire::to(&weir);
    // More answers than the system keeps for a client that does not read.
    deaf.send("GET /openapi.json HTTP/1.1\r\nhost: weir\r\n\r\n".repeat(1500));
    eventually("it is connected", || connections() > before);
    deaf.end_sending();
    eventually("it is cut off", || connections() == before);
    others_are_served(&weir);
    drop(deaf);
}

#[test]
fn what_is_sent_under_a_key_that_is_removed_before_the_body_is_whole_is_refused_and_not_stored() {
    let weir = patient(&[]);
    let add = |label: &str| weir.output(&["user", "add", "ann", "--label", label]).trim().to_owned();
    let (removed, kept) = (add("browser"), add("dashboard"));
    let body = click("s", "b");
    let half = body.len() / 2;
    let slow = |path: &str| {
        let (who, length) = (basic(&removed), body.len());
        let mut wire = Wire::to(&weir);
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        ));
        // The key was good, as the body is wanted.
        assert_eq!(wire.answer().status, 100);
        wire.send(&body[..half]);
        wire
    };
    let mut sending = [slow("/button/click"), slow("/events")];
    weir.output(&["user", "remove", "ann", "--label", "browser"]);
    eventually("the key is refused", || weir.get_as(&removed, "/counts").status == 401);
    for wire in &mut sending {
        wire.send(&body[half..]);
        wire.answer().problem(401, "unauthorized");
    }
    assert_eq!(weir.get_as(&kept, "/button/click/count").json()["count"], 0);
    assert_eq!(weir.get_as(&kept, "/rejected").json()["rejected"].as_array().map(Vec::len), Some(0));
}
