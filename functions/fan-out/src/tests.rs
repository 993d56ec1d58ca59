//! The promises of filing a whole batch.

use std::{collections::BTreeMap, io};

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use serde_json::json;
use weir_core::{
    BatchKey,
    ports::{PortError, Settled},
};

use crate::{
    Damage, FanOut, FanOutError, Filed, Flaw,
    memory::{Failure, Memory, State, cut, gzip, partition, record, run},
};

fn batch() -> BatchKey {
    BatchKey::new("2026/11/20/13/weir-1-2026-11-20-13-05-00-3f1c.json.gz")
}

/// Files an object that comes in one piece.
fn file(object: &[u8]) -> (Filed, State) {
    file_in_pieces(&[object])
}

fn file_in_pieces(pieces: &[&[u8]]) -> (Filed, State) {
    let memory = Memory::with(&batch(), pieces);
    let filed = run(memory.fan_out().file(&batch())).unwrap();
    let state = memory.state();
    consistent(&filed, &state);
    (filed, state)
}

/// What must be so after every run.
fn consistent(filed: &Filed, state: &State) {
    let lake = state.lake_lines();
    let counts: BTreeMap<_, _> = lake.iter().map(|(at, lines)| (at.clone(), lines.len() as u64)).collect();
    assert_eq!(state.settled.get(&batch().id()).cloned().unwrap_or_default(), counts);
    assert_eq!(filed.settled.is_some(), !counts.is_empty());
    assert_eq!(filed.events, counts.values().sum::<u64>());
    assert_eq!(filed.partitions, counts.len());
    let quarantined = state.quarantined();
    let lines = quarantined.iter().filter(|entry| entry["part"].is_null() || entry["part"] == 1);
    assert_eq!(filed.quarantined_lines, lines.count() as u64);
    for entry in &quarantined {
        assert_eq!(entry["batch"], batch().as_str());
        assert!(!entry["reason"].as_str().unwrap().is_empty());
    }
    // An object that holds nothing is not written.
    assert_eq!(state.quarantine.len(), usize::from(!quarantined.is_empty()));
    assert!(lake.values().all(|lines| !lines.is_empty()));
}

/// Three events of two partitions.
fn sample() -> [String; 3] {
    [
        record("ethan", "button_click", 498_661, "e-1"),
        record("ethan", "page_view", 498_661, "e-2"),
        record("ethan", "button_click", 498_661, "e-3"),
    ]
}

#[test]
fn a_batch_becomes_one_object_per_user_type_and_hour() {
    let all = [
        record("ethan", "button_click", 498_661, "e-1"),
        record("ethan", "page_view", 498_661, "e-2"),
        record("maria", "button_click", 498_661, "e-1"),
        record("ethan", "button_click", 498_662, "e-3"),
        record("ethan", "rejected", 498_661, "e-4"),
        record("ethan", "button_click", 498_661, "e-5"),
    ];
    let object = gzip(format!("{}\n", all.join("\n")).as_bytes());
    let (filed, state) = file(&object);
    let expected = BTreeMap::from([
        (partition("ethan", "button_click", 498_661), vec![all[0].clone(), all[5].clone()]),
        (partition("ethan", "button_click", 498_662), vec![all[3].clone()]),
        (partition("ethan", "page_view", 498_661), vec![all[1].clone()]),
        (partition("ethan", "rejected", 498_661), vec![all[4].clone()]),
        (partition("maria", "button_click", 498_661), vec![all[2].clone()]),
    ]);
    assert_eq!(state.lake_lines(), expected);
    let report = Filed {
        events: 6,
        partitions: 5,
        repeats: 0,
        forgotten: 0,
        blank: 0,
        quarantined_lines: 0,
        bytes_read: object.len() as u64,
        settled: Some(Settled::Now),
    };
    assert_eq!(filed, report);
}

