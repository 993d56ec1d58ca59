//! Answers that are published again by themselves: the deployed publisher, invoked by its schedule.

use std::{fs, path::Path, thread};

use super::{answers::Published, stack::Stack};
use crate::harness::{Value, click, json};

const LOG: &str = "/weir/weir/publisher";
const TABLE: &str = "scheduled_clicks";

/// The event that EventBridge sends for a schedule
/// (<https://docs.aws.amazon.com/eventbridge/latest/userguide/event-reference.html>).
fn scheduled(rule: &str) -> Value {
    json!({
        "version": "0",
        "id": "89d1a02d-5ec7-412e-82f5-13505f849b41",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-11-28T18:44:49Z",
        "region": "us-east-1",
        "resources": [format!("arn:aws:events:us-east-1:000000000000:rule/{rule}")],
        "detail": {},
    })
}

/// The rule that invokes the publisher.
fn rule(weir: &Stack) -> String {
    let publisher = weir.aws.request("lambda", "GET", "/2015-03-31/functions/weir-publisher", &Value::Null);
    let target = json!({"TargetArn": publisher["Configuration"]["FunctionArn"]});
    let rules = weir.aws.call("AWSEvents.ListRuleNamesByTarget", &target)["RuleNames"].take();
    let [rule] = &rules.as_array().unwrap()[..] else { panic!("one rule invokes the publisher: {rules}") };
    let described = weir.aws.call("AWSEvents.DescribeRule", &json!({"Name": rule}));
    assert_eq!(
        (&described["ScheduleExpression"], &described["State"]),
        (&json!("rate(5 minutes)"), &json!("ENABLED"))
    );
    rule.as_str().unwrap().to_owned()
}

/// Makes a table over the clicks of one user. The catalog's own tables are of all users by partition projection, which the local
/// Athena does not know.
fn make_table(weir: &Stack, user: &str) {
    let columns = json!([{"Name": "event_id", "Type": "string"}, {"Name": "button_id", "Type": "string"}]);
    let keys: Value =
        ["year", "month", "day", "hour"].iter().map(|name| json!({"Name": name, "Type": "int"})).collect();
    let location = format!("s3://{}/username={user}/button_click/", weir.output("LakeBucket"));
    let table = json!({"Name": TABLE, "Parameters": {"classification": "json"}, "PartitionKeys": keys,
        "StorageDescriptor": {"Location": location, "Columns": columns}});
    let made = json!({"DatabaseName": weir.output("GlueDatabase"), "TableInput": table});
    weir.aws.call("AWSGlue.CreateTable", &made);
}

/// Publishes the number of clicks by hand, as two answers that are both computed each hour.
fn publish(weir: &Stack, files: &Path) {
    for name in ["due", "fresh"] {
        let sql = format!("-- public: true\n-- every: 1 hour\nSELECT count(*) AS clicks FROM {TABLE}");
        fs::write(files.join(format!("{name}.sql")), sql).unwrap();
    }
    let printed = weir.weir(&format!("publish --engine aws --answers {}", files.display()));
    assert!(printed.starts_with("due: 1 row, ") && printed.contains("\nfresh: 1 row, "), "{printed}");
}

/// Lets an answer look as if it was published an hour ago, by changing its pointer.
fn let_an_hour_pass(weir: &Stack, answer: &str) {
    let (bucket, key) = (weir.output("LakeBucket"), format!("answers/{answer}/current"));
    let mut pointer: Value = serde_json::from_slice(&weir.aws.object(bucket, &key)).unwrap();
    let at = pointer["published"]["published_at"].as_u64().unwrap();
    pointer["published"]["published_at"] = json!(at - 3_600_000);
    pointer["tried_at"].take();
    weir.aws.put_object(bucket, &key, pointer.to_string().as_bytes());
}

/// The number in an answer, read without credentials.
fn clicks(weir: &Stack, answer: &str) -> Value {
    weir.request("GET", None, &format!("/answers/public/{answer}"), &[], b"").json()[0]["clicks"].take()
}

/// Returns how often the publisher has logged that it published an answer.
fn publications(weir: &Stack, answer: &str) -> usize {
    let lines = weir.aws.function_log(LOG);
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == "published" && line["answer"] == answer).count()
}

#[test]
fn the_schedule_publishes_a_due_answer_again_once_and_leaves_others_alone() {
    let weir = Stack::shared();
    let _published = Published::nothing(weir);
    let rule = rule(weir);
    // The rule must not fire before the test enables it.
    weir.aws.call("AWSEvents.DisableRule", &json!({"Name": rule}));
    let ann = weir.user("schedule-ann");
    let one_more = |filed: usize| {
        assert_eq!(weir.post(&ann, "/button/click", click("s", "b")).status, 200);
        weir.filed("schedule-ann", filed);
    };
    one_more(1);
    make_table(weir, "schedule-ann");
    let files = tempfile::tempdir().unwrap();
    publish(weir, files.path());
    assert_eq!((clicks(weir, "due"), clicks(weir, "fresh")), (json!(1), json!(1)));

    // Two invocations at the same time, with the event of the schedule.
    one_more(2);
    let_an_hour_pass(weir, "due");
    let invoke = || {
        let path = "/2015-03-31/functions/weir-publisher/invocations";
        weir.aws.request("lambda", "POST", path, &scheduled(&rule))["published"].as_u64().unwrap()
    };
    let both = thread::scope(|scope| {
        let other = scope.spawn(invoke);
        invoke() + other.join().unwrap()
    });
    assert_eq!((both, publications(weir, "due")), (1, 1), "one of the two computes it");
    assert_eq!((clicks(weir, "due"), clicks(weir, "fresh")), (json!(2), json!(1)));
    assert_eq!(invoke(), 0, "nothing is due any more");

    // An invocation by the rule, which the local AWS fires: every minute instead of every five.
    one_more(3);
    let_an_hour_pass(weir, "due");
    let each_minute = json!({"Name": rule, "ScheduleExpression": "rate(1 minute)", "State": "ENABLED"});
    weir.aws.call("AWSEvents.PutRule", &each_minute);
    weir.aws.eventually("the rule fires", || (clicks(weir, "due") == 3).then_some(()));
    weir.aws.call("AWSEvents.DisableRule", &json!({"Name": rule}));
    weir.aws.eventually("its publication is logged", || (publications(weir, "due") == 2).then_some(()));
    assert_eq!((clicks(weir, "fresh"), publications(weir, "fresh")), (json!(1), 0));
}
