//! `weir audit --engine aws`: counts in a table, changed behind its back, and a lake in a bucket.

use std::collections::BTreeSet;

use weir_core::{Day, sealing::day_of};

use super::{
    emulator::{COUNTS, LAKE, RAW},
    on_aws::{OnAws, on_a_terminal, said},
};
use crate::harness::{Value, gzip, json};

struct Answer {
    code: Option<i32>,
    found: Vec<Value>,
    said: String,
}

impl Answer {
    fn short(&self) -> Vec<String> {
        let short = |it: &Value| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}/{} {}", text("finding"), text("event_type"), text("key"), it["difference"])
        };
        self.found.iter().map(short).collect()
    }
}

fn audit(aws: &OnAws, options: &[&str]) -> Answer {
    let arguments = [&["audit", "--format", "json", "--wait", "0s"], options].concat();
    let output = aws.run(&arguments);
    let found = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Answer { code: output.status.code(), found, said: said(&output) }
}

fn assert_clean(answer: &Answer) {
    assert_eq!((answer.code, &answer.found[..]), (Some(0), &[][..]), "{}", answer.said);
}

/// Changes a number in the table of counts, whatever else does.
fn add(aws: &OnAws, pk: &str, sk: &str, by: i64) {
    let update = json!({"TableName": COUNTS, "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
        "UpdateExpression": "ADD n :by", "ExpressionAttributeValues": {":by": {"N": by.to_string()}}});
    aws.emulator.call("DynamoDB_20120810.UpdateItem", &update);
}

/// The shards of a live count that begin so, and what is in them.
fn shards(aws: &OnAws, begin: &str) -> Vec<(String, i64)> {
    let scan = aws.emulator.call("DynamoDB_20120810.Scan", &json!({"TableName": COUNTS}));
    let shard = |item: &Value| {
        let number = item["n"]["N"].as_str()?.parse().unwrap();
        Some((item["pk"]["S"].as_str().unwrap().to_owned(), number))
    };
    let all = scan["Items"].as_array().unwrap().iter().filter_map(shard);
    all.filter(|(pk, _)| pk.starts_with(begin)).collect()
}

/// Events of ann's that are stored, counted and filed: 20 clicks on `a`, 10 on `b`.
fn filed(aws: &OnAws) -> String {
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    for button in ["a", "b", "a"] {
        let click = json!({"event_type": "button_click", "session_id": "s", "button_id": button});
        let clicks: Value = std::iter::repeat_n(click, 10).collect();
        assert_eq!(server.post(&ann, "/events", clicks.to_string()).status, 200);
    }
    aws.output(&["replay"]);
    ann
}

#[test]
fn a_sound_lake_has_no_differences_and_what_changes_behind_its_back_is_found() {
    let aws = OnAws::start();
    filed(&aws);
    assert_clean(&audit(&aws, &[]));
    assert_clean(&audit(&aws, &["--quiet-for", "0s"]));

    let shown = on_a_terminal(&aws.command(&["audit"])).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("users' types") && shown.contains("no differences; "), "{shown}");

    // What is settled, and not there; what is there, and not settled.
    let (path, bytes) = aws.objects(LAKE, "").into_iter().next().unwrap();
    let (hour, _) = path.rsplit_once('/').unwrap();
    aws.put(LAKE, &format!("{hour}/copy.json.gz"), &bytes);
    aws.put(LAKE, "notes.txt", b"x");
    aws.put(LAKE, "username=ann/notes.txt", b"x");
    let answer = audit(&aws, &[]);
    assert_eq!(answer.code, Some(3), "{}", answer.said);
    let short = answer.short();
    assert_eq!(&short[..2], ["stray object / null", "settled total button_click/ -10"], "{short:?}");
    assert!(short.contains(&"live total button_click/ -10".to_owned()), "{short:?}");
    // It has no user, and a user's folder is looked into only.
    assert_eq!(answer.found[0]["object"], "username=ann/notes.txt");

    let damaged = &bytes[..bytes.len() - 3];
    aws.put(LAKE, &format!("{hour}/copy.json.gz"), damaged);
    let misplaced = path.replace("username=ann", "username=bob");
    aws.put(LAKE, &misplaced, &bytes);
    let junk = [&bytes[..], &gzip(b"junk\n")].concat();
    aws.put(LAKE, &path, &junk);
    let answer = audit(&aws, &[]);
    let names: Vec<&str> = answer.found.iter().map(|it| it["finding"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["stray object", "damaged object", "not a record", "wrong partition"],
        "{:?}",
        answer.found
    );
    let repaired = audit(&aws, &["--repair", "--quiet-for", "0s"]);
    assert_eq!(repaired.code, Some(3), "{}", repaired.said);
}

