//! `weir forget --engine aws`: the command, beside a server that goes on.

use super::{
    emulator::{LAKE, RAW},
    on_aws::{OnAws, Server, said},
};
use crate::harness::{Value, gunzip, json};

fn click(id: &str, session: &str) -> Value {
    json!({"event_type": "button_click", "event_id": id, "session_id": session, "button_id": "b"})
}

#[test]
fn forgetting_on_aws_says_what_it_did_where_and_the_audit_knows_it() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    let events = json!([click("1", "goes"), click("2", "goes"), click("3", "stays")]);
    assert_eq!(server.post(&ann, "/events", events.to_string()).status, 200);
    aws.output(&["replay"]);
    let clicks = |server: &Server| {
        let counts = server.get(&ann, "/counts/button_click").json();
        (counts["total"].clone(), counts["settled"].clone())
    };
    assert_eq!(clicks(&server), (json!(3), json!(3)));

    let before = aws.objects(RAW, "raw/");
    let refused = aws.run(&["forget", "--user", "anna", "--where", "session_id=goes", "--wait", "0s"]);
    assert!(said(&refused).contains("there is no user anna; there is ann"), "{}", said(&refused));
    let look = aws.output(&["forget", "--user", "ann", "--where", "session_id=goes", "--dry-run"]);
    assert_eq!(look, "to be forgotten: 2 events of ann (2 button_click). Without --dry-run, they go\n");
    assert_eq!((aws.objects(RAW, "raw/"), clicks(&server)), (before.clone(), (json!(3), json!(3))));
    let forgotten = aws.run(&["forget", "--user", "ann", "--where", "session_id=goes", "--wait", "0s"]);
    assert!(forgotten.status.success(), "{}", said(&forgotten));
    let printed = String::from_utf8(forgotten.stdout).unwrap();
    for line in [
        "forgotten: 2 events of ann (2 button_click)",
        "  lake        1 object rewritten or removed",
        "  raw         1 batch rewritten or removed",
        "  quarantine  0 objects rewritten or removed",
        "counts lowered; 0 latest values, 0 recent rejected events and 2 remembered ids removed",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    let raw = aws.objects(RAW, "raw/");
    assert!(!raw.values().any(|batch| String::from_utf8_lossy(batch).contains("goes")));
    assert_eq!(clicks(&server), (json!(1), json!(1)));

    // The server knows it within a minute; a new one at once.
    let server = aws.serve(&[]);
    let again = server.post(&ann, "/events", json!([click("1", "goes")]).to_string());
    assert_eq!(again.json()["duplicates"], 1);
    assert_eq!(server.get(&ann, "/events/1").json()["status"], "forgotten");
    let audited = aws.run(&["audit", "--wait", "0s"]);
    assert!(audited.status.success(), "{}", said(&audited));
    assert!(said(&audited).contains("2 events were forgotten (`weir forget`)"), "{}", said(&audited));

    // A copy of the batch that is put back is filed without them.
    for (key, batch) in &before {
        aws.put(RAW, key, batch);
    }
    aws.output(&["replay"]);
    assert_eq!(clicks(&server), (json!(1), json!(1)));
    assert!(aws.objects(LAKE, "username=").values().all(|object| !gunzip(object).contains("goes")));
}
