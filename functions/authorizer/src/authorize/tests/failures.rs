//! Tests of sign-ins that fail too often, and of callers that they must not lock out.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn elsewhere(n: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, n])
}

/// Allows three failures a minute; ethan has a chosen password and a generated secret, which is returned too.
fn limited() -> (Setup, Secret) {
    let (key, secret) = generated("web", 1);
    let mut setup = setup([user(vec![key, password("chosen")])]);
    setup.authorizer = setup.authorizer.with_failures_a_minute(3);
    (setup, secret)
}

impl Setup {
    async fn from(&self, address: IpAddr, name: &str, secret: &str) -> Result<Grant, Refusal> {
        self.authorizer.authorize_from(Some(address), Some(&basic(name, secret))).await
    }
}

fn wait_of(outcome: Result<Grant, Refusal>) -> u64 {
    match outcome {
        Err(Refusal::TooMany { retry_after }) => retry_after.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_address_that_guessed_too_often_is_put_off_before_anything_is_computed() {
    let (setup, secret) = limited();
    for n in 0..3 {
        let name = ["ethan", "nobody", "Not A Name"][n];
        assert!(matches!(setup.from(HERE, name, "a guess").await, Err(Refusal::Wrong)));
    }
    for name in ["ethan", "nobody", "Not A Name"] {
        assert_eq!(wait_of(setup.from(HERE, name, "another").await), 20, "{name}");
    }
    assert_eq!(wait_of(setup.from(HERE, "ethan", PASSWORD).await), 20, "even the right one is not looked at");
    assert_eq!(setup.computed(), 3);
    assert!(setup.from(elsewhere(1), "ethan", PASSWORD).await.is_ok(), "others are not held back");
    assert!(setup.from(HERE, "ethan", secret.reveal()).await.is_ok(), "a generated secret cannot be guessed");
    setup.clock.advance(20_000);
    assert!(matches!(setup.from(HERE, "ethan", "a guess").await, Err(Refusal::Wrong)));
    assert_eq!(wait_of(setup.from(HERE, "ethan", "a guess").await), 20);
}

#[tokio::test]
async fn a_name_that_was_guessed_at_from_many_addresses_is_put_off_whether_there_is_such_a_user_or_not() {
    for name in ["ethan", "nobody"] {
        let (setup, secret) = limited();
        for n in 0..15 {
            assert!(matches!(setup.from(elsewhere(n), name, "a guess").await, Err(Refusal::Wrong)));
        }
        assert_eq!(wait_of(setup.from(elsewhere(15), name, "another").await), 20);
        assert_eq!(setup.computed(), 15);
        assert!(matches!(setup.from(elsewhere(16), "anna", "a guess").await, Err(Refusal::Wrong)));
        let generated = setup.from(elsewhere(15), "ethan", secret.reveal()).await;
        assert!(generated.is_ok(), "a generated secret is not locked out by it");
    }
}

#[tokio::test]
async fn who_signed_in_within_the_hour_is_not_locked_out_by_what_others_try() {
    let (setup, _) = limited();
    assert!(setup.from(HERE, "ethan", PASSWORD).await.is_ok());
    for n in 0..60 {
        let _ = setup.from(HERE, "ethan", "a guess").await;
        let _ = setup.from(elsewhere(n), "ethan", "a guess").await;
    }
    assert!(setup.from(HERE, "ethan", PASSWORD).await.is_ok(), "from the cache");
    setup.clock.advance(60_000);
    for n in 0..60 {
        let _ = setup.from(HERE, "ethan", "a guess").await;
        let _ = setup.from(elsewhere(n), "ethan", "a guess").await;
    }
    let computed = setup.computed();
    assert!(setup.from(HERE, "ethan", PASSWORD).await.is_ok(), "checked again");
    assert_eq!(setup.computed(), computed + 1);
    // A password that is no longer right counts as a guess.
    setup.users.put(user(vec![]));
    setup.clock.advance(60_000);
    assert!(matches!(setup.from(elsewhere(1), "ethan", PASSWORD).await, Err(Refusal::Wrong)));
    for n in 0..60 {
        let _ = setup.from(HERE, "ethan", "a guess").await;
        let _ = setup.from(elsewhere(n), "ethan", "a guess").await;
    }
    wait_of(setup.from(HERE, "ethan", PASSWORD).await);
}

#[tokio::test]
async fn who_is_right_uses_nothing_up_and_wrong_generated_secrets_do() {
    let (setup, secret) = limited();
    for _ in 0..10 {
        assert!(setup.from(HERE, "ethan", PASSWORD).await.is_ok());
        setup.clock.advance(2 * 3_600_000);
    }
    let (_, other) = generated("other", 3);
    for _ in 0..3 {
        assert!(matches!(setup.from(HERE, "ethan", other.reveal()).await, Err(Refusal::Wrong)));
    }
    assert_eq!(wait_of(setup.from(HERE, "ethan", other.reveal()).await), 20);
    assert!(setup.from(HERE, "ethan", secret.reveal()).await.is_ok());
}

#[tokio::test]
async fn guesses_at_the_same_time_pass_the_limit_by_those_that_compute_at_once_at_the_most() {
    let (setup, _) = limited();
    let setup = Arc::new(setup);
    let guesses = (0..100).map(|n| {
        let setup = setup.clone();
        async move { setup.from(HERE, "ethan", &format!("guess {n}")).await.is_ok() }
    });
    assert!(guesses.collect::<JoinSet<_>>().join_all().await.iter().all(|ok| !ok));
    assert!(setup.computed() <= 3 + Authorizer::MAX_COMPUTING, "{}", setup.computed());
}
