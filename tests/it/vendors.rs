//! Vendors' clients, unmodified: their address is changed to a Weir's, and what they report as sent is in the lake, once.
//!
//! All tests share one server, each with a user of its own.

mod addresses;
mod beacon;
mod bots;
mod cloudevents;
mod gate;
mod in_browser;
mod posthog;
mod program;
mod segment;
mod snowplow;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, Weak},
    thread,
};

use crate::harness::{Value, Weir, eventually};
use gate::Gate;
pub use program::run;

static SHARED: Mutex<Weak<Weir>> = Mutex::new(Weak::new());

/// The server of all tests that run now.
pub fn shared() -> Arc<Weir> {
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let weir = Arc::new(Weir::start_with(&["--flush-every", "200ms", "--failed-sign-ins", "0"]));
        *shared = Arc::downgrade(&weir);
        weir
    })
}

/// Makes an access key of a user, `USER:SECRET`.
pub fn key(weir: &Weir, user: &str, scope: &str) -> String {
    let said = weir.output(&["user", "add", user, "--label", scope, "--scope", scope]);
    said.split_whitespace().find(|word| word.starts_with(&format!("{user}:"))).unwrap().to_owned()
}

/// The user's stored events of a type, from the lake.
pub fn stored(weir: &Weir, user: &str, event_type: &str) -> Vec<Value> {
    weir.lines(&format!("lake/username={user}/{event_type}"))
}

/// The user's only stored event of a type.
pub fn only(weir: &Weir, user: &str, event_type: &str) -> Value {
    let mut events = stored(weir, user, event_type);
    assert_eq!(events.len(), 1, "{user}: {event_type}");
    events.remove(0)
}

/// Checks that each event that a client reports as sent, an id a line, is in the lake, and no event is there twice.
pub fn are_stored_once(weir: &Weir, user: &str, sent: &str) {
    weir.wait_until_filed();
    let all = weir.lines(&format!("lake/username={user}"));
    let ids: Vec<&str> = all.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{user}: an event is stored twice");
    for id in sent.lines() {
        assert!(ids.contains(&id), "{user}: {id} is lost");
    }
}

/// Kills the server while a client sends so many events named `Loop`, each with another number, and restarts it: all of them
/// count and are in the lake once. The client gets the server's URL and a key; returns what it printed.
pub fn survive_a_kill(
    loops: usize,
    client: impl FnOnce(String, String) -> String + Send + 'static,
) -> String {
    let mut weir = Weir::start();
    let (write, read) = (key(&weir, "ann", "write"), key(&weir, "ann", "read"));
    let gate = Gate::start(&weir.url());
    let url = gate.url();
    let client = thread::spawn(move || client(url, write));
    let count =
        |weir: &Weir| weir.get_as(&read, "/client/track/count?event=Loop").json()["count"].as_u64().unwrap();
    eventually("the client is at it", || count(&weir) > 100);
    weir.kill();
    weir.restart();
    gate.lead_to(&weir.url());
    let printed = client.join().unwrap();
    assert_eq!(count(&weir), loops as u64);
    weir.wait_until_filed();
    let tracks = stored(&weir, "ann", "track");
    let in_the_lake = tracks.iter().filter(|track| track["event"] == "Loop");
    let ids: Vec<&Value> = in_the_lake.map(|track| &track["event_id"]).collect();
    let different: BTreeSet<&str> = ids.iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!((ids.len(), different.len()), (loops, loops));
    printed
}
