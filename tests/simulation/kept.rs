//! Lists of operations that found something once, shrunk. A failing run prints its list in the form of these.
#![allow(clippy::unreadable_literal, reason = "lists are pasted as they are printed")]
#![allow(clippy::enum_glob_use, unused_imports, reason = "a list may name any of them")]

use crate::{
    faults::Fault::*,
    operations::{
        Change, Event, Garbage::*, Id::*, Is::*, Key::*, Machine::*, Op, Page::*, Read, To::*, What::*,
        Who::*, Write,
    },
    planted::Bug,
    run::replay,
};

/// Asserts that a list finds a planted bug by this check, and that nothing is wrong without the bug.
fn finds(bug: Bug, check: &str, list: &[Op]) {
    let broken = replay(list, Some(bug), false).broken;
    assert!(broken.iter().any(|(found, _)| *found == check), "{bug:?} is not found: {broken:?}");
    assert_eq!(replay(list, None, false).broken, [], "without the bug");
}

#[test]
fn events_of_a_call_that_hangs_are_not_acknowledged() {
    finds(
        Bug::AcknowledgedUnstored,
        "acknowledged is stored",
        &[
            Op::Write(Write {
                n: 21,
                at: 263123,
                user: "carl-1",
                to: Object,
                twice: false,
                gzip: false,
                large: false,
                key: Good(8),
                tries: 1,
            }),
            Op::Event(Event {
                of: 21,
                kind: "outcome",
                key: "a",
                is: Valid,
                named: false,
                id: Own,
                ago: None,
                odd: None,
            }),
            Op::Event(Event {
                of: 21,
                kind: "outcome",
                key: "a",
                is: Valid,
                named: false,
                id: Own,
                ago: None,
                odd: None,
            }),
            Op::Fault { of: Request(21, 0), call: 3, is: Slow { after: true, millis: 4561 } },
        ],
    );
}

#[test]
fn an_event_is_stored_once_though_its_request_died_and_its_client_tried_again_for_minutes() {
    finds(
        Bug::NotMarked,
        "stored once",
        &[
            Op::Write(Write {
                n: 44,
                at: 889712,
                user: "carl-1",
                to: Object,
                twice: false,
                gzip: false,
                large: false,
                key: Good(3),
                tries: 8,
            }),
            Op::Event(Event {
                of: 44,
                kind: "outcome",
                key: "a",
                is: Valid,
                named: false,
                id: Told,
                ago: None,
                odd: None,
            }),
            Op::Event(Event {
                of: 44,
                kind: "prediction",
                key: "b#1",
                is: Valid,
                named: true,
                id: Own,
                ago: None,
                odd: Some(3),
            }),
            Op::Event(Event {
                of: 44,
                kind: "button_click",
                key: "b#1",
                is: Valid,
                named: false,
                id: Own,
                ago: None,
                odd: Some(3),
            }),
            Op::Event(Event {
                of: 44,
                kind: "button_click",
                key: "https://a.example/?q=1",
                is: Valid,
                named: false,
                id: Own,
                ago: Some(1229095),
                odd: Some(6),
            }),
            Op::Event(Event {
                of: 44,
                kind: "outcome",
                key: "https://a.example/?q=1",
                is: Valid,
                named: false,
                id: Own,
                ago: Some(8711986),
                odd: None,
            }),
            Op::Luck { of: Run, what: GoesOn, nth: 0, is: 4000000 },
            Op::Luck { of: Request(44, 0), what: Dies, nth: 0, is: 42 },
            Op::Luck { of: Request(44, 2), what: Pause, nth: 0, is: 15867 },
            Op::Luck { of: Request(44, 5), what: Pause, nth: 0, is: 15348 },
        ],
    );
}
