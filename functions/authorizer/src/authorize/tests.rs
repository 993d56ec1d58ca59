//! Tests of who gets which grant, how often users are looked up and hashes computed, and what refusals reveal.

mod failures;

use std::{
    collections::BTreeSet,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::prelude::*;
use tokio::{task::JoinSet, time::timeout};
use weir_core::{
    ManualClock, SeededRandom,
    users::{SecretHash, User},
};

use super::*;
use crate::fixtures::{Directory, PASSWORD, PATIENCE, basic, expired, generated, now, password, until, user};

const MINUTE: Duration = Duration::from_mins(1);

struct Setup {
    users: Arc<Directory>,
    clock: Arc<ManualClock>,
    authorizer: Authorizer,
    /// How many argon2id computations were asked for; they are skipped.
    computed: Arc<AtomicUsize>,
}

/// Returns an authorizer that counts argon2id computations instead of making them: [`PASSWORD`] matches every hash but the
/// decoy's.
fn setup(users: impl IntoIterator<Item = User>) -> Setup {
    let users = Arc::new(Directory::of(users));
    let clock = Arc::new(ManualClock::at(now()));
    let computed = Arc::new(AtomicUsize::new(0));
    let mut authorizer = Authorizer::new(users.clone(), clock.clone(), &SeededRandom::new(1), MINUTE);
    authorizer.compare = {
        let computed = computed.clone();
        Arc::new(move |hash, secret| {
            if !hash.is_password() {
                return hash.matches(secret);
            }
            computed.fetch_add(1, Ordering::SeqCst);
            *hash != SecretHash::of_no_account() && secret.reveal() == PASSWORD
        })
    };
    Setup { users, clock, authorizer, computed }
}

impl Setup {
    async fn try_out(&self, name: &str, secret: &str) -> Result<Grant, Refusal> {
        self.authorizer.authorize(Some(&basic(name, secret))).await
    }

    fn computed(&self) -> usize {
        self.computed.load(Ordering::SeqCst)
    }
}

fn scoped(key: AccessKey, scope: Scope) -> AccessKey {
    AccessKey { scope, ..key }
}

#[tokio::test]
async fn each_access_key_grants_its_own_scope_under_its_own_label() {
    let (web, web_secret) = generated("web", 1);
    let (report, report_secret) = generated("report", 2);
    let setup =
        setup([user(vec![scoped(web, Scope::Write), scoped(report, Scope::Read), password("chosen")])]);
    for (secret, scope, label) in [
        (web_secret.reveal(), Scope::Write, "web"),
        (report_secret.reveal(), Scope::Read, "report"),
        (PASSWORD, Scope::Both, "chosen"),
    ] {
        let grant = setup.try_out("ethan", secret).await.unwrap();
        assert_eq!(grant.username.as_str(), "ethan");
        assert_eq!((grant.scope, grant.access_key.as_str()), (scope, label));
    }
}

#[tokio::test]
async fn passwords_are_checked_with_argon2id() {
    let users = Arc::new(Directory::of([user(vec![password("chosen")])]));
    let clock = Arc::new(ManualClock::at(now()));
    let authorizer = Authorizer::new(users, clock, &SeededRandom::new(1), MINUTE);
    let right = authorizer.authorize(Some(&basic("ethan", PASSWORD))).await;
    assert_eq!(right.unwrap().access_key.as_str(), "chosen");
    for (name, secret) in [("ethan", "correct horsf"), ("nobody", PASSWORD)] {
        let wrong = authorizer.authorize(Some(&basic(name, secret))).await;
        assert!(matches!(wrong, Err(Refusal::Wrong)), "{name}");
    }
}

#[tokio::test]
async fn wrong_credentials_have_one_answer_whatever_is_wrong_with_them() {
    let (key, secret) = generated("web", 1);
    let (old, old_secret) = generated("old", 2);
    let (_, other) = generated("other", 3);
    let setup = setup([user(vec![key, expired(old), expired(password("chosen"))])]);
    let mut answers = Vec::new();
    for (name, secret) in [
        ("nobody", secret.reveal()),
        ("nobody", PASSWORD),
        ("Not A Name", secret.reveal()),
        ("Not A Name", PASSWORD),
        ("", ""),
        ("ethan", other.reveal()),
        ("ethan", old_secret.reveal()),
        ("ethan", PASSWORD),
        ("ethan", "another password"),
        ("ethan", ""),
        ("ethan", "weir_"),
    ] {
        answers.push(format!("{:?}", setup.try_out(name, secret).await));
    }
    assert!(answers.iter().all(|answer| answer == "Err(Wrong)"), "{answers:?}");
}

#[tokio::test]
async fn a_chosen_secret_costs_one_computation_for_every_name_and_a_generated_one_none() {
    let (key, secret) = generated("web", 1);
    let named = |name: &str, keys| User { username: name.parse().unwrap(), ..user(keys) };
    let setup = setup([
        named("ethan", vec![password("chosen")]),
        named("anna", vec![key]),
        named("emil", vec![expired(password("chosen"))]),
        named("olga", vec![]),
    ]);
    for (n, name) in ["ethan", "anna", "emil", "olga", "nobody", "Not A Name"].into_iter().enumerate() {
        for secret in ["some password", secret.reveal()] {
            let _ = setup.try_out(name, secret).await;
            assert_eq!(setup.computed(), n + 1, "{name}");
        }
    }
}

#[tokio::test]
async fn a_wrong_generated_secret_costs_the_same_hashes_and_parses_for_every_name() {
    let (operations, keys) =
        (Arc::new(Mutex::new((0, 0))), |count| (0..count).map(|n| generated(&format!("k{n}"), n).0));
    let named = |name: &str, count| User { username: name.parse().unwrap(), ..user(keys(count).collect()) };
    let mut setup = setup([named("one", 1), named("ten", 10), named("twenty", 20), named("empty", 0)]);
    setup.authorizer.parse = {
        let operations = operations.clone();
        Box::new(move |text| {
            operations.lock().unwrap().0 += 1;
            serde_json::from_str(text)
        })
    };
    setup.authorizer.compare = {
        let operations = operations.clone();
        Arc::new(move |hash, secret| {
            operations.lock().unwrap().1 += 1;
            hash.matches(secret)
        })
    };
    let (_, wrong) = generated("wrong", 99);
    for name in ["nobody", "one", "ten", "twenty", "empty", "Not A Name"] {
        *operations.lock().unwrap() = (0, 0);
        assert!(matches!(setup.try_out(name, wrong.reveal()).await, Err(Refusal::Wrong)), "{name}");
        assert_eq!(*operations.lock().unwrap(), (22, 20), "parses and hashes for {name}");
    }
}

#[tokio::test]
async fn a_secret_that_is_sent_in_latin_1_is_read_once_and_costs_one_computation() {
    let hash = SecretHash::of_password(&Secret::presented("pässwörd"), &SeededRandom::new(1)).unwrap();
    let mut setup = setup([user(vec![AccessKey { hash, ..password("chosen") }])]);
    let tried = Arc::new(Mutex::new(Vec::new()));
    setup.authorizer.compare = {
        let tried = tried.clone();
        Arc::new(move |hash, secret| {
            tried.lock().unwrap().push(secret.reveal().to_owned());
            *hash != SecretHash::of_no_account() && secret.reveal() == "pässwörd"
        })
    };
    let latin_1 = b"ethan:p\xe4ssw\xf6rd";
    for (name, bytes, is_right) in [
        ("UTF-8", "ethan:pässwörd".as_bytes(), true),
        ("Latin-1", latin_1, true),
        ("wrong in Latin-1", b"ethan:p\xe4sswird", false),
        ("no account", b"nobody:p\xe4sswird", false),
    ] {
        tried.lock().unwrap().clear();
        setup.clock.advance(60_000);
        let header = format!("Basic {}", BASE64_STANDARD.encode(bytes));
        assert_eq!(setup.authorizer.authorize(Some(&header)).await.is_ok(), is_right, "{name}");
        assert_eq!(tried.lock().unwrap().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn stored_keys_that_cannot_be_parsed_are_a_failure_and_no_refusal() {
    let setup = setup([user(vec![password("chosen")])]);
    setup.users.spoil();
    for secret in [PASSWORD, "weir_x"] {
        let outcome = setup.try_out("ethan", secret).await;
        assert!(matches!(outcome, Err(Refusal::Unavailable(PortError::Broken { .. }))), "{outcome:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_before_anything_is_looked_up() {
    let setup = setup([]);
    let none = setup.authorizer.authorize(None).await;
    assert!(matches!(none, Err(Refusal::NoCredentials)));
    let bearer = setup.authorizer.authorize(Some("Bearer abc")).await;
    assert!(matches!(bearer, Err(Refusal::Malformed(BasicError::NotBasic))));
    assert_eq!((setup.users.asked(), setup.computed()), (0, 0));
}

#[tokio::test]
async fn when_the_users_cannot_be_read_no_credentials_are_called_wrong() {
    let (key, secret) = generated("web", 1);
    let setup = setup([user(vec![key])]);
    setup.users.fail(true);
    for name in ["ethan", "nobody"] {
        let outcome = setup.try_out(name, secret.reveal()).await;
        assert!(matches!(outcome, Err(Refusal::Unavailable(_))), "{name}");
    }
    setup.users.fail(false);
    assert!(setup.try_out("ethan", secret.reveal()).await.is_ok());
}

#[tokio::test]
async fn what_was_granted_is_not_asked_again_for_the_time_of_the_cache() {
    let (key, secret) = generated("web", 1);
    let setup = setup([user(vec![key, password("chosen")])]);
    for secret in [secret.reveal(), PASSWORD] {
        let grant = setup.try_out("ethan", secret).await.unwrap();
        let (asked, computed) = (setup.users.asked(), setup.computed());
        setup.clock.advance(29_999);
        setup.users.fail(true);
        assert_eq!(setup.try_out("ethan", secret).await.unwrap(), grant);
        setup.users.fail(false);
        assert_eq!((setup.users.asked(), setup.computed()), (asked, computed));
    }
}

#[tokio::test]
async fn what_was_refused_is_asked_again_each_time() {
    let (key, secret) = generated("web", 1);
    let setup = setup([user(vec![])]);
    for (n, secret) in [PASSWORD, PASSWORD, secret.reveal()].into_iter().enumerate() {
        assert!(setup.try_out("ethan", secret).await.is_err());
        assert_eq!(setup.users.asked(), n + 1);
    }
    setup.users.put(user(vec![key]));
    assert!(setup.try_out("ethan", secret.reveal()).await.is_ok());
}

#[tokio::test]
async fn a_removed_access_key_ends_with_the_time_of_the_cache() {
    let (key, secret) = generated("web", 1);
    let setup = setup([user(vec![key])]);
    assert!(setup.try_out("ethan", secret.reveal()).await.is_ok());
    setup.users.put(user(vec![]));
    setup.clock.advance(59_999);
    assert!(setup.try_out("ethan", secret.reveal()).await.is_ok());
    setup.clock.advance(1);
    let outcome = setup.try_out("ethan", secret.reveal()).await;
    assert!(matches!(outcome, Err(Refusal::Wrong)));
}

#[tokio::test]
async fn a_removed_access_key_ends_with_the_time_of_the_cache_however_the_wall_clock_is_set() {
    for jump in [-59_000, -172_800_000, 172_800_000] {
        let (key, secret) = generated("web", 1);
        let setup = setup([user(vec![key])]);
        assert!(setup.try_out("ethan", secret.reveal()).await.is_ok());
        setup.users.put(user(vec![]));
        setup.clock.advance(60_000);
        setup.clock.jump(jump);
        let outcome = setup.try_out("ethan", secret.reveal()).await;
        assert!(matches!(outcome, Err(Refusal::Wrong)), "{jump}");
    }
}

#[tokio::test]
async fn an_access_key_ends_when_it_says_cached_or_not() {
    let (key, secret) = generated("web", 1);
    let ending = |key| AccessKey { expires_at: Some(now().plus_millis(5_000)), ..key };
    let setup = setup([user(vec![ending(key), ending(password("chosen"))])]);
    for secret in [secret.reveal(), PASSWORD] {
        assert!(setup.try_out("ethan", secret).await.is_ok());
    }
    setup.clock.advance(4_999);
    for secret in [secret.reveal(), PASSWORD] {
        assert!(setup.try_out("ethan", secret).await.is_ok());
    }
    setup.clock.advance(1);
    for secret in [secret.reveal(), PASSWORD] {
        let outcome = setup.try_out("ethan", secret).await;
        assert!(matches!(outcome, Err(Refusal::Wrong)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_page_that_opens_64_connections_costs_one_computation() {
    for (secret, right) in [(PASSWORD, true), ("another password", false)] {
        let setup = Arc::new(setup([user(vec![password("chosen")])]));
        // Held until all 64 have come: a late caller would rightly start a computation of its own.
        setup.users.hold();
        let mut tasks = JoinSet::new();
        for _ in 0..64 {
            let setup = setup.clone();
            tasks.spawn(async move { setup.try_out("ethan", secret).await.is_ok() });
        }
        until(|| setup.authorizer.flights.waiting() == 64).await;
        setup.users.release();
        assert_eq!(tasks.join_all().await, [right; 64]);
        assert_eq!((setup.users.asked(), setup.computed()), (1, 1));
    }
}

/// Computations that last until they are released, and their number.
#[derive(Default)]
struct Slow {
    over: Mutex<bool>,
    ended: Condvar,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Slow {
    fn compute(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let over = self.over.lock().unwrap();
        drop(self.ended.wait_timeout_while(over, PATIENCE, |over| !*over));
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn let_go(&self) {
        *self.over.lock().unwrap() = true;
        self.ended.notify_all();
    }
}

fn slow_setup() -> (Arc<Setup>, Arc<Slow>) {
    let (mut setup, slow) = (setup([]), Arc::new(Slow::default()));
    let computing = slow.clone();
    setup.authorizer.compare = Arc::new(move |hash, _| {
        if hash.is_password() {
            computing.compute();
        }
        false
    });
    (Arc::new(setup), slow)
}

fn attempt(setup: &Arc<Setup>, n: usize) -> impl Future<Output = Result<Grant, Refusal>> + use<> {
    let setup = setup.clone();
    async move { setup.try_out("nobody", &format!("password {n}")).await }
}

#[tokio::test]
async fn four_passwords_are_checked_at_once_and_a_flood_is_asked_to_come_again() {
    const FULL: usize = Authorizer::MAX_COMPUTING + Authorizer::MAX_WAITING;
    let (setup, slow) = slow_setup();
    let mut tasks: JoinSet<_> = (0..FULL).map(|n| attempt(&setup, n)).collect();
    until(|| setup.authorizer.admitted.available_permits() == 0).await;
    until(|| slow.running.load(Ordering::SeqCst) >= Authorizer::MAX_COMPUTING).await;
    let late = timeout(PATIENCE, attempt(&setup, FULL)).await.unwrap();
    assert!(matches!(late, Err(Refusal::Unavailable(PortError::Unavailable { .. }))));
    let generated = setup.try_out("nobody", "weir_x").await;
    assert!(matches!(generated, Err(Refusal::Wrong)), "it does not wait with them");
    slow.let_go();
    while let Some(outcome) = timeout(PATIENCE, tasks.join_next()).await.unwrap() {
        assert!(matches!(outcome.unwrap(), Err(Refusal::Wrong)));
    }
    assert_eq!(slow.most.load(Ordering::SeqCst), Authorizer::MAX_COMPUTING);
}

#[tokio::test]
async fn a_client_that_goes_away_makes_no_room_for_a_fifth_computation() {
    let (setup, slow) = slow_setup();
    let mut tasks: JoinSet<_> = (0..Authorizer::MAX_COMPUTING).map(|n| attempt(&setup, n)).collect();
    until(|| slow.running.load(Ordering::SeqCst) == Authorizer::MAX_COMPUTING).await;
    tasks.shutdown().await;
    assert_eq!(setup.authorizer.computing.available_permits(), 0);
    slow.let_go();
    until(|| setup.authorizer.computing.available_permits() == Authorizer::MAX_COMPUTING).await;
}

#[tokio::test]
async fn a_computation_that_fails_is_an_error_and_holds_no_other_up() {
    let mut setup = setup([]);
    let failing = Arc::new(AtomicBool::new(true));
    let fails = failing.clone();
    setup.authorizer.compare = Arc::new(move |_, _| {
        assert!(!fails.load(Ordering::SeqCst), "on purpose");
        false
    });
    for _ in 0..2 * Authorizer::MAX_COMPUTING {
        let outcome = timeout(PATIENCE, setup.try_out("nobody", PASSWORD)).await.unwrap();
        assert!(matches!(outcome, Err(Refusal::Unavailable(_))));
    }
    failing.store(false, Ordering::SeqCst);
    assert!(matches!(setup.try_out("nobody", PASSWORD).await, Err(Refusal::Wrong)));
}

#[tokio::test]
async fn a_usage_key_names_one_access_key_and_tells_nothing_of_it() {
    let (web, web_secret) = generated("web", 1);
    let (app, app_secret) = generated("app", 2);
    let hashes = [&web, &app].map(|key| String::from(key.hash.clone()));
    let setup = setup([user(vec![web, app])]);
    let grants = [
        setup.try_out("ethan", web_secret.reveal()).await.unwrap(),
        setup.try_out("ethan", app_secret.reveal()).await.unwrap(),
    ];
    assert_ne!(grants[0].usage_key, grants[1].usage_key);
    setup.clock.advance(60_000);
    let again = setup.try_out("ethan", web_secret.reveal()).await.unwrap();
    assert_eq!(again, grants[0], "it is the same each time");
    for grant in &grants {
        assert_eq!(grant.usage_key.len(), 64);
        assert!(grant.usage_key.bytes().all(|b| b.is_ascii_hexdigit()));
        let told = format!("{grant:?}");
        for (hash, secret) in hashes.iter().zip([&web_secret, &app_secret]) {
            assert!(!told.contains(&secret.reveal()[5..]), "{told}");
            assert!(!hash.split('$').skip(1).any(|part| told.contains(part)), "{told}");
        }
    }
}

#[test]
fn no_two_access_keys_have_one_usage_key() {
    let (key, other) = (generated("web", 1).0, generated("web", 2).0);
    let labelled = |label: &str| AccessKey { label: label.parse().unwrap(), ..key.clone() };
    let usage_key = |name: &str, key| Grant::new(name.parse().unwrap(), key).usage_key;
    let usage_keys = BTreeSet::from([
        usage_key("ethan", key.clone()),
        usage_key("ethan", other),
        usage_key("anna", key.clone()),
        usage_key("ethan", labelled("app")),
        usage_key("ethanw", labelled("eb")),
    ]);
    assert_eq!(usage_keys.len(), 5);
}

proptest! {
    #[test]
    fn no_header_but_the_right_one_is_granted_anything(
        header in "\\PC{0,60}|[Bb]asic +[A-Za-z0-9+/=]{0,80}",
        name in "ethan|[a-z]{0,8}|\\PC{0,8}",
        secret in "weir_[A-Za-z0-9_-]{0,40}|\\PC{0,20}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let setup = setup([user(vec![generated("web", 1).0, password("chosen")])]);
            for header in [header, basic(&name, &secret)] {
                assert!(setup.authorizer.authorize(Some(&header)).await.is_err());
            }
        });
    }
}
