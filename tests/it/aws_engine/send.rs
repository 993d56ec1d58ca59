//! `weir send` into a Weir on AWS: the same HTTP, and ids that are claimed in a table.

use std::fs;

use super::on_aws::{OnAws, run};
use crate::harness::json;

#[test]
fn a_file_that_is_sent_twice_is_there_once() {
    let aws = OnAws::start();
    let ann = aws.user("ann");
    let server = aws.serve(&[]);
    let folder = tempfile::tempdir().unwrap();
    let click = |n: u32| json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "n": n});
    let text: String = (0..60).map(|n| click(n / 2).to_string() + "\n").collect();
    fs::write(folder.path().join("clicks.ndjson"), text + "{}\n").unwrap();
    for expected in ["60 sent, 0 duplicates, 1 rejected", "0 sent, 60 duplicates, 1 rejected"] {
        let mut command = aws.command(&["send", "--batch", "7", "clicks.ndjson"]);
        let sent = run(command
            .current_dir(folder.path())
            .env("WEIR_URL", server.url())
            .env("WEIR_CREDENTIALS", &ann));
        let printed = String::from_utf8_lossy(&sent.stdout).into_owned();
        assert_eq!(sent.status.code(), Some(3), "{printed}");
        assert!(printed.contains(expected), "{printed}");
    }
    let counts = server.get(&ann, "/button/click/count").json();
    assert_eq!(counts["count"], 60);
}
