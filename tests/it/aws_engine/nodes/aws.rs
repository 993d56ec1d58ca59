//! The AWS of the nodes: it knows any user, takes every event, counts three of everything, and can be made to hold its
//! answers back.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use weir_core::{
    SeededRandom, Timestamp,
    users::{Scope, generate},
};
use weir_lambda::testing::{Call, StubAws};

use crate::{
    aws_engine::emulator::{COUNTS, USERS},
    harness::{Value, json},
};

/// The operations that are held back: those that read counts and store events.
const HELD: [&str; 2] = ["BatchGetItem", "PutRecordBatch"];

pub struct Aws {
    stub: StubAws,
    /// The secret of every user.
    secret: String,
    /// Every call, noted as it comes.
    calls: Arc<Mutex<Vec<Call>>>,
    held: watch::Sender<bool>,
}

impl Aws {
    pub fn start() -> Self {
        let now = Timestamp::saturating(1_795_179_605_007);
        let (key, secret) = generate("web".parse().unwrap(), Scope::Both, now, &SeededRandom::new(1));
        let keys = serde_json::to_string(&[key]).unwrap();
        let (held, _) = watch::channel(false);
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (noted, holding) = (calls.clone(), held.clone());
        let ready = move |call: &Call| {
            noted.lock().unwrap().push(call.clone());
            let is_held = HELD.contains(&operation(call));
            let mut holding = holding.subscribe();
            async move {
                if is_held {
                    holding.wait_for(|held| !held).await.unwrap();
                }
            }
        };
        let stub =
            StubAws::start_once(ready, move |call| (200, answer(call, &keys).to_string().into_bytes()));
        Self { stub, secret: secret.reveal().to_owned(), calls, held }
    }

    pub fn url(&self) -> String {
        self.stub.url()
    }

    /// The credentials of a user.
    pub fn credentials(&self, user: &str) -> String {
        format!("{user}:{}", self.secret)
    }

    /// Holds back the answers about counts and events, or lets them and those that wait go.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// How many calls of an operation there were.
    pub fn calls(&self, wanted: &str) -> u64 {
        self.calls.lock().unwrap().iter().filter(|call| operation(call) == wanted).count() as u64
    }

    /// How many counters were read.
    pub fn counters_read(&self) -> usize {
        let calls = self.calls.lock().unwrap();
        let reads = calls.iter().filter(|call| operation(call) == "BatchGetItem");
        reads.map(|call| call.json()["RequestItems"][COUNTS]["Keys"].as_array().unwrap().len()).sum()
    }
}

fn operation(call: &Call) -> &str {
    call.target.rsplit('.').next().unwrap_or_default()
}

fn answer(call: &Call, access_keys: &str) -> Value {
    let asked = call.json();
    match operation(call) {
        "PutRecordBatch" => {
            let records = asked["Records"].as_array().unwrap().len();
            json!({"FailedPutCount": 0, "RequestResponses": vec![json!({"RecordId": "1"}); records]})
        }
        "BatchGetItem" => {
            let counted = |key: &Value| {
                let mut item = key.clone();
                item["n"] = json!({"N": "3"});
                item
            };
            let keys = asked["RequestItems"][COUNTS]["Keys"].as_array().unwrap();
            json!({"Responses": {COUNTS: keys.iter().map(counted).collect::<Value>()}, "UnprocessedKeys": {}})
        }
        "GetItem" if asked["TableName"] == USERS => {
            let username = &asked["Key"]["username"];
            json!({"Item": {"username": username, "version": {"N": "1"}, "access_keys": {"S": access_keys}}})
        }
        "ListTagsForDeliveryStream" => json!({"Tags": [], "HasMoreTags": false}),
        _ => json!({}),
    }
}
