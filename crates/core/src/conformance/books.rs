//! [`Books`] and [`BooksAdmin`].

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{a_user, event_type, some_batch};
use crate::{
    Counter, Hour, Increment, Partition, Username,
    books::Correction,
    counts::KeysRequest,
    ports::{Books, BooksAdmin, LiveCounts, Settlement},
};

fn counter(username: &Username, key: Option<&str>) -> Counter {
    Counter {
        username: username.clone(),
        event_type: event_type("a"),
        key: key.map(|key| key.parse().unwrap()),
    }
}

async fn raise(live: &dyn LiveCounts, username: &Username, key: &str, by: u64) {
    let increments = [None, Some(key)].map(|key| Increment { counter: counter(username, key), by });
    live.raise(&increments).await.unwrap();
}

fn correction(username: &Username, key: Option<&str>, by: i64) -> Correction {
    Correction { counter: counter(username, key), by }
}

/// The books have all counts, live and settled, and none of other users.
pub async fn the_books_have_every_count(books: &dyn Books, live: &dyn LiveCounts, settled: &dyn Settlement) {
    let (user, other, only_settled) = (a_user(), a_user(), a_user());
    raise(live, &user, "x", 2).await;
    raise(live, &user, "y#é", 3).await;
    raise(live, &other, "x", 50).await;
    let at = |user: &Username, of: &str, hour: u64| Partition {
        username: user.clone(),
        event_type: event_type(of),
        hour: Hour::from_epoch(498_000 + hour).unwrap(),
    };
    let events = BTreeMap::from([
        (at(&user, "a", 0), 3),
        (at(&user, "a", 7), 1),
        (at(&user, "b", 0), 9),
        (at(&only_settled, "a", 0), 1),
    ]);
    settled.settle(&some_batch().id(), &events).await.unwrap();

    let counts = books.counts_of(&user, &event_type("a")).await.unwrap();
    assert_eq!((counts.live.total, counts.settled), (5, 4));
    let keys: Vec<(&str, u64)> = counts.live.keys.iter().map(|(key, count)| (key.as_str(), *count)).collect();
    assert_eq!(keys, [("x", 2), ("y#é", 3)]);
    let hours: Vec<(u64, u64)> =
        counts.settled_hours.iter().map(|(hour, count)| (hour.since_epoch(), *count)).collect();
    assert_eq!(hours, [(498_000, 3), (498_007, 1)]);
    let nothing = books.counts_of(&a_user(), &event_type("a")).await.unwrap();
    assert_eq!((nothing.live.total, nothing.live.keys.len(), nothing.settled), (0, 0, 0));

    let counted = books.counted().await.unwrap();
    let of = |user: &Username| -> Vec<String> {
        let own = counted.iter().filter(|(found, _)| found == user);
        own.map(|(_, event_type)| event_type.to_string()).collect()
    };
    assert_eq!(
        (of(&user), of(&other), of(&only_settled)),
        (vec!["a".to_owned(), "b".to_owned()], vec!["a".to_owned()], vec!["a".to_owned()],)
    );
    assert!(of(&a_user()).is_empty());
}

/// Corrections go up and down, on totals and on keys; a count of zero is no longer listed.
pub async fn corrections_are_added(books: &dyn BooksAdmin, live: &dyn LiveCounts) {
    let user = a_user();
    for _ in 0..20 {
        raise(live, &user, "x", 1).await;
    }
    raise(live, &user, "y", 5).await;
    let corrections = [
        correction(&user, None, -19),
        correction(&user, Some("x"), -13),
        correction(&user, Some("y"), -5),
        correction(&user, Some("z"), 4),
    ];
    books.correct(&corrections).await.unwrap();
    books.correct(&[]).await.unwrap();
    let asked = [None, Some("x"), Some("y"), Some("z")].map(|key| counter(&user, key));
    assert_eq!(live.read(&asked).await.unwrap(), [6, 7, 0, 4]);
    let listed = live.keys(&user, &event_type("a"), &KeysRequest { after: None, limit: 10 }).await.unwrap();
    let listed: Vec<&str> = listed.iter().map(|count| count.key.as_str()).collect();
    assert_eq!(listed, ["x", "z"]);
    let counts = books.counts_of(&user, &event_type("a")).await.unwrap();
    assert_eq!((counts.live.total, counts.live.keys.len()), (6, 2));
    let all =
        [correction(&user, None, -6), correction(&user, Some("x"), -7), correction(&user, Some("z"), -4)];
    books.correct(&all).await.unwrap();
    assert!(live.totals(&user).await.unwrap().is_empty());
}

/// A correction takes no more than is there: it fails, and the count is never less than zero.
pub async fn no_count_falls_below_zero(books: &dyn BooksAdmin, live: &dyn LiveCounts) {
    let user = a_user();
    raise(live, &user, "x", 3).await;
    assert!(books.correct(&[correction(&user, Some("x"), -4)]).await.is_err());
    assert!(books.correct(&[correction(&user, Some("never"), -1)]).await.is_err());
    assert_eq!(live.read(&[counter(&user, None), counter(&user, Some("never"))]).await.unwrap(), [3, 0]);
    assert!(live.read(&[counter(&user, Some("x"))]).await.unwrap()[0] <= 3);
}

/// Concurrent corrections that together take more than there is: some fail, and none goes below zero.
pub async fn corrections_at_once_take_no_more_than_is_there(books: &dyn BooksAdmin, live: &dyn LiveCounts) {
    let user = a_user();
    raise(live, &user, "x", 100).await;
    let taking = (0..4).map(|_| async { books.correct(&[correction(&user, None, -60)]).await });
    let done = join_all(taking).await.iter().filter(|answer| answer.is_ok()).count() as u64;
    assert!(done <= 1, "{done}");
    // A failed correction may have taken a part.
    let left = live.read(&[counter(&user, None)]).await.unwrap()[0];
    assert!(left <= 100 - 60 * done, "{left}");
}

/// Increments that are raised while counts are corrected are kept.
pub async fn corrections_lose_no_concurrent_increments(books: &dyn BooksAdmin, live: &dyn LiveCounts) {
    let user = a_user();
    raise(live, &user, "x", 100).await;
    let raising = join_all((0..4).map(|_| async {
        for _ in 0..10 {
            raise(live, &user, "x", 1).await;
        }
    }));
    let correcting = async {
        for _ in 0..5 {
            books.correct(&[correction(&user, None, -10), correction(&user, Some("x"), -20)]).await.unwrap();
            books.correct(&[correction(&user, None, 1)]).await.unwrap();
        }
    };
    futures_util::future::join(raising, correcting).await;
    let asked = [counter(&user, None), counter(&user, Some("x"))];
    assert_eq!(live.read(&asked).await.unwrap(), [100 + 40 - 50 + 5, 100 + 40 - 100]);
}
