//! The function that seals, as it is deployed. The local Athena is DuckDB and knows neither Glue's databases nor all of Trino's
//! functions, so a run ends with its first question, or with that for the first day that is over. What a run does from there on is
//! tested with a stand-in (`crates/aws/tests/sealing.rs`).

use super::stack::Stack;
use crate::harness::{Value, json};

#[test]
fn the_function_that_seals_takes_its_turn_asks_athena_and_gives_the_turn_back() {
    let weir = Stack::shared();
    let _lake = Stack::whole_lake();
    let path = "/2015-03-31/functions/weir-seal/invocations";
    let ran = weir.aws.request("lambda", "POST", path, &json!({"detail-type": "Scheduled Event"}));
    let said = ran["errorMessage"].as_str().unwrap_or_default();
    assert!(said.contains("the query failed: Catalog Error: "), "{ran}");
    let turn: Value =
        serde_json::from_slice(&weir.aws.object(weir.output("LakeBucket"), "sealed/turn")).unwrap();
    assert_eq!(turn, json!({"owner": "", "until": 0}));
}
