//! A client that gave its events ids may send them again until the answer is that they are stored: each is stored and
//! counted once.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use crate::harness::{self, Answer, PATIENCE, Value, Weir, eventually, json, try_request};

/// A click that its client calls `id`.
fn click(id: &str, button: &str) -> Value {
    json!({"event_type": "button_click", "event_id": id, "session_id": "s", "button_id": button})
}

/// What became of each event of a request.
fn statuses(answer: &Answer) -> Vec<String> {
    let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
    outcomes.iter().map(|outcome| outcome["status"].as_str().unwrap().to_owned()).collect()
}

fn clicks(weir: &Weir, who: &str) -> Value {
    weir.get_as(who, "/button/click/count").json()["count"].clone()
}

/// How often each event of a user lies in the lake, by its id.
fn in_lake(weir: &Weir, user: &str) -> BTreeMap<String, usize> {
    weir.wait_until_filed();
    let mut found = BTreeMap::new();
    for line in weir.lines(&format!("lake/username={user}/button_click")) {
        *found.entry(line["event_id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

fn once<const N: usize>(ids: [&str; N]) -> BTreeMap<String, usize> {
    ids.map(|id| (id.to_owned(), 1)).into()
}

#[test]
fn an_event_that_is_sent_again_is_acknowledged_again_and_counts_once() {
    let weir = Weir::start();
    let first = r#"{"event_id":"order-7","session_id":"s","button_id":"buy"}"#;
    let again = json!({"message": "Received", "status": "duplicate", "event_id": "order-7"});
    for expected in [json!({"message": "Received"}), again.clone(), again] {
        let answer = weir.post("/button/click", first);
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    // Another path, another button: the id says which event it is, and the first one stays.
    let answer = weir.post("/events", click("order-7", "cancel").to_string());
    assert_eq!(answer.status, 200);
    let expected = json!({"stored": 0, "duplicates": 1, "rejected": 0, "not_stored": 0,
        "outcomes": [{"status": "duplicate", "event_id": "order-7"}]});
    assert_eq!(answer.json(), expected);

    assert_eq!(clicks(&weir, &weir.credentials), 1);
    assert_eq!(weir.get("/button/click/count?button_id=cancel").json(), json!({"count": 0}));
    assert_eq!(in_lake(&weir, "demo"), once(["order-7"]));
    assert_eq!(weir.lines("raw").len(), 1);
    let count = &weir.get("/counts").json()["counts"][0];
    assert_eq!((&count["total"], &count["settled"]), (&json!(1), &json!(1)));
    // Without ids, two events that are alike are two.
    for _ in 0..2 {
        assert_eq!(weir.post("/button/click", harness::click("s", "buy")).status, 200);
    }
    assert_eq!(clicks(&weir, &weir.credentials), 3);
}

#[test]
fn it_is_known_again_after_a_restart_and_after_a_kill() {
    let mut weir = Weir::start();
    let event = click("e-1", "b").to_string();
    assert_eq!(statuses(&weir.post("/events", &event)), ["stored"]);
    weir.kill();
    weir.restart();
    assert_eq!(statuses(&weir.post("/events", &event)), ["duplicate"]);
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir.restart();
    assert_eq!(statuses(&weir.post("/events", &event)), ["duplicate"]);
    assert_eq!(clicks(&weir, &weir.credentials), 1);
    assert_eq!(in_lake(&weir, "demo"), once(["e-1"]));
}

#[test]
fn an_event_sent_under_an_id_that_weir_made_for_another_is_stored_and_filed_like_any_other() {
    let weir = Weir::start_with(&["--flush-every", "1h"]);
    let told = |body: Value| {
        let answer = weir.post("/events", body.to_string());
        let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
        outcomes.iter().map(|outcome| outcome["event_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let event = |button: &str| json!({"event_type": "button_click", "session_id": "s", "button_id": button});
    let made = told(json!([event("a"), event("b")]));
    // In the same batch, under the ids that the answer told: other events, alone and together, then each again.
    assert_eq!(statuses(&weir.post("/events", click(&made[0], "c").to_string())), ["stored"]);
    let both = json!([click(&made[0], "d"), click(&made[1], "e")]).to_string();
    assert_eq!(statuses(&weir.post("/events", &both)), ["duplicate", "stored"]);
    assert_eq!(statuses(&weir.post("/events", &both)), ["duplicate", "duplicate"]);
    assert_eq!(clicks(&weir, &weir.credentials), 4);

    let mut weir = weir;
    assert_eq!(weir.stop("-TERM"), Some(0));
    let mut filed: Vec<_> = weir.lines("lake/username=demo/button_click");
    filed.sort_by_key(|line| line["button_id"].to_string());
    let filed: Vec<_> = filed.iter().map(|line| (&line["button_id"], &line["event_id"])).collect();
    let ids = [("a", 0), ("b", 1), ("c", 0), ("e", 1)].map(|(button, at)| (json!(button), json!(made[at])));
    assert_eq!(filed, ids.iter().map(|(button, id)| (button, id)).collect::<Vec<_>>());
    let audit = weir.run(&["audit"]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
}

#[test]
fn ids_may_repeat_within_a_request_and_between_users() {
    let weir = Weir::start();
    let ann = weir.user("ann");
    let lines = ["x", "y", "x", "z", "y", "x"].map(|id| click(id, "b").to_string()).join("\n");
    let answer = weir.post("/events", &lines);
    assert_eq!(answer.status, 200);
    assert_eq!(statuses(&answer), ["stored", "stored", "duplicate", "stored", "duplicate", "duplicate"]);
    assert_eq!((&answer.json()["stored"], &answer.json()["duplicates"]), (&json!(3), &json!(3)));
    assert_eq!(statuses(&weir.post_as(&ann, "/events", click("x", "b").to_string(), &[])), ["stored"]);

    assert_eq!((clicks(&weir, &weir.credentials), clicks(&weir, &ann)), (json!(3), json!(1)));
    assert_eq!(in_lake(&weir, "demo"), once(["x", "y", "z"]));
    assert_eq!(in_lake(&weir, "ann"), once(["x"]));
}

#[test]
fn a_rejected_event_can_be_corrected_and_sent_again_under_its_id() {
    let weir = Weir::start();
    let wrong = json!({"event_type": "button_click", "event_id": "e-1", "session_id": "s"}).to_string();
    for _ in 0..2 {
        assert_eq!(weir.post("/events", &wrong).status, 422);
    }
    let right = click("e-1", "b");
    let answer = weir.post("/events", json!([click("e-2", "b"), right]).to_string());
    assert_eq!(statuses(&answer), ["stored", "stored"]);
    // Once it is stored, being rejected changes nothing of that.
    let answer = weir.post("/events", format!("{wrong}\n{right}\n"));
    assert_eq!(
        (answer.status, statuses(&answer)),
        (207, vec!["rejected".to_owned(), "duplicate".to_owned()])
    );
    assert_eq!(in_lake(&weir, "demo"), once(["e-1", "e-2"]));
    assert_eq!(weir.lines("lake/username=demo/rejected").len(), 3);
}

/// How often the server is killed, and how many requests are answered between two kills.
const KILLS: usize = 8;
const REQUESTS_A_KILL: usize = 15;

#[test]
fn clients_that_send_until_they_are_answered_end_with_each_event_once_whatever_is_killed() {
    let mut weir = Weir::start_with(&["--flush-every", "20ms", "--flush-size", "2000"]);
    let url = Mutex::new(weir.url());
    let who = weir.credentials.clone();
    // Answers drive the kills, and kills let the clients go on: however fast the machine is, all kills come while
    // requests are under way.
    let (begun, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (answered, answers) = mpsc::channel();
    let send = |client: usize, answered: &mpsc::Sender<()>| {
        for n in 0..60 {
            let turn = begun.fetch_add(1, SeqCst);
            eventually("the kill before comes", || {
                let kills = kills.load(SeqCst);
                kills == KILLS || turn < REQUESTS_A_KILL * (kills + 2)
            });
            // Each event is in two requests: two clients were told of it, say.
            let ids = [format!("e-{client}-{n}"), format!("e-{client}-{}", n + 1), format!("shared-{n}")];
            let body = Value::from(ids.map(|id| click(&id, "b")).to_vec()).to_string();
            // The server is down at times.
            eventually("it is acknowledged", || {
                let url = url.lock().unwrap().clone();
                let answer = try_request(&url, "POST", Some(&who), "/events", &[], body.as_bytes());
                answer.is_some_and(|answer| answer.status == 200)
            });
            // Once the last kill has come, they are not counted.
            let _ = answered.send(());
        }
    };
    thread::scope(|scope| {
        let send = &send;
        for client in 0..3 {
            let answered = answered.clone();
            scope.spawn(move || send(client, &answered));
        }
        for kill in 1..=KILLS {
            for _ in 0..REQUESTS_A_KILL {
                answers.recv_timeout(PATIENCE).expect("the clients go on");
            }
            weir.kill();
            weir.restart();
            *url.lock().unwrap() = weir.url();
            kills.store(kill, SeqCst);
        }
    });
    let own = (0..3).flat_map(|client| (0..=60).map(move |n| format!("e-{client}-{n}")));
    let expected: BTreeMap<String, usize> =
        own.chain((0..60).map(|n| format!("shared-{n}"))).map(|id| (id, 1)).collect();
    assert_eq!(in_lake(&weir, "demo"), expected);
    assert_eq!(clicks(&weir, &weir.credentials), expected.len());
}
