//! [`Answers`](crate::ports::Answers) and [`AnswersAdmin`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;

use super::{a_user, content};
use crate::{
    AnswerName, Timestamp,
    answers::{
        KEPT_MILLIS, Published,
        layout::{Key, Writer},
    },
    ports::{AnswersAdmin, Content, Generation, PortError, Publication},
};

/// Makes the name of an answer that no other call has.
fn some_name() -> AnswerName {
    a_user().as_str().parse().unwrap()
}

/// A generation in which each of `slots` slots below two paths says `says`.
fn generation(name: &AnswerName, says: &str, slots: usize, published_at: Timestamp) -> (Published, Bytes) {
    let json = |slot: usize| format!("{{\"slot\":{slot},\"says\":\"{says}\"}}");
    let mut writer = Writer::new(json(slots).len(), 2 * slots as u64).unwrap();
    let mut bytes = Vec::new();
    for path in ["a", "ü/.."] {
        for slot in 0..slots {
            writer.row(&[path.to_owned()], &[slot.to_string()], &json(slot), &mut bytes);
        }
    }
    let generation = writer.finish(&mut bytes).unwrap();
    let published = Published { name: name.clone(), generation, published_at, sql: "SELECT 1".to_owned() };
    (published, bytes.into())
}

async fn publish(answers: &dyn AnswersAdmin, (published, bytes): &(Published, Bytes)) {
    let done = answers.publish(published, bytes.len() as u64, content(bytes)).await.unwrap();
    assert_eq!(done, Publication::Current);
}

async fn get(generation: &dyn Generation, key: Key) -> Option<String> {
    let range = generation.find(key).await.unwrap()?;
    Some(String::from_utf8(generation.read(range).await.unwrap().to_vec()).unwrap())
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_179_605_007).unwrap()
}

/// An answer that was never published is not there.
pub async fn what_was_never_published_is_not_there(answers: &dyn AnswersAdmin) {
    assert!(answers.current(&some_name()).await.unwrap().is_none());
}

/// Each slot and each path of a generation is read as it was laid out, whatever its number of slots; what it does not have
/// is not found.
pub async fn what_was_published_is_read_by_path_and_by_slot(answers: &dyn AnswersAdmin) {
    for slots in [0, 1, 2, 5000] {
        let name = some_name();
        let made = generation(&name, "once", slots, now());
        publish(answers, &made).await;
        let current = answers.current(&name).await.unwrap().unwrap();
        assert_eq!(current.published().generation, made.0.generation);
        assert_eq!(current.published().published_at, now());
        for slot in (0..slots).step_by(97) {
            let row = get(&*current, Key::of_slot(["ü/.."], [slot.to_string()])).await.unwrap();
            assert_eq!(row.trim_end(), format!("{{\"slot\":{slot},\"says\":\"once\"}}"));
        }
        let rows = get(&*current, Key::of_path(["a"])).await;
        let rows: Option<Vec<serde_json::Value>> = rows.map(|rows| serde_json::from_str(&rows).unwrap());
        assert_eq!(rows.map(|rows| rows.len()), (slots > 0).then_some(slots));
        assert_eq!(get(&*current, Key::of_slot(["a"], [slots.to_string()])).await, None);
        assert_eq!(get(&*current, Key::of_path(["b"])).await, None);
    }
}

/// All published answers are listed, by name.
pub async fn published_answers_are_listed(answers: &dyn AnswersAdmin) {
    let mut names = [some_name(), some_name()];
    names.sort();
    for name in &names {
        publish(answers, &generation(name, "x", 1, now())).await;
    }
    let listed: Vec<AnswerName> =
        answers.list().await.unwrap().into_iter().map(|published| published.name).collect();
    assert!(listed.is_sorted() && names.iter().all(|name| listed.contains(name)), "{listed:?}");
}

/// Publishing again swaps the pointer to the new generation; one that is the same changes its time only.
pub async fn publishing_again_swaps_the_pointer(answers: &dyn AnswersAdmin) {
    let name = some_name();
    for (says, later) in [("old", 0), ("new", 1), ("new", 2), ("old", 3)] {
        let made = generation(&name, says, 3, now().plus_millis(later));
        publish(answers, &made).await;
        let current = answers.current(&name).await.unwrap().unwrap();
        assert_eq!(current.published().published_at, made.0.published_at);
        assert_eq!(current.published().generation, made.0.generation);
        assert!(get(&*current, Key::of_path(["a"])).await.unwrap().contains(says));
    }
}

/// A publication that breaks off leaves the current generation as it was.
pub async fn a_publication_that_breaks_off_changes_nothing(answers: &dyn AnswersAdmin) {
    let name = some_name();
    let broken = || -> Content {
        let pieces = [Ok(Bytes::from_static(b"[")), Err(std::io::Error::other("broke off"))];
        Box::pin(futures_util::stream::iter(pieces))
    };
    let (published, bytes) = generation(&name, "new", 3, now());
    assert!(answers.publish(&published, bytes.len() as u64, broken()).await.is_err());
    assert!(answers.current(&name).await.unwrap().is_none());
    publish(answers, &generation(&name, "old", 3, now())).await;
    assert!(answers.publish(&published, bytes.len() as u64, broken()).await.is_err());
    let current = answers.current(&name).await.unwrap().unwrap();
    assert!(get(&*current, Key::of_path(["a"])).await.unwrap().contains("old"));
}