#[test]
fn an_event_that_comes_again_in_a_batch_is_filed_and_counted_once() {
    let [a, b, c] = sample();
    // Another type and another hour, as its id alone says which it is; a rejected event repeats none that was accepted.
    let other = record("ethan", "page_view", 498_662, "e-1");
    let rejected = record("ethan", "rejected", 498_661, "e-1");
    let of_maria = record("maria", "button_click", 498_661, "e-1");
    let lines = [&a, &b, &a, &other, &rejected, "broken", "broken", &of_maria, &c, &rejected, &b, &a]
        .map(ToOwned::to_owned);
    let members = lines.chunks(5).flat_map(|lines| gzip(format!("{}\n", lines.join("\n")).as_bytes()));
    let object: Vec<u8> = members.collect();
    let (filed, state) = file(&object);
    assert_eq!((filed.events, filed.repeats, filed.quarantined_lines), (5, 5, 2));
    assert_eq!(state.lines(&partition("ethan", "button_click", 498_661)), [a, c]);
    assert_eq!(state.lines(&partition("ethan", "page_view", 498_661)), [b]);
    assert_eq!(state.lines(&partition("ethan", "rejected", 498_661)), [rejected]);
    assert_eq!(state.lines(&partition("maria", "button_click", 498_661)), [of_maria]);
    assert_eq!(state.settled[&batch().id()].values().sum::<u64>(), 5);
    assert_eq!(file(&object).1, state);
}

#[test]
fn the_same_events_become_the_same_bytes_in_whatever_form_they_come() {
    let [a, b, c] = sample();
    let text = format!("{a}\n{b}\n{c}\n");
    let expected = file(text.as_bytes()).1;
    assert_eq!(expected.lake.len(), 2);
    let (first, second) = text.split_at(a.len() + 20);
    let forms: [(&str, Vec<u8>); 12] = [
        ("gzip", gzip(text.as_bytes())),
        ("gzip members, cut inside a line", [gzip(first.as_bytes()), gzip(second.as_bytes())].concat()),
        ("empty gzip members", [gzip(b""), gzip(text.as_bytes()), gzip(b"")].concat()),
        ("no last newline", text.trim_end().into()),
        ("no last newline, gzip", gzip(text.trim_end().as_bytes())),
        ("CRLF", text.replace('\n', "\r\n").into()),
        ("CRLF, gzip", gzip(text.replace('\n', "\r\n").as_bytes())),
        ("CR at the end", format!("{}\r", text.trim_end()).into()),
        ("byte order mark", format!("\u{feff}{text}").into()),
        ("byte order mark, gzip", gzip(format!("\u{feff}{text}").as_bytes())),
        (
            "byte order marks",
            [gzip(format!("\u{feff}{a}\r\n").as_bytes()), gzip(format!("\u{feff}{b}\n{c}").as_bytes())]
                .concat(),
        ),
        ("blank lines", format!("\n\r\n{a}\n \t\r\n\n\u{feff}\n{b}\n\n{c}\n\n\n ").into()),
    ];
    for (form, object) in forms {
        assert_eq!(file(&object).1, expected, "{form}");
    }
}

#[test]
fn an_object_of_nothing_is_no_damage_and_writes_and_settles_nothing() {
    for object in
        [&b""[..], b"\n", b"\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", &gzip(b""), &gzip(b"\n").repeat(3)]
    {
        let (filed, state) = file(object);
        assert_eq!((filed.events, filed.settled), (0, None));
        assert_eq!(state, State::default());
    }
    assert_eq!(file_in_pieces(&[]).0.bytes_read, 0);
    assert_eq!(file_in_pieces(&[b"", b""]).0.events, 0);
}

