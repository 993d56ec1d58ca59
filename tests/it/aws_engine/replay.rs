//! `weir replay --engine aws`: batches are filed, and filed again, from anywhere.

use super::{
    emulator::{LAKE, RAW},
    on_aws::{OnAws, Server, on_a_terminal, run, said},
};
use crate::harness::{Value, gunzip, gzip, json};

/// Noon of the 20th of November 2026.
const NOON: u64 = 1_795_176_000_000;

const DAY: u64 = 86_400_000;

fn line(id: &str, user: &str, event_type: &str, received_at: u64) -> String {
    let event =
        json!({"event_id": id, "username": user, "event_type": event_type, "received_at": received_at});
    event.to_string() + "\n"
}

/// Two days with a batch each, as the stream writes them: gzip, several members.
fn put_batches(aws: &OnAws) {
    for day in 0..2_u64 {
        let at = |minute: u64| NOON + day * DAY + minute * 60_000;
        let first: String =
            (0..40).map(|n| line(&format!("a-{day}-{n}"), "ann", "button_click", at(n * 2))).collect();
        let second: String =
            (0..10).map(|n| line(&format!("b-{day}-{n}"), "bob", "page_view", at(n))).collect();
        let mut batch = gzip(first.as_bytes());
        batch.extend(gzip((second + "this is no event\n").as_bytes()));
        let date = 20 + day;
        let name = format!("raw/2026/11/{date}/12/weir-events-1-2026-11-{date}-12-00-00-{day}.gz");
        aws.put(RAW, &name, &batch);
    }
}

fn settled(server: &Server, who: &str, event_type: &str) -> Value {
    server.get(who, &format!("/counts/{event_type}")).json()["settled"].clone()
}

#[test]
fn a_range_is_filed_and_filing_it_again_changes_nothing() {
    let aws = OnAws::start();
    put_batches(&aws);
    let (ann, bob) = (aws.user("ann"), aws.user("bob"));
    let server = aws.serve(&[]);
    let counts = || (settled(&server, &ann, "button_click"), settled(&server, &bob, "page_view"));

    let first = aws.run(&["replay", "--from", "2026/11/20", "--to", "2026/11/21"]);
    let summary = |newly: u64, batches: u64| {
        let (filed, lines) = match batches {
            1 => ("1 batch".to_owned(), "1 line is".to_owned()),
            many => (format!("{many} batches"), format!("{many} lines are")),
        };
        format!(
            "{filed} filed again with {} events; {newly} had not been settled before; {lines} in quarantine; 0 batches failed\n",
            batches * 50
        )
    };
    assert_eq!(String::from_utf8_lossy(&first.stdout), summary(1, 1));
    // A progress bar is for terminals.
    assert_eq!((first.status.code(), said(&first).as_str()), (Some(0), ""));
    assert_eq!(counts(), (json!(40), json!(10)));
    let lake = aws.objects(LAKE, "");
    let folders: Vec<&str> = lake.keys().map(|key| key.rsplit_once('/').unwrap().0).collect();
    assert_eq!(
        folders,
        [
            "username=ann/button_click/year=2026/month=11/day=20/hour=12",
            "username=ann/button_click/year=2026/month=11/day=20/hour=13",
            "username=bob/page_view/year=2026/month=11/day=20/hour=12",
        ]
    );
    let lines: usize = lake.values().map(|bytes| gunzip(bytes).lines().count()).sum();
    assert_eq!(lines, 50);
    let quarantine = aws.objects(RAW, "quarantine/");
    assert_eq!(quarantine.len(), 1);
    assert!(gunzip(quarantine.values().next().unwrap()).contains("this is no event"));

    let again = aws.output(&["replay", "--from", "raw/2026/11/20/12", "--to", "2026/11/20/13"]);
    assert_eq!(again, summary(0, 1));
    assert_eq!((aws.objects(LAKE, ""), aws.objects(RAW, "quarantine/")), (lake.clone(), quarantine));
    assert_eq!(counts(), (json!(40), json!(10)));

    assert_eq!(aws.output(&["replay"]), summary(1, 2));
    assert_eq!(counts(), (json!(80), json!(20)));
    let both = aws.objects(LAKE, "");
    assert_eq!(both.len(), 6, "{:?}", both.keys());
    let changed: Vec<_> =
        lake.iter().filter(|(key, bytes)| both.get(*key) != Some(bytes)).map(|(key, _)| key).collect();
    assert!(changed.is_empty(), "changed: {changed:?}");
    assert!(aws.output(&["replay", "--from", "2027"]).starts_with("0 batches"));
}

#[test]
fn a_batch_that_cannot_be_filed_is_reported_and_filed_by_the_next_replay() {
    let aws = OnAws::start();
    put_batches(&aws);
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    let output = run(aws.command(&["replay"]).env("WEIR_LAKE_BUCKET", "no-such-bucket"));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.starts_with("0 batches filed again with 0 events;"), "{printed}");
    assert!(printed.ends_with("2 batches failed\n"), "{printed}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(said(&output).matches("weir: ").count(), 2, "{}", said(&output));
    assert_eq!(settled(&server, &ann, "button_click"), 0);

    assert!(
        aws.output(&["replay"]).starts_with("2 batches filed again with 100 events; 2 had not been settled")
    );
    assert_eq!(settled(&server, &ann, "button_click"), 80);
}

#[test]
fn on_a_terminal_it_shows_how_far_it_is() {
    let aws = OnAws::start();
    put_batches(&aws);
    let shown = run(&mut on_a_terminal(&aws.command(&["replay"])));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("2/2 batches"), "{shown}");
    assert!(shown.contains("2 batches filed again with 100 events"), "{shown}");
}
