//! [`Users`](crate::ports::Users) and [`UserAdmin`].

use futures_util::future::join_all;

use super::a_user;
use crate::{
    SystemRandom, Timestamp,
    ports::{Saved, UserAdmin},
    users::{AccessKey, Scope, User, generate},
};

fn access_key(label: &str) -> AccessKey {
    generate(label.parse().unwrap(), Scope::Write, Timestamp::saturating(1), &SystemRandom).0
}

/// A user who was never saved is not found.
pub async fn a_stranger_is_not_found(users: &dyn UserAdmin) {
    let name = a_user();
    assert_eq!(users.find(&name).await.unwrap(), None);
    assert!(!users.remove(&name).await.unwrap());
}

/// A user is found as it was saved, until it is removed; then it can be made anew.
pub async fn a_user_is_found_until_removed(users: &dyn UserAdmin) {
    let mut user = User::new(a_user());
    user.access_keys =
        vec![access_key("one"), AccessKey { expires_at: Some(Timestamp::saturating(9)), ..access_key("é") }];
    assert_eq!(users.save(&user).await.unwrap(), Saved::Yes);
    let found = users.find(&user.username).await.unwrap().unwrap();
    assert_eq!(found, User { version: 1, ..user.clone() });
    let listed: Vec<User> = users.list().await.unwrap();
    assert!(listed.contains(&found));
    assert!(listed.is_sorted_by(|a, b| a.username < b.username));
    assert!(users.remove(&user.username).await.unwrap());
    assert_eq!(users.find(&user.username).await.unwrap(), None);
    assert_eq!(users.save(&user).await.unwrap(), Saved::Yes);
}

/// A save after another save or a removal since the user was read is refused as outdated, and changes nothing.
pub async fn an_outdated_save_changes_nothing(users: &dyn UserAdmin) {
    let new = User { access_keys: vec![access_key("one")], ..User::new(a_user()) };
    assert_eq!(users.save(&new).await.unwrap(), Saved::Yes);
    assert_eq!(users.save(&new).await.unwrap(), Saved::Outdated);
    let first = users.find(&new.username).await.unwrap().unwrap();
    assert_eq!(users.save(&first).await.unwrap(), Saved::Yes);
    let outdated = User { access_keys: Vec::new(), ..first };
    assert_eq!(users.save(&outdated).await.unwrap(), Saved::Outdated);
    assert_eq!(users.find(&new.username).await.unwrap().unwrap().access_keys.len(), 1);
    users.remove(&new.username).await.unwrap();
    assert_eq!(users.save(&outdated).await.unwrap(), Saved::Outdated);
    assert_eq!(users.find(&new.username).await.unwrap(), None);
}

/// Five workers add four access keys each, at the same time: all twenty are there.
pub async fn concurrent_changes_all_count(users: &dyn UserAdmin) {
    let name = a_user();
    join_all((0..5).map(|worker| {
        let name = name.clone();
        async move {
            for n in 0..4 {
                loop {
                    let found = users.find(&name).await.unwrap();
                    let mut user = found.unwrap_or_else(|| User::new(name.clone()));
                    user.add(access_key(&format!("{worker}-{n}")), Timestamp::saturating(1)).unwrap();
                    if users.save(&user).await.unwrap() == Saved::Yes {
                        break;
                    }
                }
            }
        }
    }))
    .await;
    assert_eq!(users.find(&name).await.unwrap().unwrap().access_keys.len(), 20);
}
