//! The function that seals, as it is deployed. The local Athena knows no database of Glue, so the first view cannot be made. What
//! a run does from there on is tested with a stand-in (`crates/aws/tests/sealing.rs`).

use super::stack::Stack;
use crate::harness::{Value, json};

#[test]
fn the_function_that_seals_takes_its_turn_asks_athena_and_gives_the_turn_back() {
    let weir = Stack::shared();
    let _lake = Stack::whole_lake();
    let path = "/2015-03-31/functions/weir-seal/invocations";
    let ran = weir.aws.request("lambda", "POST", path, &json!({"detail-type": "Scheduled Event"}));
    let said = ran["errorMessage"].as_str().unwrap_or_default();
    assert!(said.starts_with("the view weir_button_click cannot be made"), "{ran}");
    let turn: Value =
        serde_json::from_slice(&weir.aws.object(weir.output("LakeBucket"), "sealed/turn")).unwrap();
    assert_eq!(turn, json!({"owner": "", "until": 0}));
}
