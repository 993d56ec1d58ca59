//! Queries over HTTP, as they are deployed. They name no table: the local Athena does not know partition projection.

use super::stack::Stack;
use crate::harness::{Answer, json};

#[test]
fn a_query_is_answered_later_to_the_user_that_asked() {
    let weir = Stack::shared();
    let [ann, bob] = ["query-ann", "query-bob"].map(|name| weir.user(name));
    let asked = weir.post(&ann, "/query", "SELECT 7 AS n, 'ü' AS s");
    assert_eq!(asked.status, 202, "{asked:?}");
    let place = asked.header("location").unwrap().to_owned();
    let rows: Answer = weir.aws.eventually("the query ends", || {
        let answer = weir.get(&ann, &place);
        (answer.status != 202).then_some(answer)
    });
    assert_eq!(rows.json(), json!([{"n": 7, "s": "ü"}]));
    weir.get(&bob, &place).problem(404, "no-such-query");
    assert_eq!(weir.request("GET", None, &place, &[], b"").status, 401);
    weir.post(&ann, "/query", "SELECT * FROM weir.button_click").problem(400, "sql-error");
}
