//! A user sees and counts only what is theirs, and no name leaves its folder.

use crate::harness::{Weir, click, json};

#[test]
fn two_users_with_the_same_button_never_meet() {
    let weir = Weir::start();
    let (ann, bob) = (weir.user("ann"), weir.user("bob"));
    for n in 0..3 {
        assert_eq!(weir.post_as(&ann, "/button/click", click(&format!("ann-{n}"), "same"), &[]).status, 200);
    }
    assert_eq!(weir.post_as(&bob, "/button/click", click("bob-0", "same"), &[]).status, 200);
    assert_eq!(weir.post_as(&bob, "/button/click", "{}", &[]).status, 422);

    let count = |who: &str| weir.get_as(who, "/button/click/count?button_id=same").json()["count"].clone();
    assert_eq!((count(&ann), count(&bob), count(&weir.credentials)), (json!(3), json!(1), json!(0)));
    let keys = |who: &str| weir.get_as(who, "/counts/button_click").json()["keys"].clone();
    assert_eq!(keys(&ann), json!([{"key": "same", "count": 3}]));
    assert_eq!(keys(&weir.credentials), json!([]));
    assert_eq!(weir.get_as(&ann, "/counts").json()["rejected"]["total"], 0);
    let rejected = |who: &str| weir.get_as(who, "/rejected").json()["rejected"].as_array().unwrap().len();
    assert_eq!((rejected(&ann), rejected(&bob), rejected(&weir.credentials)), (0, 1, 0));

    weir.wait_until_filed();
    for (name, events) in [("ann", 3), ("bob", 2)] {
        let lines = weir.lines(&format!("lake/username={name}"));
        assert_eq!(lines.len(), events);
        assert!(lines.iter().all(|line| line["username"] == name));
    }
    assert!(weir.files("lake/username=demo").is_empty());
    assert_eq!(weir.get_as(&bob, "/counts").json()["rejected"]["settled"], 1);
}

#[test]
fn no_username_leaves_its_folder() {
    let weir = Weir::start_with(&["--failed-sign-ins", "0"]);
    for name in [
        "..",
        "../x",
        "a/b",
        "a\\b",
        "%2e%2e",
        ".",
        "аnn",
        "ａnn",
        "ann\u{301}",
        "Ann",
        "a b",
        "a=b",
        "-",
        "",
    ] {
        let output = weir.run(&["user", "add", "--", name]);
        assert!(!output.status.success(), "{name:?} was taken");
        assert!(output.stdout.is_empty());
        let who = format!("{name}:x");
        assert_eq!(weir.request("GET", Some(&who), "/counts", &[], b"").status, 401, "{name:?}");
    }
}

#[test]
fn no_event_type_leaves_its_folder() {
    let weir = Weir::start();
    for name in [
        "..",
        "../../x",
        "a/b",
        "%2e%2e",
        "button_click/..",
        "ｂutton_click",
        "rejected",
        "events",
        "Button_click",
        "",
    ] {
        let body = json!({"event_type": name, "session_id": "s", "button_id": "b"}).to_string();
        let answer = weir.post("/events", body);
        assert_eq!(answer.status, 422, "{name:?}: {}", answer.text());
    }
    weir.wait_until_filed();
    let folders: std::collections::BTreeSet<String> =
        weir.files("lake").iter().map(|path| path.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
    assert_eq!(folders.into_iter().collect::<Vec<_>>(), ["username=demo/rejected"]);
}
