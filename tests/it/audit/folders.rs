//! What an audit answers, and folders to audit.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::harness::{Value, Weir, click, gzip, json};

/// What an audit answered.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub found: Vec<Value>,
    pub said: String,
}

impl Answer {
    /// What was found, in short, in order: `finding difference` of a count, `finding` of an object.
    pub fn short(&self) -> Vec<String> {
        let short = |it: &Value| {
            let text = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
            let place = [text("username"), text("event_type"), text("key")].join("/");
            format!("{} {place} {}", text("finding"), it["difference"]).replace(" null", "")
        };
        self.found.iter().map(short).collect()
    }
}

pub fn audit(weir: &Weir, data: &Path, options: &[&str]) -> Answer {
    let mut command = weir.command();
    let output =
        command.args(["audit", "--format", "json"]).args(options).env("WEIR_DATA", data).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let found = serde_json::from_slice(&output.stdout);
    Answer { code: output.status.code(), found: found.unwrap_or_default(), said }
}

pub fn assert_clean(answer: &Answer) {
    assert_eq!((answer.code, answer.found.len()), (Some(0), 0), "{answer:?}");
    assert!(answer.said.contains("weir: no differences; "), "{}", answer.said);
}

/// A folder with filed events of two users, whose server is stopped: ann has two clicks on a and one on b, bob has a
/// click and a page view, and there are rejected events of both.
pub fn filed() -> Weir {
    let mut weir = Weir::start_with(&["--flush-every", "20ms"]);
    let (ann, bob) = (weir.user("ann"), weir.user("bob"));
    for button in ["a", "b", "a"] {
        assert_eq!(weir.post_as(&ann, "/button/click", click("s", button), &[]).status, 200);
        weir.wait_until_filed();
    }
    assert_eq!(weir.post_as(&bob, "/button/click", click("s", "x"), &[]).status, 200);
    let view = json!({"url": "u", "session_id": "s"}).to_string();
    assert_eq!(weir.post_as(&bob, "/web/page_view", view, &[]).status, 200);
    for who in [&ann, &bob] {
        assert_eq!(weir.post_as(who, "/button/click", "{}", &[]).status, 422);
    }
    assert_eq!(weir.stop("-TERM"), Some(0));
    weir
}

/// A copy of a data folder.
pub fn copy(data: &Path) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    copy_into(data, place.path());
    place
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            fs::create_dir_all(to.join(&name)).unwrap();
            copy_into(&path, &to.join(&name));
        } else {
            fs::copy(&path, to.join(&name)).unwrap();
        }
    }
}

/// The objects of a user's type, in order.
pub fn objects(data: &Path, user: &str, event_type: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data.join(format!("lake/username={user}/{event_type}"))];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

pub fn change(data: &Path, sql: &str) {
    let changed = Connection::open(data.join("events.db")).unwrap().execute(sql, []).unwrap();
    assert!(changed > 0, "{sql}");
}

pub fn append(object: &Path, text: &str) {
    let mut bytes = fs::read(object).unwrap();
    bytes.extend(gzip(text.as_bytes()));
    fs::write(object, bytes).unwrap();
}
