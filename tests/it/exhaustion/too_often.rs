//! Clients that guess or call too often are put off, and others are not.

use std::{io::Write, process::Stdio};

use crate::harness::{Answer, Weir, eventually};

const PASSWORD: &str = "correct horse battery staple";

/// Makes a user who chose a password.
fn with_password(weir: &Weir, name: &str) {
    let mut add = weir.command();
    let mut add = add.args(["user", "add", name, "--password-stdin"]).stdin(Stdio::piped()).spawn().unwrap();
    add.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(add.wait().unwrap().success());
}

#[test]
fn a_client_that_fails_to_sign_in_too_often_is_put_off_and_no_other_is() {
    let weir = Weir::start_with(&["--failed-sign-ins", "3", "--trust-forwarded-for"]);
    with_password(&weir, "anna");
    with_password(&weir, "emil");
    let from = |address: &str, who: &str| -> Answer {
        let headers = [("x-forwarded-for", address), ("origin", "https://a.example")];
        weir.request("GET", Some(who), "/counts", &headers, b"")
    };
    let anna = format!("anna:{PASSWORD}");
    assert_eq!(from("192.0.2.1", &anna).status, 200);
    for guess in ["a", "b", "c"] {
        from("192.0.2.1", &format!("anna:{guess}")).problem(401, "unauthorized");
    }
    for who in ["anna:d", "nobody:e"] {
        let put_off = from("192.0.2.1", who);
        put_off.problem(429, "too-many-failed-sign-ins");
        let seconds: u64 = put_off.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&seconds), "{seconds}");
        assert_eq!(put_off.header("access-control-allow-origin"), Some("*"));
    }
    // The right password is put off too: a guesser learns nothing from the refusal.
    from("192.0.2.1", &format!("emil:{PASSWORD}")).problem(429, "too-many-failed-sign-ins");
    assert_eq!(from("192.0.2.2", &format!("emil:{PASSWORD}")).status, 200, "from another address");
    assert_eq!(from("192.0.2.1", &anna).status, 200, "who signed in before");
    assert_eq!(from("192.0.2.1", &weir.credentials).status, 200, "a generated secret");
}

#[test]
fn a_user_who_calls_too_often_is_put_off_and_others_are_not() {
    let weir = Weir::start_with(&["--requests-per-second", "1"]);
    let other = weir.user("other");
    let counts = || weir.get("/counts");
    let mut put_off = counts();
    eventually("it is too often", || {
        put_off = counts();
        put_off.status != 200
    });
    put_off.problem(429, "too-many-requests");
    assert_eq!(put_off.header("retry-after"), Some("1"));
    assert_eq!(weir.get_as(&other, "/counts").status, 200);
    eventually("it goes on", || counts().status == 200);
}