/// A reader that holds a generation reads it whole, although others take its place; after an hour a replaced generation is
/// removed.
pub async fn a_generation_is_read_whole_while_others_replace_it(answers: &dyn AnswersAdmin) {
    let name = some_name();
    publish(answers, &generation(&name, "first", 50, now())).await;
    let held = answers.current(&name).await.unwrap().unwrap();
    publish(answers, &generation(&name, "second", 50, now().plus_millis(1))).await;
    let just_before = now().plus_millis(KEPT_MILLIS);
    publish(answers, &generation(&name, "third", 50, just_before)).await;
    assert!(get(&*held, Key::of_path(["a"])).await.unwrap().contains("first"));
    publish(answers, &generation(&name, "fourth", 50, now().plus_millis(3 * KEPT_MILLIS))).await;
    let current = answers.current(&name).await.unwrap().unwrap();
    assert!(get(&*current, Key::of_path(["a"])).await.unwrap().contains("fourth"));
}

/// Readers see whole generations only, one after the other, while they are swapped as fast as possible.
pub async fn no_reader_sees_half_of_two_generations(answers: Arc<dyn AnswersAdmin>, publications: u64) {
    let name = some_name();
    publish(&*answers, &generation(&name, "g0", 40, now())).await;
    let done = Arc::new(AtomicBool::new(false));
    let (writer, name_of_writer, all_written) = (answers.clone(), name.clone(), done.clone());
    let writing = tokio::spawn(async move {
        for number in 1..=publications {
            // Rows of other widths, so that a reader with another generation's index would be between two of them.
            let says = format!("g{number}{}", "x".repeat(usize::try_from(number % 7).unwrap()));
            publish(&*writer, &generation(&name_of_writer, &says, 40, now().plus_millis(number))).await;
        }
        all_written.store(true, Ordering::Relaxed);
    });
    let (mut last, mut seen) = (0, 0);
    // The last one is read in any case.
    while !done.load(Ordering::Relaxed) || last < publications {
        let current = answers.current(&name).await.unwrap().unwrap();
        let rows = get(&*current, Key::of_path(["a"])).await.unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(&rows).unwrap();
        let says = rows[0]["says"].as_str().unwrap().to_owned();
        assert!(rows.len() == 40 && rows.iter().all(|row| row["says"] == says), "{rows:?}");
        let slot = get(&*current, Key::of_slot(["a"], ["7"])).await.unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&slot).unwrap(), rows[7]);
        let number: u64 = says.trim_matches(['g', 'x']).parse().unwrap();
        assert!(number >= last, "generation {number} behind {last}");
        seen += u64::from(number > last);
        last = number;
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert!(seen > 1, "all but {seen} came and went between two reads");
}

/// Where publishers take no turns: one that was computed earlier does not take the place of one that was computed later,
/// whichever is published first, and also if many are published at once.
pub async fn what_was_computed_earlier_never_replaces_what_was_computed_later(
    answers: Arc<dyn AnswersAdmin>,
) {
    let name = some_name();
    publish(&*answers, &generation(&name, "later", 3, now().plus_millis(1))).await;
    let (earlier, bytes) = generation(&name, "earlier", 3, now());
    let outdated = answers.publish(&earlier, bytes.len() as u64, content(&bytes)).await.unwrap();
    assert_eq!(outdated, Publication::Outdated);
    let current = answers.current(&name).await.unwrap().unwrap();
    assert!(get(&*current, Key::of_path(["a"])).await.unwrap().contains("later"));

    let name = some_name();
    let publishing = (0..8).map(|number| {
        let (answers, name) = (answers.clone(), name.clone());
        tokio::spawn(async move {
            // Two of them are the same generation, and differ in their time only.
            let says = format!("g{}", number / 2);
            let (published, bytes) = generation(&name, &says, 3, now().plus_millis(number));
            answers.publish(&published, bytes.len() as u64, content(&bytes)).await.unwrap()
        })
    });
    let mut done = Vec::new();
    for one in publishing.collect::<Vec<_>>() {
        done.push(one.await.unwrap());
    }
    assert_eq!(done.last(), Some(&Publication::Current), "{done:?}");
    let current = answers.current(&name).await.unwrap().unwrap();
    assert_eq!(current.published().published_at, now().plus_millis(7));
    assert!(get(&*current, Key::of_path(["a"])).await.unwrap().contains("g3"));
}

/// A generation of any length is read whole, wherever its parts lie.
pub async fn a_large_generation_is_read_at_both_ends(answers: &dyn AnswersAdmin) {
    let (name, slots) = (some_name(), 60_000);
    publish(answers, &generation(&name, &"wide ".repeat(20), slots, now())).await;
    let current = answers.current(&name).await.unwrap().unwrap();
    for (path, slot) in [("a", 0), ("a", slots - 1), ("ü/..", 7), ("ü/..", slots - 1)] {
        let row = get(&*current, Key::of_slot([path], [slot.to_string()])).await.unwrap();
        assert!(row.starts_with(&format!("{{\"slot\":{slot},")), "{row}");
    }
    assert_eq!(get(&*current, Key::of_slot(["a"], [slots.to_string()])).await, None);
}

/// A generation whose bytes are no generation is an error that says so, and not a wrong answer.
pub async fn what_is_no_generation_is_an_error(answers: &dyn AnswersAdmin) {
    let name = some_name();
    let (published, _) = generation(&name, "x", 1, now());
    let noise = super::noise(1000);
    answers.publish(&published, 1000, content(&noise)).await.unwrap();
    assert!(matches!(answers.current(&name).await, Err(PortError::Broken { .. })));
}