#[test]
fn lines_that_are_no_record_go_to_quarantine_with_number_and_reason_and_the_others_to_the_lake() {
    let good = sample();
    let evil = record("../x", "button_click", 498_661, "e-9");
    let many_types = record("ethan", "a/b", 498_661, "e-9");
    let untimely = good[0].replace("1795179600001", "\"2026\"");
    assert_ne!(untimely, good[0]);
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(3 << 20));
    let fitting = good[2].replace("e-3", "e-4").replace('é', &"z".repeat((1 << 20) - good[2].len() + 2));
    assert_eq!(fitting.len(), 1 << 20);
    let twice = good[0].repeat(2).into_bytes();
    let not_text = [&good[0].as_bytes()[..good[0].len() - 4], b"\xff\"}"].concat();
    let lines: [(&[u8], Option<&str>); 16] = [
        (good[0].as_bytes(), None),
        (b"{\"broken\": ", Some("EOF while parsing")),
        (good[1].as_bytes(), None),
        (evil.as_bytes(), Some("a username must be")),
        (many_types.as_bytes(), Some("an event type must be")),
        (untimely.as_bytes(), Some("invalid type")),
        (&not_text, Some("not UTF-8")),
        (b"{}", Some("missing field")),
        (b"\x00\x01", Some("not a JSON object")),
        (b"[]", Some("not a JSON object")),
        (br#"["e-1","ethan","button_click",1795179600000]"#, Some("not a JSON object")),
        (large.as_bytes(), Some("longer than 1048576 bytes")),
        (good[2].as_bytes(), None),
        (&twice, Some("trailing characters")),
        (fitting.as_bytes(), None),
        (b"no newline behind it", Some("not a JSON object")),
    ];
    let text = lines.map(|(line, _)| line).join(&b'\n');
    for object in [text.clone(), gzip(&text)] {
        let (filed, state) = file(&object);
        assert_eq!((filed.events, filed.quarantined_lines), (4, 12));
        let filed_lines = state.lines(&partition("ethan", "button_click", 498_661));
        assert_eq!(filed_lines, [&good[0], &good[2], &fitting].map(Clone::clone));
        let quarantined = state.quarantined();
        for ((line, reason), number) in lines.iter().zip(1..) {
            let entries = quarantined.iter().filter(|entry| entry["line"] == number);
            let mut found = Vec::new();
            for (entry, part) in entries.zip(1..) {
                assert!(entry["part"] == part || entry["part"].is_null() && part == 1);
                let told = entry["reason"].as_str().unwrap();
                assert!(told.starts_with("not a record: ") && told.contains(reason.unwrap()), "{told}");
                assert!(!told.contains("line 1"), "{told}");
                match entry["text"].as_str() {
                    Some(text) => found.extend(text.as_bytes()),
                    None => found.extend(BASE64_STANDARD.decode(entry["base64"].as_str().unwrap()).unwrap()),
                }
            }
            assert_eq!(found.is_empty(), reason.is_none(), "line {number}");
            assert!(reason.is_none() || found == *line, "line {number}");
        }
    }
}

