//! Weir as it was deployed: its API, what it stores, and its command line.

use std::{
    collections::BTreeMap,
    process::{Command, Output},
    sync::LazyLock,
};

use parking_lot::{Mutex, MutexGuard};

use super::{local_aws::LocalAws, mended, sam};
use crate::harness::{Answer, Value, gunzip, json, try_request};

/// The stack, with its outputs by name.
pub struct Stack {
    pub aws: LocalAws,
    outputs: BTreeMap<String, String>,
    /// What `./deploy` printed.
    pub printed: String,
}

/// The user that `./deploy` adds.
pub const FIRST_USER: &str = "first-user";

/// Everything of one user below a prefix of a bucket.
pub type Objects = BTreeMap<String, Vec<u8>>;

impl Stack {
    /// The one deployment that all tests share; each has users of its own.
    pub fn shared() -> &'static Self {
        static STACK: LazyLock<Stack> = LazyLock::new(|| {
            let aws = LocalAws::start();
            let printed = sam::first_deployment(&aws, FIRST_USER);
            Stack { printed, ..Stack::of(aws) }
        });
        &STACK
    }

    fn of(aws: LocalAws) -> Self {
        let outputs: Vec<Value> = serde_json::from_str(&sam::outputs(&aws)).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let outputs = outputs.iter().map(|output| (text(&output["OutputKey"]), text(&output["OutputValue"])));
        let stack = Self { aws, outputs: outputs.collect(), printed: String::new() };
        mended::cors(&stack.aws, stack.output("ApiId"));
        mended::buffer(&stack.aws, stack.output("Stream"));
        stack
    }

    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("the stack has no output {name}"))
    }

    // ---- The API ----

    /// Where the API is. On AWS the host's name says which one is meant. Here the path can say it too, which needs no name
    /// service, and without which /health would be answered by the local AWS itself.
    pub fn url(&self) -> String {
        format!("{}/_aws/execute-api/{}/$default", self.aws.endpoint, self.output("ApiId"))
    }

    /// Any request to the API; `who` are the credentials, if there shall be any. What Weir fails at is not answered here.
    pub fn request(
        &self,
        method: &str,
        who: Option<&str>,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        match try_request(&self.url(), method, who, path, headers, body) {
            Some(answer) if answer.status < 500 => answer,
            other => {
                panic!("{method} {path}: {other:?}\n{}\n{}", self.function_logs(), self.aws.last_words())
            }
        }
    }

    pub fn post(&self, who: &str, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.request("POST", Some(who), path, &[("content-type", "application/json")], body.as_ref())
    }

    pub fn get(&self, who: &str, path: &str) -> Answer {
        self.request("GET", Some(who), path, &[], b"")
    }

    /// A user's count of a type: live, and settled.
    pub fn counts(&self, who: &str, event_type: &str) -> (Value, Value) {
        let counts = self.get(who, &format!("/counts/{event_type}")).json();
        (counts["total"].clone(), counts["settled"].clone())
    }

    // ---- The command line ----

    /// Runs `weir` in a shell that has evaluated the stack's output `Environment`, as the guide says; answers with
    /// what it printed.
    pub fn weir(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "weir {arguments}: {said}\n{}", self.aws.last_words());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a `weir` command that must fail. Returns its output, and its messages.
    pub fn fails(&self, arguments: &str) -> (String, String) {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "weir {arguments}");
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn run(&self, arguments: &str) -> Output {
        let script = format!("{}\nexec \"$0\" {arguments}", self.output("Environment"));
        Command::new("sh")
            .args(["-euc", &script, env!("CARGO_BIN_EXE_weir")])
            .env_clear()
            .env("AWS_ENDPOINT_URL", &self.aws.endpoint)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .output()
            .unwrap()
    }

    /// Makes a user, and gives the credentials.
    pub fn user(&self, name: &str) -> String {
        self.weir(&format!("user add {name} --engine aws")).trim_end().to_owned()
    }

    // ---- What is stored ----

    /// The batches in which there is something of a user.
    pub fn batches(&self, username: &str) -> Objects {
        let bucket = self.output("RawBucket");
        let mut objects = self.objects(bucket, "raw/");
        objects.retain(|_, bytes| text(bytes).contains(&format!(r#""username":"{username}""#)));
        objects
    }

    /// What lies in the lake of a user.
    pub fn lake(&self, username: &str) -> Objects {
        self.objects(self.output("LakeBucket"), &format!("username={username}/"))
    }

    fn objects(&self, bucket: &str, prefix: &str) -> Objects {
        let keys = self.aws.keys(bucket, prefix).into_iter();
        keys.map(|key| (key.clone(), self.aws.object(bucket, &key))).collect()
    }

    /// The table's count at these keys, if it has one.
    pub fn counted(&self, pk: &str, sk: &str) -> Option<String> {
        let key = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        let table = self.output("CountsTable");
        let found = self.aws.call("DynamoDB_20120810.GetItem", &json!({"TableName": table, "Key": key}));
        Some(found["Item"]["n"]["N"].as_str()?.to_owned())
    }

    // ---- Filing ----

    /// Waits until so many of a user's events are filed, and answers with what then lies in the lake.
    pub fn filed(&self, username: &str, events: usize) -> Objects {
        self.aws.eventually(&format!("{events} events of {username} are filed"), || {
            let lake = self.lake(username);
            let lines: usize = lake.values().map(|bytes| gunzip(bytes).lines().count()).sum();
            (lines == events && self.queue_is_empty()).then_some(lake)
        })
    }

    /// Whether no batch waits, is being filed, or was given up.
    pub fn queue_is_empty(&self) -> bool {
        let dead = self.output("DeadLettersArn").rsplit(':').next().unwrap();
        let waiting = |url: &str| {
            let asked = json!({"QueueUrl": url, "AttributeNames": ["All"]});
            let attributes = self.aws.call("AmazonSQS.GetQueueAttributes", &asked)["Attributes"].take();
            let number = |name: &str| attributes[name].as_str().unwrap().parse::<u32>().unwrap();
            number("ApproximateNumberOfMessages") + number("ApproximateNumberOfMessagesNotVisible")
        };
        let dead = self.aws.call("AmazonSQS.GetQueueUrl", &json!({"QueueName": dead}))["QueueUrl"].take();
        let dead = waiting(dead.as_str().unwrap());
        assert_eq!(dead, 0, "a batch was given up\n{}\n{}", self.function_logs(), self.aws.last_words());
        waiting(self.output("RawQueue")) == 0
    }

    /// How often the fan-out said that it has filed a batch: for the first time, and again.
    pub fn filings(&self, batch: &str) -> (usize, usize) {
        let lines = self.aws.function_log("/weir/weir/fan-out");
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let filings: Vec<Value> =
            lines.filter(|line| line["message"] == "filed" && line["batch"] == batch).collect();
        let again = filings.iter().filter(|line| line["again"] == true).count();
        (filings.len() - again, again)
    }

    /// Warnings and errors of the functions.
    fn function_logs(&self) -> String {
        let mut found = String::from("---- warnings and errors of the functions:\n");
        for function in ["authorizer", "collector", "fan-out", "publisher"] {
            for line in self.aws.function_log(&format!("/weir/weir/{function}")) {
                if line.contains(r#""level":"WARN""#) || line.contains(r#""level":"ERROR""#) {
                    found += &format!("{function}: {line}\n");
                }
            }
        }
        found
    }

    // ---- SQL ----

    /// Held by a test that queries, and by one that puts other objects than events into the lake's bucket: the local AWS takes
    /// each object of the bucket for rows of every table. On AWS a table consists of the folders of its own events.
    pub fn whole_lake() -> MutexGuard<'static, ()> {
        static LAKE: Mutex<()> = Mutex::new(());
        LAKE.lock()
    }

    /// The rows of a query that Athena answers, without the line with the columns' names.
    pub fn query(&self, sql: &str) -> Vec<Vec<String>> {
        let start = json!({
            "QueryString": sql,
            "WorkGroup": self.output("Workgroup"),
            "QueryExecutionContext": {"Database": self.output("GlueDatabase")},
        });
        let id = self.aws.call("AmazonAthena.StartQueryExecution", &start)["QueryExecutionId"].take();
        let id = json!({"QueryExecutionId": id});
        self.aws.eventually("Athena has answered", || {
            let status =
                self.aws.call("AmazonAthena.GetQueryExecution", &id)["QueryExecution"]["Status"].take();
            assert_ne!(status["State"], "FAILED", "{sql}: {status}");
            (status["State"] == "SUCCEEDED").then_some(())
        });
        let results = self.aws.call("AmazonAthena.GetQueryResults", &id);
        let rows = results["ResultSet"]["Rows"].as_array().unwrap().iter().skip(1);
        let cell = |cell: &Value| cell["VarCharValue"].as_str().unwrap_or_default().to_owned();
        rows.map(|row| row["Data"].as_array().unwrap().iter().map(cell).collect()).collect()
    }
}

/// A batch as text. On AWS the stream compresses them; here it does not.
pub fn text(batch: &[u8]) -> String {
    if batch.starts_with(&[0x1f, 0x8b]) { gunzip(batch) } else { String::from_utf8_lossy(batch).into_owned() }
}