#[test]
fn repair_adds_the_difference_and_no_shard_falls_below_zero() {
    let aws = OnAws::start();
    let ann = filed(&aws);
    // One shard has much more than the others, so that what is to be taken is not in any other one.
    add(&aws, "live#ann#0", "type#button_click", 25);
    add(&aws, "live#ann#1", "type#button_click", 20);
    add(&aws, "key#ann#button_click#1", "key#a", -4 + 50);
    add(&aws, "key#ann#button_click#0", "key#b", 3);
    add(&aws, "live#gone#1", "type#page_view", 8);
    let expected = [
        "under way or lost button_click/ 45",
        "under way or lost button_click/a 46",
        "under way or lost button_click/b 3",
        "under way or lost page_view/ 8",
    ];
    let answer = audit(&aws, &[]);
    assert_eq!((answer.code, answer.short()), (Some(0), expected.map(str::to_owned).to_vec()));
    assert!(answer.said.contains("under way") && answer.said.contains("--quiet-for 16m"), "{}", answer.said);
    let table = String::from_utf8(aws.run(&["audit"]).stdout).unwrap();
    assert!(table.contains("under_way_or_lost"), "{table}");

    let certain = audit(&aws, &["--quiet-for", "0s"]);
    assert_eq!(certain.code, Some(3));
    assert!(certain.short().contains(&"live total button_click/ 45".to_owned()), "{:?}", certain.short());

    let repaired = audit(&aws, &["--repair", "--quiet-for", "1s"]);
    assert_eq!((repaired.code, repaired.found.len()), (Some(0), 4), "{}", repaired.said);
    assert_clean(&audit(&aws, &["--quiet-for", "0s"]));
    for count in ["live#ann", "key#ann", "live#gone"] {
        let shards = shards(&aws, count);
        assert!(shards.iter().all(|(_, n)| *n >= 0) && !shards.is_empty(), "{count}: {shards:?}");
    }
    let server = aws.serve(&[]);
    let counts = server.get(&ann, "/counts/button_click").json();
    assert_eq!((&counts["total"], &counts["settled"]), (&json!(30), &json!(30)));
    assert_eq!(counts["keys"], json!([{"key": "a", "count": 20}, {"key": "b", "count": 10}]));

    // Counts that were never raised for stored events: too low is wrong whatever is under way.
    let most = shards(&aws, "live#ann#").into_iter().max_by_key(|(_, n)| *n).unwrap().0;
    add(&aws, &most, "type#button_click", -5);
    let low = audit(&aws, &[]);
    assert_eq!(low.code, Some(3), "{:?}", low.short());
    assert_eq!(audit(&aws, &["--repair", "--quiet-for", "0s"]).code, Some(0));
    assert_clean(&audit(&aws, &[]));
}

#[test]
fn nothing_is_corrected_while_counts_move() {
    let aws = OnAws::start();
    filed(&aws);
    add(&aws, "live#ann#0", "type#button_click", 5);
    std::thread::scope(|scope| {
        let repairing = scope.spawn(|| audit(&aws, &["--repair", "--quiet-for", "3s"]));
        while !repairing.is_finished() {
            add(&aws, "live#ann#1", "type#button_click", 1);
        }
        let refused = repairing.join().unwrap();
        assert_eq!((refused.code, refused.found.len()), (Some(1), 0));
        assert!(refused.said.contains("the counts of ann's button_click moved"), "{}", refused.said);
        assert!(refused.said.contains("Nothing was corrected"), "{}", refused.said);
    });
    let answer = audit(&aws, &["--quiet-for", "0s"]);
    assert_eq!(answer.code, Some(3));
    assert!(answer.found[0]["difference"].as_i64().unwrap() > 5, "{:?}", answer.found);
}

#[test]
fn a_shard_that_would_not_be_read_and_a_bucket_that_is_not_there_are_reported() {
    let aws = OnAws::start();
    filed(&aws);
    let output = aws.command(&["audit"]).env("WEIR_LAKE_BUCKET", "no-such-bucket").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no-such-bucket was not found"), "{}", said(&output));
    add(&aws, "live#ann#7", "type#button_click", 1);
    let answer = audit(&aws, &[]);
    assert_eq!(answer.code, Some(1), "{}", answer.said);
    assert!(answer.said.contains("WEIR_COUNTER_SHARDS is 2"), "{}", answer.said);
    assert!(aws.objects(RAW, "raw/").len() >= 3);
}

/// What the sealing function leaves: the JSON of a day is gone, and the manifest says so.
#[test]
fn days_of_which_only_parquet_is_left_and_removed_events_are_no_differences() {
    let aws = OnAws::start();
    filed(&aws);
    let paths: Vec<String> = aws.objects(LAKE, "username").into_keys().collect();
    let days: BTreeSet<Day> = paths.iter().filter_map(|path| day_of(path)).collect();
    for path in paths {
        let url = format!("{}/{LAKE}/{}", aws.emulator.endpoint, path.replace('=', "%3D"));
        ureq::delete(&url).call().unwrap();
    }
    let lost = audit(&aws, &[]);
    assert_eq!(lost.code, Some(3), "{}", lost.said);

    let of_type = json!({"line": "weir_line", "columns": [], "files": [], "repeat_files": [], "rows": 30, "repeats": 0, "bytes": 1});
    let generation = json!({"number": 1, "sealed_at": 1, "objects": 1, "json_expired": true, "json_left": false,
        "types": {"button_click": of_type}});
    let next = days.last().unwrap().next().to_string();
    let days: serde_json::Map<String, Value> =
        days.iter().map(|day| (day.to_string(), generation.clone())).collect();
    let mut manifest = json!({"weir_sealed": 1, "sealed_until": next, "days": days, "replaced": []});
    aws.put(LAKE, "sealed/manifest.json", manifest.to_string().as_bytes());
    let without_json = audit(&aws, &[]);
    assert_clean(&without_json);
    assert!(without_json.said.contains("30 events were not recounted"), "{}", without_json.said);

    manifest["days"] = json!({});
    manifest["removed"] = json!({"button_click": next});
    aws.put(LAKE, "sealed/manifest.json", manifest.to_string().as_bytes());
    let removed = audit(&aws, &[]);
    assert_clean(&removed);
    assert!(removed.said.contains("30 events were removed"), "{}", removed.said);
}