#[test]
fn a_reason_is_short_whatever_the_line_holds() {
    let line = format!(r#"{{"received_at":"{}"}}"#, "é".repeat(100_000));
    let (_, state) = file(line.as_bytes());
    assert!(state.quarantined()[0]["reason"].as_str().unwrap().chars().count() <= 201);
}

#[test]
fn no_carriage_return_reaches_the_lake() {
    let line = sample()[0].replace(",\"", ",\r\"");
    let (_, state) = file(format!("{line}\r\r\n").as_bytes());
    assert_eq!(state.lake_lines().values().flatten().collect::<Vec<_>>(), [&sample()[0]]);
}

/// Filing the object must find it damaged: quarantine names it, and nothing else is anywhere.
fn assert_damaged(object: &[u8], expected: Damage) {
    let memory = Memory::with(&batch(), &[object]);
    for _ in 0..2 {
        let error = run(memory.fan_out().file(&batch())).unwrap_err();
        assert!(matches!(error, FanOutError::Damaged { damage, .. } if damage == expected), "{error}");
        let state = memory.state();
        let entry = json!({"batch": batch().as_str(), "reason": expected.to_string()});
        assert_eq!(state.quarantined(), [entry]);
        assert_eq!((state.lake.len(), state.settled.len()), (0, 0));
    }
}

#[test]
fn a_damaged_object_is_quarantined_whole_whatever_its_flaw() {
    let [a, b, c] = sample();
    let sound = gzip(format!("{a}\n{b}\n").as_bytes());
    let last = gzip(format!("{c}\n").as_bytes());
    let at = |offset: usize, flaw| Damage { offset: offset as u64, flaw };
    for length in 2..last.len() {
        assert_damaged(&last[..length], at(0, Flaw::CutShort));
        assert_damaged(&[&sound[..], &last[..length]].concat(), at(sound.len(), Flaw::CutShort));
    }
    let mut checksum = last.clone();
    checksum[last.len() - 5] ^= 1;
    let mut length = last.clone();
    length[last.len() - 1] ^= 1;
    let mut method = last.clone();
    method[2] = 7;
    for damaged in [checksum, length, method] {
        assert_damaged(&damaged, at(0, Flaw::Corrupt));
        assert_damaged(&[&sound[..], &damaged, &sound].concat(), at(sound.len(), Flaw::Corrupt));
    }
    for garbage in [&b"abc".repeat(300_000)[..], &last[2..], b"\n\n", format!("{c}\n").as_bytes()] {
        assert_damaged(&[&sound[..], garbage].concat(), at(sound.len(), Flaw::Corrupt));
    }
}

#[test]
fn a_damaged_object_is_filed_like_any_other_once_it_is_repaired() {
    let text = format!("{}\nbroken\n", sample().join("\n"));
    let object = gzip(text.as_bytes());
    let expected = file(&object).1;
    let mut without_beginning = object.clone();
    without_beginning[..10].fill(0);
    for damaged in [&object[..object.len() - 1], &without_beginning, b""] {
        let memory = Memory::with(&batch(), &[damaged]);
        let _ = run(memory.fan_out().file(&batch()));
        assert_eq!((memory.state().lake.len(), memory.state().settled.len()), (0, 0));
        memory.replace(&batch(), &object);
        let filed = run(memory.fan_out().file(&batch())).unwrap();
        assert_eq!((filed.events, filed.settled), (3, Some(Settled::Now)));
        assert_eq!(memory.state(), expected);
    }
}

#[test]
fn damage_that_cannot_be_quarantined_is_found_again() {
    let object = [&gzip(sample()[0].as_bytes())[..], b"garbage"].concat();
    let memory = Memory::with(&batch(), &[&object]);
    memory.fail_after(2, Failure::Undone);
    let error = run(memory.fan_out().file(&batch())).unwrap_err();
    assert!(matches!(error, FanOutError::Quarantine { .. }) && error.is_retryable(), "{error}");
    assert_eq!(memory.state(), State::default());
    let error = run(memory.fan_out().file(&batch())).unwrap_err();
    assert!(matches!(error, FanOutError::Damaged { .. }), "{error}");
}

#[test]
fn filing_again_changes_nothing() {
    let text = format!("{}\nbroken\n", sample().join("\n"));
    let memory = Memory::with(&batch(), &[&gzip(text.as_bytes())]);
    let first = run(memory.fan_out().file(&batch())).unwrap();
    let state = memory.state();
    for _ in 0..3 {
        let again = run(memory.fan_out().file(&batch())).unwrap();
        assert_eq!(again, Filed { settled: Some(Settled::Before), ..first.clone() });
        assert_eq!(memory.state(), state);
    }
}

/// An object with many partitions, a line that is no record, and several members.
fn varied() -> Vec<u8> {
    let good = (0..40).map(|n| record("ethan", ["a", "b", "c"][n % 3], n as u64 % 7, &format!("e-{n}")));
    let mut text = good.collect::<Vec<_>>().join("\n");
    text.push_str("\nbroken\n");
    gzip(text.as_bytes()).repeat(2)
}

#[test]
fn dying_at_any_call_and_filing_again_ends_as_if_nothing_had_happened() {
    let object = varied();
    let pieces: Vec<_> = object.chunks(100).collect();
    let undisturbed = Memory::with(&batch(), &pieces);
    run(undisturbed.fan_out().file(&batch())).unwrap();
    let (calls, expected) = (undisturbed.calls(), undisturbed.state());
    assert!(calls > 30 && expected.quarantine.len() == 1);
    for failing in 0..calls {
        for failure in [Failure::Undone, Failure::Done] {
            let memory = Memory::with(&batch(), &pieces);
            memory.fail_after(failing, failure);
            let error = run(memory.fan_out().file(&batch())).unwrap_err();
            assert!(error.is_retryable(), "{error}");
            // It may die a second time.
            memory.fail_after(failing, failure);
            let _ = run(memory.fan_out().file(&batch()));
            memory.fail_after(usize::MAX / 2, failure);
            let filed = run(memory.fan_out().file(&batch())).unwrap();
            consistent(&filed, &memory.state());
            assert_eq!(memory.state(), expected, "call {failing} {failure:?}");
        }
    }
}

#[test]
fn every_failing_call_is_reported_and_settles_nothing_before_its_time() {
    let object = gzip(format!("{}\nbroken", sample().join("\n")).as_bytes());
    let expected =
        ["opened", "broke off", "put into username", "put into username", "put into quarantine", "settled"];
    for (failing, message) in expected.into_iter().enumerate() {
        let memory = Memory::with(&batch(), &[&object]);
        memory.fail_after(failing, Failure::Undone);
        let error = run(memory.fan_out().file(&batch())).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(batch().as_str()), "{error}");
        let state = memory.state();
        assert!(state.settled.is_empty());
        assert!(failing >= 2 || state.lake.is_empty());
        assert!(failing >= 4 || state.quarantine.is_empty());
    }
}

