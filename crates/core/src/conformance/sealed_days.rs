//! The suite of [`SealedDays`]. It is for a store in which nothing is sealed yet, as there is one manifest; each function leaves it so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::join_all;

use crate::{
    Day, Partition, Timestamp,
    conformance::{a_user, event_type, some_batch},
    sealing::{Generation, Manifest, Replaced, SealedColumn, SealedDays, SealedType},
};

/// How many manifests are swapped in beside a reader.
const SWAPS: u64 = 60;

/// Makes a generation that covers these objects, as sealing does.
pub type Make<'a> = &'a dyn Fn(Day, u64, &BTreeSet<String>);

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn objects(count: usize, day: Day) -> BTreeSet<String> {
    let object = |_| {
        let partition =
            Partition { username: a_user(), event_type: event_type("click"), hour: day.first_hour() };
        partition.object(&some_batch().id())
    };
    (0..count).map(object).collect()
}

fn generation(number: u64) -> Generation {
    let columns =
        vec![SealedColumn { name: "a \"b\"".to_owned(), expression: "a ->> '$.\\u00e9'".to_owned() }];
    let sealed = SealedType {
        line: "weir_line".to_owned(),
        columns: columns.into(),
        files: vec![format!("2026-11-20/{number}/click/data_0.parquet")],
        repeat_files: Vec::new(),
        rows: u64::MAX >> 11,
        repeats: 0,
        bytes: 1,
    };
    Generation {
        number,
        sealed_at: Timestamp::saturating(7),
        objects: 3,
        json_expired: true,
        json_left: false,
        types: BTreeMap::from([(event_type("click"), sealed)]),
    }
}

/// Before the first sealing, all days are read from JSON, and nothing is noted.
pub async fn at_first_nothing_is_sealed(days: &dyn SealedDays) {
    assert_eq!(days.manifest().await.unwrap(), Manifest::default());
    assert_eq!(days.noted_until().await.unwrap(), Day::FIRST);
    assert_eq!(days.notes().await.unwrap(), BTreeMap::new());
    assert_eq!(days.generations().await.unwrap(), BTreeSet::new());
}

/// A manifest is read as it was swapped in, with all that it has.
pub async fn a_manifest_is_read_as_it_was_swapped_in(days: &dyn SealedDays) {
    let mut manifest = Manifest { sealed_until: day("2026-11-21"), ..Manifest::default() };
    manifest.days.insert(day("2026-11-20"), generation(3));
    let replaced = Replaced { day: day("2026-11-20"), generation: 2, at: Timestamp::saturating(9) };
    manifest.replaced.push(replaced);
    manifest.removed.insert(event_type("click"), day("2026-11-19"));
    for wanted in [&manifest, &Manifest::default()] {
        days.swap(wanted).await.unwrap();
        assert_eq!(days.manifest().await.unwrap(), *wanted);
    }
}

