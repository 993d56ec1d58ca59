//! [`Stream`], with the [`RawObjects`] that it delivers into. Repeated events are tested in `repeats`.

use std::{collections::BTreeMap, io::Read, time::Duration};

use futures_util::future::join_all;

use super::{a_user, event_type, read_all, some_batch};
use crate::{
    Event, Record, Timestamp, Username,
    ports::{Appended, PortError, RawObjects, Stream},
    record::Stamp,
};

fn record(username: &Username, n: usize, padding: usize) -> Record {
    let text = format!(r#"{{"n":{n},"text":"é\n{}"}}"#, "x".repeat(padding));
    let stamp = Stamp {
        username: username.clone(),
        event_id: format!("e-{n}").parse().unwrap(),
        received_at: Timestamp::saturating(1_795_179_605_007),
    };
    Record::accepted(&Event::read(&text).unwrap(), &event_type("a"), Some("x".parse().unwrap()), stamp)
}

/// Returns the user's lines in raw so far, each with how often it is there.
pub(super) async fn delivered(raw: &dyn RawObjects, username: &Username) -> BTreeMap<Vec<u8>, usize> {
    let (mut lines, mut after) = (BTreeMap::new(), None);
    loop {
        let page = raw.list(after.as_ref(), 100).await.unwrap();
        for key in &page {
            let bytes = read_all(raw.open(key).await.unwrap()).await;
            let mut text = Vec::new();
            // An engine may leave batches uncompressed.
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
            } else {
                text.extend_from_slice(&bytes);
            }
            let own = |line: &&[u8]| String::from_utf8_lossy(line).contains(username.as_str());
            for line in text.split_inclusive(|byte| *byte == b'\n').filter(own) {
                *lines.entry(line.to_vec()).or_default() += 1;
            }
        }
        match page.last() {
            Some(last) => after = Some(last.clone()),
            None => return lines,
        }
    }
}

/// Waits, for five minutes at the most, until as many of the user's lines are in raw.
pub(super) async fn eventually(
    raw: &dyn RawObjects,
    username: &Username,
    wanted: usize,
) -> BTreeMap<Vec<u8>, usize> {
    for _ in 0..3000 {
        let lines = delivered(raw, username).await;
        if lines.len() >= wanted {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the records did not arrive in raw");
}

/// Every record that is reported durable arrives in raw, as its line.
pub async fn durable_records_arrive_in_raw(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let records: Vec<Record> = (0..1200).map(|n| record(&user, n, n % 50)).collect();
    let outcomes = stream.append(records.clone()).await;
    assert_eq!(outcomes.len(), records.len());
    assert!(outcomes.iter().all(Appended::is_durable));
    let lines = eventually(raw, &user, records.len()).await;
    let expected: BTreeMap<Vec<u8>, usize> =
        records.iter().map(|record| (record.line().to_vec(), 1)).collect();
    assert_eq!(lines, expected);
}

/// Large records, and more of them than one call of any service takes, arrive whole.
pub async fn large_records_arrive_whole(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let records: Vec<Record> = (0..40).map(|n| record(&user, n, 250 * 1024)).collect();
    assert!(stream.append(records.clone()).await.iter().all(Appended::is_durable));
    let lines = eventually(raw, &user, records.len()).await;
    assert!(records.iter().all(|record| lines.contains_key(&record.line()[..])));
}

/// Concurrent appends all arrive, and each gets the outcomes of its own records.
pub async fn concurrent_appends_all_arrive(stream: &dyn Stream, raw: &dyn RawObjects) {
    let user = a_user();
    let answers =
        join_all((0..50).map(|n| stream.append((0..=n % 3).map(|m| record(&user, n * 10 + m, 9)).collect())))
            .await;
    for (n, outcomes) in answers.iter().enumerate() {
        assert_eq!(outcomes.len(), n % 3 + 1);
        assert!(outcomes.iter().all(Appended::is_durable));
    }
    let sent: usize = (0..50).map(|n| n % 3 + 1).sum();
    assert_eq!(eventually(raw, &user, sent).await.len(), sent);
}

/// Appending nothing returns nothing.
pub async fn appending_nothing_is_fine(stream: &dyn Stream) {
    assert!(stream.append(Vec::new()).await.is_empty());
}

/// A batch that is not in raw is not found.
pub async fn a_missing_batch_is_not_found(raw: &dyn RawObjects) {
    assert!(matches!(raw.open(&some_batch()).await, Err(PortError::NotFound { .. })));
}