#[test]
fn partitions_that_cannot_be_put_keep_no_other_from_the_lake_and_nothing_is_settled_until_all_are() {
    let users = ["ada", "ben", "closed", "dora", "zoe"];
    let lines: String = users.iter().map(|user| record(user, "button_click", 498_661, user) + "\n").collect();
    let object = gzip(lines.as_bytes());
    let memory = Memory::with(&batch(), &[&object]);
    memory.close_to(Some("closed"));
    let error = run(memory.fan_out().file(&batch())).unwrap_err();
    assert!(matches!(&error, FanOutError::Lake { partition, .. } if partition.username.as_str() == "closed"));
    let state = memory.state();
    let filed: Vec<_> = state.lake.keys().map(|(at, _)| at.username.to_string()).collect();
    assert_eq!(filed, ["ada", "ben", "dora", "zoe"]);
    assert_eq!(state.settled, BTreeMap::new());

    memory.close_to(None);
    run(memory.fan_out().file(&batch())).unwrap();
    assert_eq!(memory.state(), file(&object).1);
}

#[test]
fn where_the_lake_takes_nothing_a_batch_is_given_up_after_a_few_puts() {
    let lines: String =
        (0..2_000).map(|hour| record("closed", "button_click", 400_000 + hour, "e") + "\n").collect();
    let memory = Memory::with(&batch(), &[&gzip(lines.as_bytes())]);
    memory.close_to(Some("closed"));
    let (before, _) = (memory.calls(), run(memory.fan_out().file(&batch())).unwrap_err());
    assert!(memory.calls() - before < 10, "no call after the puts");
    assert_eq!(memory.state(), State::default());
}