/// A reader beside the swaps of manifests reads one of them, and never an earlier one than before; a note that is being written is
/// there or not. Where the store blocks, the two are on threads of their own.
pub async fn a_reader_sees_one_manifest_or_the_next(days: Arc<dyn SealedDays>) {
    let last = day("2026-11-20");
    let of = move |n: u64| {
        let mut manifest = Manifest { sealed_until: last.minus(SWAPS - n), ..Manifest::default() };
        manifest.days.insert(last, generation(n));
        manifest
    };
    let noted = objects(usize::try_from(SWAPS).unwrap(), last);
    let (writer, to_note) = (days.clone(), noted.clone());
    let writing = tokio::spawn(async move {
        for (n, object) in (0..=SWAPS).zip(to_note.iter().map(Some).chain([None])) {
            writer.swap(&of(n)).await.unwrap();
            if let Some(object) = object {
                writer.note(last, object).await.unwrap();
            }
        }
    });
    let mut before = Day::FIRST;
    while before < last {
        let manifest = days.manifest().await.unwrap();
        let until = manifest.sealed_until;
        assert!(before <= until, "{until} after {before}");
        if until > Day::FIRST {
            let left = last.since_epoch() - until.since_epoch();
            assert_eq!(manifest, of(SWAPS - left));
        }
        before = until;
        let found = days.notes().await.unwrap();
        assert!(found.values().flatten().all(|object| noted.contains(object)), "{found:?}");
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert_eq!(days.notes().await.unwrap(), BTreeMap::from([(last, noted.clone())]));
    days.remove_notes(last, &noted).await.unwrap();
    days.swap(&Manifest::default()).await.unwrap();
}

/// The day before which objects are noted is the last that was announced.
pub async fn the_announced_day_is_read_back(days: &dyn SealedDays) {
    for announced in [day("2026-11-20"), day("2099-01-01"), Day::FIRST] {
        days.announce(announced).await.unwrap();
        assert_eq!(days.noted_until().await.unwrap(), announced);
    }
}

/// An object is noted for its day, once however often it is noted, by many at the same time; each note is removed alone.
pub async fn notes_are_kept_by_day_and_removed_one_by_one(days: &dyn SealedDays) {
    let [one, other] = [day("2026-11-20"), day("2026-11-21")];
    let (of_one, of_other) = (objects(12, one), objects(2, other));
    for _ in 0..2 {
        let notes =
            of_one.iter().map(|it| days.note(one, it)).chain(of_other.iter().map(|it| days.note(other, it)));
        join_all(notes).await.into_iter().for_each(|noted| noted.unwrap());
    }
    let wanted = BTreeMap::from([(one, of_one.clone()), (other, of_other.clone())]);
    assert_eq!(days.notes().await.unwrap(), wanted);
    let (first, rest) = (of_one.first().unwrap().clone(), of_one.iter().skip(1).cloned().collect());
    // One of another day, and one that is not noted, change nothing.
    let left = BTreeMap::from([(one, BTreeSet::clone(&rest)), (other, of_other.clone())]);
    let remove: BTreeSet<String> =
        [first].into_iter().chain(of_other.iter().cloned()).chain(objects(1, one)).collect();
    for _ in 0..2 {
        days.remove_notes(one, &remove).await.unwrap();
        assert_eq!(days.notes().await.unwrap(), left);
    }
    days.remove_notes(one, &rest).await.unwrap();
    days.remove_notes(other, &of_other).await.unwrap();
    let left = days.notes().await.unwrap();
    assert!(left.values().all(BTreeSet::is_empty), "{left:?}");
}

/// A generation lists what it covers until it is removed, and none of another day or number goes with it.
pub async fn generations_come_and_go_one_by_one(days: &dyn SealedDays, make: Make<'_>) {
    let [one, other] = [day("2026-11-20"), day("2026-11-21")];
    let all = [(one, 1), (one, 2), (other, 1)].map(|(day, number)| (day, number, objects(3, day)));
    for (day, number, covered) in &all {
        make(*day, *number, covered);
    }
    let numbers =
        |from: usize| all[from..].iter().map(|(day, number, _)| (*day, *number)).collect::<BTreeSet<_>>();
    assert_eq!(days.generations().await.unwrap(), numbers(0));
    for (at, (day, number, covered)) in all.iter().enumerate() {
        assert_eq!(days.covered(*day, *number).await.unwrap(), *covered);
        days.remove_generation(*day, *number).await.unwrap();
        days.remove_generation(*day, *number).await.unwrap();
        assert!(days.covered(*day, *number).await.is_err(), "a reader must not take it for an empty one");
        assert_eq!(days.generations().await.unwrap(), numbers(at + 1));
    }
}

/// A generation that has no file, as its day is read from JSON, covers what is said, and goes like any other.
pub async fn a_generation_without_files_covers_what_is_said(days: &dyn SealedDays) {
    let one = day("2026-11-20");
    for covered in [BTreeSet::new(), objects(2, one)] {
        days.cover(one, 7, &covered).await.unwrap();
        assert_eq!(days.covered(one, 7).await.unwrap(), covered);
    }
    assert_eq!(days.generations().await.unwrap(), BTreeSet::from([(one, 7)]));
    days.remove_generation(one, 7).await.unwrap();
    assert_eq!(days.generations().await.unwrap(), BTreeSet::new());
}

/// What a generation covers can be replaced, and a type's files removed, which may be gone: the rest stays.
pub async fn a_type_leaves_a_generation_and_the_rest_stays(days: &dyn SealedDays, make: Make<'_>) {
    let one = day("2026-11-20");
    let (before, after) = (objects(3, one), objects(2, one));
    make(one, 1, &before);
    days.cover(one, 1, &after).await.unwrap();
    for name in ["click", "never_was", "click"] {
        days.remove_type(one, 1, &event_type(name)).await.unwrap();
    }
    assert_eq!(days.covered(one, 1).await.unwrap(), after);
    days.remove_generation(one, 1).await.unwrap();
    days.remove_type(one, 1, &event_type("click")).await.unwrap();
    assert_eq!(days.generations().await.unwrap(), BTreeSet::new());
}

/// Calls all of the suite but what needs threads.
pub async fn all(days: &dyn SealedDays, make: Make<'_>) {
    at_first_nothing_is_sealed(days).await;
    a_manifest_is_read_as_it_was_swapped_in(days).await;
    the_announced_day_is_read_back(days).await;
    notes_are_kept_by_day_and_removed_one_by_one(days).await;
    generations_come_and_go_one_by_one(days, make).await;
    a_type_leaves_a_generation_and_the_rest_stays(days, make).await;
    a_generation_without_files_covers_what_is_said(days).await;
}
