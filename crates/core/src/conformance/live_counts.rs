//! [`LiveCounts`].

use futures_util::future::join_all;

use super::{a_user, event_type};
use crate::{
    CountedValue, Counter, Increment, Username,
    counts::{KeyCount, KeysRequest},
    ports::LiveCounts,
};

fn counter(username: &Username, of: &str, key: Option<&str>) -> Counter {
    Counter {
        username: username.clone(),
        event_type: event_type(of),
        key: key.map(|key| key.parse().unwrap()),
    }
}

fn by(counter: &Counter, by: u64) -> Increment {
    Increment { counter: counter.clone(), by }
}

/// A counter that was never raised is 0, and a user who never sent anything has no types and no keys.
pub async fn what_was_never_counted_is_zero(counts: &dyn LiveCounts) {
    let user = a_user();
    let asked = [counter(&user, "a", None), counter(&user, "a", Some("x"))];
    assert_eq!(counts.read(&asked).await.unwrap(), [0, 0]);
    assert!(counts.read(&[]).await.unwrap().is_empty());
    assert!(counts.totals(&user).await.unwrap().is_empty());
    let request = KeysRequest { after: None, limit: 10 };
    assert_eq!(counts.keys(&user, &event_type("a"), &request).await.unwrap(), []);
}

/// Raised counts are read at once, in the order asked, the total apart from the keys.
pub async fn raised_counts_are_read_at_once(counts: &dyn LiveCounts) {
    let user = a_user();
    let (total, x, y) =
        (counter(&user, "a", None), counter(&user, "a", Some("x")), counter(&user, "a", Some("y")));
    counts.raise(&[]).await.unwrap();
    counts.raise(&[by(&total, 5), by(&x, 2), by(&y, 3)]).await.unwrap();
    counts.raise(&[by(&x, 40)]).await.unwrap();
    let asked = [y.clone(), total.clone(), counter(&user, "b", None), x.clone(), y];
    assert_eq!(counts.read(&asked).await.unwrap(), [3, 5, 0, 42, 3]);
    let totals = counts.totals(&user).await.unwrap();
    assert_eq!(totals.into_iter().collect::<Vec<_>>(), [(event_type("a"), 5)]);
}

/// Five workers, ten increments each, at the same time: exactly fifty.
pub async fn concurrent_increments_all_count(counts: &dyn LiveCounts) {
    let user = a_user();
    let (total, key) = (counter(&user, "a", None), counter(&user, "a", Some("x")));
    join_all((0..5).map(|_| async {
        for _ in 0..10 {
            counts.raise(&[by(&total, 1), by(&key, 1)]).await.unwrap();
        }
    }))
    .await;
    assert_eq!(counts.read(&[total, key]).await.unwrap(), [50, 50]);
}

/// One user's counts are no other's.
pub async fn users_do_not_see_each_other(counts: &dyn LiveCounts) {
    let (one, other) = (a_user(), a_user());
    counts.raise(&[by(&counter(&one, "a", None), 1), by(&counter(&one, "a", Some("x")), 1)]).await.unwrap();
    assert_eq!(
        counts.read(&[counter(&other, "a", None), counter(&other, "a", Some("x"))]).await.unwrap(),
        [0, 0]
    );
    assert!(counts.totals(&other).await.unwrap().is_empty());
    let request = KeysRequest { after: None, limit: 10 };
    assert_eq!(counts.keys(&other, &event_type("a"), &request).await.unwrap(), []);
}

/// Keys are any text, and no two of them are confused.
pub async fn any_text_is_a_key_of_its_own(counts: &dyn LiveCounts) {
    let user = a_user();
    let long = "é".repeat(256);
    let [shortened, other] = ["1", "2"].map(|end| CountedValue::of(&("é".repeat(5000) + end)));
    let keys = [
        "",
        " ",
        "#",
        "a#b",
        "a",
        "A",
        "../..",
        "\0",
        "\"",
        "null",
        "e\u{301}",
        "é",
        "\u{10ffff}",
        &long,
        shortened.as_str(),
        other.as_str(),
    ];
    let counters: Vec<Counter> = keys.iter().map(|key| counter(&user, "a", Some(key))).collect();
    for (by_, counter) in (1..).zip(&counters) {
        counts.raise(&[by(counter, by_)]).await.unwrap();
    }
    let expected: Vec<u64> = (1..).take(keys.len()).collect();
    assert_eq!(counts.read(&counters).await.unwrap(), expected);
    let listed =
        counts.keys(&user, &event_type("a"), &KeysRequest { after: None, limit: 100 }).await.unwrap();
    let listed: Vec<&str> = listed.iter().rev().map(|count| count.key.as_str()).collect();
    assert_eq!(listed, keys);
}

/// Keys are listed largest first, equal counts by key, page after page, without a gap or a repetition; those of
/// other types are not among them.
pub async fn keys_are_paged_largest_first(counts: &dyn LiveCounts) {
    let user = a_user();
    let mut expected: Vec<KeyCount> = (0..57)
        .map(|n| KeyCount { key: format!("k{n:02}").parse::<CountedValue>().unwrap(), count: 1 + n % 7 })
        .collect();
    for count in &expected {
        let counter = counter(&user, "a", Some(count.key.as_str()));
        counts.raise(&[by(&counter, count.count), by(&counter.total(), count.count)]).await.unwrap();
    }
    counts
        .raise(&[by(&counter(&user, "a_b", Some("z")), 100), by(&counter(&user, "b", None), 1)])
        .await
        .unwrap();
    expected.sort_by(
        |a, b| {
            if a.precedes(b) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
        },
    );
    let (mut listed, mut after) = (Vec::new(), None);
    for _ in 0..100 {
        let page = counts.keys(&user, &event_type("a"), &KeysRequest { after, limit: 10 }).await.unwrap();
        assert!(page.len() <= 10);
        after = page.last().cloned();
        listed.extend(page);
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
}
