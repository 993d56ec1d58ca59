//! The real program on a Runtime API, as a schedule invokes it, with a local AWS: its Athena answers with DuckDB, so the SQL is
//! such that both take it.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../../crates/aws/tests/emulator/process.rs"]
mod emulator;

use std::{collections::BTreeMap, time::Duration};

use emulator::{LAKE, Process, RAW, USERS};
use serde_json::{Value, json};
use weir_core::{Clock, SystemClock};
use weir_lambda::testing::{Function, Outcome};

const PROGRAM: &str = env!("CARGO_BIN_EXE_publisher");

const VARIABLES: [(&str, &str); 6] = [
    ("WEIR_LAKE_BUCKET", LAKE),
    ("WEIR_USERS_TABLE", USERS),
    ("WEIR_WORKGROUP", "weir"),
    ("WEIR_GLUE_DATABASE", "weir"),
    ("WEIR_CDN", "true"),
    ("WEIR_LOG", "info"),
];

/// What EventBridge sends for a schedule.
fn scheduled() -> Value {
    json!({"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}})
}

/// Invokes it, as Lambda does: with all of the template's 15 minutes.
fn look(function: &mut Function) -> Outcome {
    function.invoke_within(scheduled(), Duration::from_mins(15))
}

fn published(answers: u64) -> Outcome {
    Outcome::Answer(json!({"published": answers}))
}

struct Local(Process);

impl Local {
    fn start() -> Self {
        let process = Process::start();
        let results = json!({"OutputLocation": format!("s3://{RAW}/athena-results/")});
        let workgroup = json!({"Name": "weir", "Configuration": {"ResultConfiguration": results}});
        process.call("AmazonAthena.CreateWorkGroup", &workgroup);
        process.call("AWSGlue.CreateDatabase", &json!({"DatabaseInput": {"Name": "weir"}}));
        Self(process)
    }

    fn function(&self) -> Function {
        let more = [("AWS_ENDPOINT_URL", self.0.endpoint.as_str())];
        Function::start(PROGRAM, &VARIABLES.into_iter().chain(more).collect::<Vec<_>>())
    }

    /// Publishes an answer without rows, so many minutes ago.
    fn publish(&self, name: &str, sql: &str, minutes: u64) {
        let at = SystemClock.now().millis() - minutes * 60_000;
        let published = json!({"name": name, "generation": "0".repeat(32), "published_at": at, "sql": sql});
        let pointer = json!({"published": published, "object": "old", "length": 0, "replaced": []});
        let url = format!("{}/{LAKE}/answers/{name}/current", self.0.endpoint);
        ureq::put(url).send(pointer.to_string()).unwrap();
    }

    fn get(&self, key: &str) -> String {
        let found = ureq::get(format!("{}/{LAKE}/{key}", self.0.endpoint)).call().unwrap();
        String::from_utf8_lossy(&found.into_body().read_to_vec().unwrap()).into_owned()
    }

    fn pointer(&self, name: &str) -> Value {
        serde_json::from_str(&self.get(&format!("answers/{name}/current"))).unwrap()
    }

    fn queries(&self) -> usize {
        let known = self.0.call("AmazonAthena.ListQueryExecutions", &json!({"WorkGroup": "weir"}));
        known["QueryExecutionIds"].as_array().unwrap().len()
    }

    fn pages(&self) -> BTreeMap<String, String> {
        let list =
            ureq::get(format!("{}/{LAKE}?list-type=2&prefix=public/", self.0.endpoint)).call().unwrap();
        let list = list.into_body().read_to_string().unwrap();
        let keys = list.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.map(|key| (key.clone(), self.get(&key))).collect()
    }
}

#[test]
fn a_missing_variable_is_named() {
    for (name, _) in &VARIABLES[..4] {
        let others: Vec<_> = VARIABLES.into_iter().filter(|(other, _)| other != name).collect();
        let mut function = Function::start(PROGRAM, &others);
        let Outcome::CannotStart(told) = function.outcome() else { panic!("{}", function.told()) };
        assert_eq!(told["errorMessage"], format!("the environment variable {name} is not set"));
        assert!(!function.succeeded());
    }
}

#[test]
fn what_is_due_is_published_again_once_and_one_that_fails_alarms_once_and_waits() {
    let aws = Local::start();
    let mut function = aws.function();
    // Nothing is published: nothing is asked.
    assert_eq!(look(&mut function), published(0));
    assert_eq!(aws.queries(), 0);

    let every = "-- public: true\n-- slot: n\n-- every: 1 hour\n";
    aws.publish("due", &format!("{every}SELECT 7 AS n"), 60);
    aws.publish("fresh", &format!("{every}SELECT 8 AS n"), 1);
    aws.publish("by_hand", "-- public: true\nSELECT 9 AS n", 100_000);
    assert_eq!(look(&mut function), published(1));
    assert_eq!(aws.queries(), 1);
    let pointer = aws.pointer("due");
    assert!(aws.get(&format!("answers/due/{}", pointer["object"].as_str().unwrap())).contains(r#"{"n":7}"#));
    assert!(pointer["published"]["published_at"].as_u64().unwrap() > SystemClock.now().millis() - 600_000);
    assert_eq!(
        (&aws.pointer("fresh")["object"], &aws.pointer("by_hand")["object"]),
        (&json!("old"), &json!("old"))
    );
    // The CDN's pages are new, too: that of all rows, that of one row, and that of a missing row.
    assert_eq!(aws.pages().len(), 3, "{:?}", aws.pages());
    assert!(aws.pages().values().any(|page| page == r#"[{"n":7}]"#), "{:?}", aws.pages());
    let line = function.logged(|line| line["message"] == "published");
    assert_eq!((&line["answer"], &line["rows"], &line["level"]), (&json!("due"), &json!(1), &json!("INFO")));

    // An invocation that comes twice, or too early, finds nothing to do.
    assert_eq!(look(&mut function), published(0));
    assert_eq!(aws.queries(), 1);

    aws.publish("fails", &format!("{every}SELECT no_such_column AS n"), 600);
    aws.publish("writes", &format!("{every}DROP TABLE page_view"), 600);
    aws.publish("due_as_well", &format!("{every}SELECT 10 AS n"), 60);
    let Outcome::Error(error) = look(&mut function) else { panic!("{}", function.told()) };
    assert_eq!(error["errorMessage"], "2 of the answers could not be computed");
    assert!(
        aws.pointer("due_as_well")["tried_at"].is_null() && aws.pointer("due_as_well")["object"] != "old"
    );
    for (name, why) in [("fails", "no_such_column"), ("writes", "the lake is read-only: a query is a SELECT")]
    {
        let failed = function.logged(|line| line["level"] == "ERROR" && line["answer"] == name);
        assert_eq!(failed["message"], "an answer cannot be computed; what is published stays");
        assert!(failed["error"].as_str().unwrap().contains(why), "{failed}");
        assert_eq!(
            (&aws.pointer(name)["object"], aws.pointer(name)["tried_at"].is_u64()),
            (&json!("old"), true)
        );
    }
    let asked = aws.queries();
    // Lambda tries a failed invocation again.
    assert_eq!(look(&mut function), published(0));
    assert_eq!(aws.queries(), asked);
    let errors = function.end().iter().filter(|line| line.contains(r#""level":"ERROR""#)).count();
    assert_eq!(errors, 2, "each failure is logged once");
}

#[test]
fn a_bucket_that_cannot_be_read_is_an_error_of_the_invocation_and_is_logged_once() {
    let aws = Local::start();
    let variables: Vec<_> = VARIABLES
        .into_iter()
        .map(|(name, value)| (name, if name == "WEIR_LAKE_BUCKET" { "no-such-bucket" } else { value }))
        .chain([("AWS_ENDPOINT_URL", aws.0.endpoint.as_str())])
        .collect();
    let mut function = Function::start(PROGRAM, &variables);
    let Outcome::Error(error) = look(&mut function) else { panic!("{}", function.told()) };
    assert!(error["errorMessage"].as_str().unwrap().starts_with("the answers cannot be listed: "), "{error}");
    let logged = function.logged(|line| line["level"] == "ERROR");
    assert_eq!(logged["message"], "the answers cannot be listed; what is published stays");
    let errors = function.end().iter().filter(|line| line.contains(r#""level":"ERROR""#)).count();
    assert_eq!(errors, 1);
}