#[test]
fn many_at_once_on_one_batch_file_it_once() {
    let object = varied();
    let expected = file(&object).1;
    let memory = Memory::with(&batch(), &[&object]);
    let fan_outs: Vec<FanOut> = (0..5).map(|_| memory.fan_out()).collect();
    let key = batch();
    let runs = fan_outs.iter().map(|fan_out| fan_out.file(&key));
    let filed: Vec<_> = run(futures_util::future::join_all(runs)).into_iter().map(Result::unwrap).collect();
    assert_eq!(filed.iter().filter(|filed| filed.settled == Some(Settled::Now)).count(), 1);
    assert_eq!(memory.state(), expected);
}

#[test]
fn a_batch_can_be_filed_from_any_thread() {
    fn movable(_: impl Send + 'static) {}
    let memory = Memory::with(&batch(), &[b""]);
    let fan_out = memory.fan_out();
    movable(async move { fan_out.file(&batch()).await });
}

#[test]
fn a_batch_that_is_not_there_has_an_error_of_its_own() {
    let memory = Memory::with(&batch(), &[]);
    let error = run(memory.fan_out().file(&BatchKey::new("other"))).unwrap_err();
    assert!(matches!(error, FanOutError::NoSuchBatch { .. }) && !error.is_retryable());
    assert_eq!(memory.state(), State::default());
}

#[test]
fn only_failures_that_may_pass_are_worth_another_try() {
    let unavailable = PortError::unavailable("x", "y");
    let broken = PortError::broken("x", "y");
    for (source, retryable) in [(unavailable, true), (broken, false)] {
        let errors = [
            FanOutError::Open { batch: batch(), source: source.clone() },
            FanOutError::Lake { batch: batch(), partition: partition("a", "b", 1), source: source.clone() },
            FanOutError::Quarantine { batch: batch(), source: source.clone() },
            FanOutError::Settle { batch: batch(), source },
        ];
        assert!(errors.iter().all(|error| error.is_retryable() == retryable));
    }
    let source = || io::Error::other("x");
    assert!(FanOutError::Read { batch: batch(), source: source() }.is_retryable());
    assert!(FanOutError::Spool { batch: batch(), source: source() }.is_retryable());
    let damage = Damage { offset: 0, flaw: Flaw::Corrupt };
    assert!(!FanOutError::Damaged { batch: batch(), damage }.is_retryable());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn lines_are_grouped_exactly_however_the_object_is_made_and_cut(
        events in prop::collection::vec((0..3usize, 0..3usize, 0..3u64, "\\PC{0,20}", 0..6usize), 0..60),
        members in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        form in 0..3,
    ) {
        let (mut text, mut lake, mut broken) = (String::new(), BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for ((user, event_type, hour, extra, end), number) in events.into_iter().zip(1..) {
            let (user, event_type) = (["a", "b-c", "d"][user], ["x", "y_z", "rejected"][event_type]);
            let mut line = record(user, event_type, hour, &format!("e-{number}"));
            let extra = serde_json::to_string(&extra).unwrap();
            line.insert_str(1, &format!("\"extra\":{extra},"));
            if end == 0 {
                line.push('!');
                broken.push((number, line.clone()));
            } else {
                lake.entry(partition(user, event_type, hour)).or_default().push(line.clone());
            }
            text.push_str(&line);
            text.push_str(if end == 1 { "\r\n" } else { "\n" });
        }
        if form == 0 { text.pop(); }
        let object = if form == 1 {
            text.into_bytes()
        } else {
            cut(text.as_bytes(), &members).into_iter().flat_map(gzip).collect()
        };
        let pieces = cut(&object, &cuts);

        let (filed, state) = file_in_pieces(&pieces);
        prop_assert_eq!(filed.bytes_read, object.len() as u64);
        prop_assert_eq!(state.lake_lines(), lake);
        let quarantined: Vec<_> = state.quarantined().iter()
            .map(|entry| (entry["line"].as_u64().unwrap(), entry["text"].as_str().unwrap().to_owned()))
            .collect();
        prop_assert_eq!(quarantined, broken);
        prop_assert_eq!(file(&object).1, state);
    }
}
