//! Answers computed beforehand, from the command to the deployed API. They ask for no table: the local AWS knows neither
//! partition projection nor where the template says that events are.

use std::fs;

use parking_lot::MutexGuard;

use super::stack::Stack;
use crate::harness::json;

/// Removes what was published before the lake is another test's.
pub struct Published {
    weir: &'static Stack,
    _lake: MutexGuard<'static, ()>,
}

impl Published {
    /// Begins without published answers, and keeps other tests from the lake.
    pub fn nothing(weir: &'static Stack) -> Self {
        Self { weir, _lake: Stack::whole_lake() }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let bucket = self.weir.output("LakeBucket");
        self.weir
            .aws
            .keys(bucket, "answers/")
            .iter()
            .for_each(|key| self.weir.aws.remove_object(bucket, key));
    }
}

#[test]
fn a_public_answer_needs_no_credentials_and_others_are_their_users() {
    let weir = Stack::shared();
    let _published = Published::nothing(weir);
    let ann = weir.user("answers-ann");
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, sql: &str| fs::write(files.path().join(name), sql).unwrap();
    write("seven.sql", "-- public: true\n-- slot: n\n-- every: 1 hour\nSELECT 7 AS n, 'ü' AS s");
    write("mine.sql", "SELECT 'answers-ann' AS username, 8 AS n");
    let printed = weir.weir(&format!("publish --engine aws --answers {}", files.path().display()));
    assert!(printed.starts_with("mine: 1 row, ") && printed.contains("\nseven: 1 row, "), "{printed}");

    let open = |path: &str| weir.request("GET", None, path, &[], b"");
    assert_eq!(open("/answers/public/seven").json(), json!([{"n": 7, "s": "ü"}]));
    let slot = open("/answers/public/seven?n=7");
    assert_eq!(slot.json(), json!({"n": 7, "s": "ü"}));
    assert!(slot.header("cache-control").unwrap().starts_with("public, max-age="), "{slot:?}");
    for path in ["mine", "none", "seven/x", "seven?n=8"] {
        open(&format!("/answers/public/{path}")).problem(404, "no-such-answer");
    }
    assert_eq!(open("/answers/mine").status, 401);
    assert_eq!(open("/answers/seven").status, 401, "only the open route is open");
    assert_eq!(weir.get(&ann, "/answers/seven?n=7").json(), slot.json());
    assert_eq!(weir.get(&ann, "/answers/mine").json(), json!([{"username": "answers-ann", "n": 8}]));
    let bob = weir.user("answers-bob");
    assert_eq!(weir.get(&bob, "/answers/mine").json(), json!([]));
    let listed = weir.get(&ann, "/answers").json()["answers"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
}
