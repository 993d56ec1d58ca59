//! Vendors' clients, unmodified, with API Gateway between: what each reports as sent is in the lake, once.
//!
//! Compressed bodies are left out where a client calls them JSON or text: API Gateway takes those for text and destroys them,
//! and so does the local AWS. `docs/CLIENTS.md` says which clients need an option for that.

use std::{collections::BTreeSet, thread};

use super::stack::Stack;
use crate::harness::{Value, gunzip};

#[path = "../it/vendors/program.rs"]
mod program;

const LOOPS: &str = "20";

/// A client: its user, its program, and the arguments, with its address and key in the places of `URL` and `KEY`.
type Client = (&'static str, &'static str, &'static [&'static str]);

/// Clients that print how many of their messages were sent.
const COUNTING: [Client; 4] = [
    ("segment-python", "python_client.py", &["segment.analytics.client", "URL", "KEY", LOOPS, "plain"]),
    ("rudder-python", "python_client.py", &["rudderstack.analytics.client", "URL", "KEY", LOOPS, "plain"]),
    ("segment-node", "node_client.cjs", &["@segment/analytics-node", "URL", "KEY", LOOPS]),
    // Its bodies are gzip, and it calls them a form.
    ("rudder-node", "node_client.cjs", &["@rudderstack/rudder-sdk-node", "URL", "KEY", LOOPS]),
];

/// Clients that print the ids of the events that were sent.
const NAMING: [Client; 8] = [
    ("posthog-python", "posthog_client.py", &["URL", "KEY", "plain", LOOPS]),
    ("posthog-node", "posthog_client.cjs", &["URL", "KEY", "plain"]),
    ("snowplow-python", "snowplow_client.py", &["URL/k/KEY", "post", "base64", LOOPS]),
    ("snowplow-pixel", "snowplow_client.py", &["URL/k/KEY", "get", "json", "5"]),
    ("snowplow-node", "snowplow_client.cjs", &["URL/k/KEY", "post", "base64"]),
    ("snowplow-nodepixel", "snowplow_client.cjs", &["URL/k/KEY", "get", "json"]),
    ("cloud-python", "cloudevents_client.py", &["URL", "KEY"]),
    ("cloud-node", "cloudevents_client.cjs", &["URL", "KEY"]),
];

#[test]
fn what_unmodified_clients_of_other_vendors_report_as_sent_is_in_the_lake_once() {
    let weir = Stack::shared();
    thread::scope(|scope| {
        for client in COUNTING {
            scope.spawn(move || {
                let sent = sends(weir, client);
                assert_eq!(sent.trim(), "27", "{}", client.0);
                // The page is a page view too.
                weir.filed(client.0, 28);
                assert_eq!(ids(weir, client.0).len(), 28, "{}: an event is stored twice", client.0);
            });
        }
        for client in NAMING {
            scope.spawn(move || {
                let sent = sends(weir, client);
                assert!(sent.lines().count() >= 4, "{}: {sent}", client.0);
                weir.aws.eventually(&format!("what {} has sent is filed", client.0), || {
                    let stored = ids(weir, client.0);
                    (sent.lines().all(|id| stored.contains(id)) && weir.queue_is_empty()).then_some(())
                });
            });
        }
    });
}

/// Runs a client with an access key of its own that can only write, and gives what it printed.
fn sends(weir: &Stack, (user, program, arguments): Client) -> String {
    let key = weir.user(&format!("{user} --label client --scope write"));
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.replace("URL", &weir.url()).replace("KEY", &key)).collect();
    program::run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The ids of a user's events in the lake, the sender's own where it has become a digest. None is there twice, and none is of a
/// rejected event.
fn ids(weir: &Stack, user: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in weir.lake(user).values() {
        for line in gunzip(object).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_ne!(event["event_type"], "rejected", "{user}: {event}");
            // `source` and `id` identify a CloudEvent.
            let id = event["context"]["specversion"].as_str().and(event["context"]["id"].as_str());
            let id = id.or(event["event_id"].as_str()).unwrap();
            assert!(found.insert(id.to_owned()), "{user}: {id} is stored twice");
        }
    }
    found
}
