//! Whatever is sent, the answer is a clear error or a faithful store: never a panic, never a 500.

mod nearly_right;

use std::{collections::BTreeSet, path::Path};

use crate::harness::{Weir, basic, click, gzip, json};

#[test]
fn no_usable_credentials_are_401_with_a_challenge() {
    let weir = Weir::start_with(&["--failed-sign-ins", "0"]);
    let name = weir.credentials.split(':').next().unwrap();
    let wrong = [
        None,
        Some(basic(&format!("{name}:wrong"))),
        Some(basic("nobody:wrong")),
        Some(basic("Not A Name:x")),
        Some(basic("no colon")),
        Some("Basic".to_owned()),
        Some("Basic !!!".to_owned()),
        Some(format!("Bearer {}", weir.credentials)),
        Some("x".repeat(10_000)),
    ];
    for header in &wrong {
        for (method, path) in [
            ("POST", "/events"),
            ("POST", "/button/click"),
            ("GET", "/counts"),
            ("GET", "/button/click/count"),
        ] {
            let headers: Vec<(&str, &str)> =
                header.iter().map(|value| ("authorization", value.as_str())).collect();
            let answer = weir.request(method, None, path, &headers, b"{}");
            answer.problem(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"weir\", charset=\"UTF-8\""));
        }
    }
    let twice = [("authorization", basic(&weir.credentials)), ("authorization", basic(&weir.credentials))];
    let twice: Vec<(&str, &str)> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    weir.request("GET", None, "/counts", &twice, b"").problem(401, "unauthorized");
}

#[test]
fn an_access_key_does_only_what_its_scope_allows() {
    let weir = Weir::start();
    let add = |label: &str, scope: &str| {
        weir.output(&["user", "add", "ann", "--label", label, "--scope", scope]).trim().to_owned()
    };
    let (writer, reader) = (add("browser", "write"), add("dashboard", "read"));
    assert_eq!(weir.post_as(&writer, "/button/click", click("s", "b"), &[]).status, 200);
    assert_eq!(weir.get_as(&reader, "/button/click/count").json(), json!({"count": 1}));
    let answer = weir.get_as(&writer, "/counts").problem(403, "out-of-scope");
    assert!(answer["detail"].as_str().unwrap().contains("read"));
    weir.post_as(&reader, "/events", "{}", &[]).problem(403, "out-of-scope");
}

#[test]
fn unknown_paths_types_and_methods_are_distinguished() {
    let weir = Weir::start();
    weir.get("/nothing").problem(404, "not-found");
    weir.post("/button/click%2F", "{}").problem(404, "not-found");
    weir.get("/counts/nothing").problem(404, "unknown-event-type");
    weir.get("/counts/%2e%2e").problem(404, "unknown-event-type");
    for (method, path, allowed, takes) in [
        ("DELETE", "/events", "POST,GET,HEAD", "POST and GET, and not DELETE"),
        ("DELETE", "/button/click", "POST", "POST, and not DELETE"),
        ("GET", "/button/click", "POST", "POST, and not GET"),
        ("POST", "/counts", "GET,HEAD", "GET, and not POST"),
        ("POST", "/events/a", "GET,HEAD", "GET, and not POST"),
        ("POST", "/query/a", "GET,HEAD,DELETE", "GET and DELETE, and not POST"),
        ("POST", "/answers/public/a/b/c", "GET,HEAD", "GET, and not POST"),
        ("PUT", "/button/click/count", "GET,HEAD", "GET, and not PUT"),
        ("GET", "/v1/batch", "POST", "POST, and not GET"),
        ("GET", "/k/a:b/v1/batch", "POST", "POST, and not GET"),
        ("GET", "/k/a:b/events", "POST", "POST, and not GET"),
    ] {
        let answer = weir.request(method, Some(&weir.credentials), path, &[], b"");
        let problem = answer.problem(405, "method-not-allowed");
        assert_eq!(problem["detail"], format!("This path takes {takes}."), "{path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[test]
fn large_bodies_are_413_before_and_after_decompression() {
    let weir = Weir::start();
    let ten_megabytes = format!(r#"{{"event_type":"button_click","x":"{}"}}"#, "x".repeat(10_000_000));
    for path in ["/events", "/button/click"] {
        let answer = weir.post(path, &ten_megabytes);
        assert_eq!(answer.problem(413, "body-too-large")["limit"], 4 << 20);
        let bomb = gzip(&vec![b' '; 64 << 20]);
        let answer = weir.post_with(path, &bomb, &[("content-encoding", "gzip")]);
        assert_eq!(answer.problem(413, "body-too-large")["limit"], 16 << 20);
        let bomb = zstd::encode_all(&vec![b' '; 64 << 20][..], 1).unwrap();
        weir.post_with(path, &bomb, &[("content-encoding", "zstd")]).problem(413, "body-too-large");
    }
    let many = format!("[{}1]", "1,".repeat(10_000));
    assert_eq!(weir.post("/events", many).problem(413, "too-many-events")["limit"], 10_000);
    assert_eq!(weir.post("/button/click", click("s", "b")).status, 200);
}

#[test]
fn a_large_event_is_refused_by_itself_and_the_others_are_stored() {
    let weir = Weir::start();
    let large =
        format!(r#"{{"event_type":"button_click","session_id":"s","button_id":"{}"}}"#, "x".repeat(300_000));
    let body = format!(r#"[{{"event_type":"button_click","session_id":"s","button_id":"b"}},{large}]"#);
    let answer = weir.post("/events", body);
    assert_eq!((answer.status, answer.json()["rejected"].as_u64()), (207, Some(1)));
    weir.wait_until_filed();
    assert_eq!(weir.lines("lake/username=demo/rejected")[0]["body"], large);
}

#[test]
fn unknown_encodings_are_415_and_broken_ones_422() {
    let weir = Weir::start();
    for encoding in ["br", "deflate", "gzip, gzip", "nonsense"] {
        let answer = weir.post_with("/button/click", "{}", &[("content-encoding", encoding)]);
        answer.problem(415, "unsupported-encoding");
        assert_eq!(answer.header("accept-encoding"), Some("gzip, zstd"));
    }
    let whole = gzip(click("s", "b").as_bytes());
    for body in [b"nonsense".to_vec(), whole[..whole.len() - 4].to_vec()] {
        weir.post_with("/button/click", body, &[("content-encoding", "gzip")])
            .problem(422, "undecodable-body");
    }
}

/// What stands in backticks in the paragraph that begins so, up to where its tests are named.
fn listed(page: &str, begin: &str) -> (BTreeSet<String>, BTreeSet<u16>) {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let (_, rest) = page.split_once(begin).expect("the paragraph is there");
    let paragraph = rest.split("Checked by").next().unwrap().split("[Promise ").next().unwrap();
    let names = paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let words = paragraph.split(|c: char| !c.is_ascii_digit());
    (names, words.filter(|word| word.len() == 3).map(|word| word.parse().unwrap()).collect())
}

#[test]
fn what_is_refused_whole_is_kept_nowhere_and_the_docs_list_every_such_answer() {
    let (listed_kinds, listed_statuses) =
        listed("docs/PROMISES.md", "Nothing is kept or counted of a request that is refused whole");
    let (_, in_api) = listed("docs/API.md", "A body that is refused whole is kept and counted nowhere");
    assert_eq!(in_api, listed_statuses);
    // Every problem that the code has, but for two that keep their events and those that only questions get.
    let code = include_str!("../../functions/collector/src/api/problem.rs").replace(char::is_whitespace, "");
    let kinds = code.split("StatusCode::").skip(1).filter_map(|rest| {
        let (_, rest) = rest
            .split_once(",\"")
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))?;
        Some(rest.split('"').next().unwrap().to_owned())
    });
    let others = [
        "invalid-event",
        "no-valid-event",
        "unknown-event-type",
        "invalid-query",
        "no-latest-value",
        "unknown-event",
        "no-such-answer",
        "no-such-function",
        "too-many-runs",
        "no-such-run",
        "no-result",
    ];
    let kinds: BTreeSet<String> = kinds.filter(|kind| !others.contains(&kind.as_str())).collect();
    assert!(kinds.len() > 15, "{kinds:?}");
    assert_eq!(listed_kinds, kinds, "promise 12 lists what is not kept");

    let weir = Weir::start_with(&["--flush-every", "100ms", "--allow-origins", "https://a.example"]);
    let reader = weir.output(&["user", "add", "demo", "--label", "r", "--scope", "read"]).trim().to_owned();
    let (owner, plain) = (weir.credentials.clone(), click("s", "b"));
    let gzip_says = [("content-encoding", "gzip")];
    let many = format!("[{}1]", "1,".repeat(10_000));
    let large = "x".repeat((4 << 20) + 1);
    let cut = &gzip(plain.as_bytes())[..20];
    for (who, path, headers, body, status, kind) in [
        (&owner, "/events", &gzip_says[..], plain.as_bytes(), 422, "undecodable-body"),
        (&owner, "/button/click", &gzip_says, plain.as_bytes(), 422, "undecodable-body"),
        (&owner, "/events", &gzip_says, cut, 422, "undecodable-body"),
        (&owner, "/events", &[("content-encoding", "zstd")], plain.as_bytes(), 422, "undecodable-body"),
        (&owner, "/events", &[("content-encoding", "br")], plain.as_bytes(), 415, "unsupported-encoding"),
        (&owner, "/events", &[], many.as_bytes(), 413, "too-many-events"),
        (&owner, "/events", &[], large.as_bytes(), 413, "body-too-large"),
        (&owner, "/events", &[("origin", "https://b.example")], plain.as_bytes(), 403, "origin-not-allowed"),
        (&reader, "/events", &[], plain.as_bytes(), 403, "out-of-scope"),
        (&"demo:wrong".to_owned(), "/events", &[], plain.as_bytes(), 401, "unauthorized"),
        (&owner, "/nowhere", &[], plain.as_bytes(), 404, "not-found"),
        (&owner, "/counts", &[], plain.as_bytes(), 405, "method-not-allowed"),
    ] {
        weir.post_as(who, path, body, headers).problem(status, kind);
        assert!(listed_kinds.contains(kind) && listed_statuses.contains(&status), "{status} {kind}");
    }
    assert_eq!(weir.get("/counts").json()["rejected"]["total"], 0);
    assert_eq!(weir.get("/rejected").json()["rejected"], json!([]));
    weir.wait_until_filed();
    assert_eq!(weir.files("raw"), [""; 0]);
}

#[test]
fn any_content_type_is_fine() {
    let weir = Weir::start();
    for content_type in [
        "text/plain",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "nonsense",
        "image/png; é",
    ] {
        let answer = weir.post_with("/button/click", click("s", "b"), &[("content-type", content_type)]);
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

/// A body, and what the answer must say of it.
fn hostile() -> Vec<(Vec<u8>, &'static str)> {
    let click = |rest: &str| format!(r#"{{"session_id":"s","button_id":{rest}}}"#).into_bytes();
    vec![
        (b"".to_vec(), "EOF"),
        (b"null".to_vec(), "must be a JSON object"),
        (b"[]".to_vec(), "must be a JSON object"),
        (b"\"text\"".to_vec(), "must be a JSON object"),
        (b"{}".to_vec(), "is required"),
        (click("null"), "is not of type"),
        (click("7"), "is not of type"),
        (click("[\"b\"]"), "is not of type"),
        (click("{\"a\":1}"), "is not of type"),
        (click("\"b\",\"button_id\":\"c\""), "is given twice"),
        (click("\"b\",\"x\":{\"y\":1,\"y\":2}"), "is given twice"),
        (click("\"\\ud800\""), "hex escape"),
        (click("\"\\udc00\\ud800\""), "surrogate"),
        (click("\"b\",\"x\":1e400"), "number out of range"),
        (click("\"b\",\"x\":NaN"), "expected value"),
        (click("\"b\",\"x\":01"), "invalid number"),
        (click(&format!("{}1{}", "[".repeat(200), "]".repeat(200))), "recursion limit"),
        (click(&"{\"a\":".repeat(40_000)), "recursion limit"),
        (click(&"[".repeat(200_000)), "recursion limit"),
        (click("\"b\"}{"), "trailing characters"),
        (click("\"b\",\"event_type\":\"page_view\""), "takes button_click only"),
        (click("\"b\",\"event_id\":\"../x\""), "must be 1 to 64 of"),
        (click("\"b\",\"occurred_at\":\"yesterday\""), "RFC 3339"),
        (click("\"b\",\"username\":\"eve\""), "cannot be sent"),
        (b"\xff\xfe{\"session_id\":\"s\"}".to_vec(), "not valid UTF-8"),
        (b"{\"session_id\":\"\xc3\x28\",\"button_id\":\"b\"}".to_vec(), "not valid UTF-8"),
        (b"{\"session_id\":\"\x00\",\"button_id\":\"b\"}".to_vec(), "control character"),
        (b"\xef\xbb\xbf{".to_vec(), "EOF"),
    ]
}

#[test]
fn hostile_bodies_are_422_with_the_reason_on_a_types_own_route() {
    let weir = Weir::start();
    for (body, reason) in hostile() {
        let answer = weir.post("/button/click", &body);
        let problem = answer.problem(422, "invalid-event");
        let errors = problem["errors"].to_string();
        assert!(
            errors.contains(reason),
            "{errors} should say {reason}; body {:?}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    }
    assert_eq!(weir.get("/counts").json()["rejected"]["total"], hostile().len());
    assert_eq!(weir.get("/counts/button_click").json()["total"], 0);
}

#[test]
fn hostile_bodies_are_422_or_stored_faithfully_in_batches() {
    let weir = Weir::start();
    for (body, _) in hostile() {
        let status = weir.post("/events", &body).status;
        assert!(
            [422, 200].contains(&status),
            "{status} for {:?}",
            String::from_utf8_lossy(&body[..body.len().min(80)])
        );
    }
    // One bad line spoils no other.
    let bad: Vec<u8> = hostile()
        .into_iter()
        .map(|(body, _)| body)
        .filter(|body| !body.contains(&b'\n'))
        .collect::<Vec<_>>()
        .join(&b'\n');
    let good = r#"{"event_type":"button_click","session_id":"s","button_id":"b"}"#;
    let body = [good.as_bytes(), &bad, good.as_bytes()].join(&b'\n');
    let answer = weir.post("/events", body);
    assert_eq!((answer.status, answer.json()["stored"].as_u64()), (207, Some(2)));
    assert_eq!(weir.get("/counts/button_click").json()["total"], 2);
}

#[test]
fn odd_but_valid_events_are_stored_as_they_are() {
    let weir = Weir::start();
    for text in [
        "",
        " ",
        "\u{0}",
        "\u{7f}\u{1f}",
        "é",
        "e\u{301}",
        "\u{2028}",
        "😀",
        "'; DROP TABLE x; --",
        "../../..",
        "<script>",
    ] {
        let body = json!({"session_id": text, "button_id": text, text: text}).to_string();
        assert_eq!(weir.post("/button/click", body).status, 200, "{text:?}");
    }
    weir.wait_until_filed();
    for line in weir.lines("lake") {
        assert_eq!(line["session_id"], line["button_id"]);
        assert_eq!(line[line["button_id"].as_str().unwrap()], line["button_id"]);
    }
    let keys = weir.get("/counts/button_click").json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 11);
    assert_eq!(weir.get("/button/click/count?button_id=%F0%9F%98%80").json(), json!({"count": 1}));
    assert_eq!(weir.get("/button/click/count?button_id=").json(), json!({"count": 1}));
    assert_eq!(weir.query("SELECT count(DISTINCT button_id) AS n FROM button_click"), [json!({"n": 11})]);
}

#[test]
fn queries_of_counts_that_make_no_sense_are_422() {
    let weir = Weir::start();
    for path in [
        "/button/click/count?button=abc",
        "/button/click/count?button_id=a&button_id=b",
        "/counts/button_click?limit=0",
        "/counts/button_click?limit=1001",
        "/counts/button_click?limit=x",
        "/counts/button_click?after=x",
        "/button/click/count?session_id=s1",
        "/button/click/count?username=eve",
    ] {
        weir.get(path).problem(422, "invalid-query");
    }
}

#[test]
fn pages_of_configured_origins_may_call_even_where_the_answer_is_an_error() {
    let weir = Weir::start_with(&["--allow-origins", "https://a.example,https://b.example"]);
    let preflight = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        weir.request("OPTIONS", None, "/events", &headers, b"")
    };
    let answer = preflight("https://b.example");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://b.example"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(preflight("https://evil.example").header("access-control-allow-origin"), None);
    let origin = [("origin", "https://a.example")];
    for (method, path, status) in [("GET", "/counts", 401), ("GET", "/nothing", 404), ("PUT", "/events", 405)]
    {
        let answer = weir.request(method, None, path, &origin, b"");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://a.example"), "{path}");
    }
}

#[test]
fn a_page_that_may_not_call_the_api_stores_nothing_whatever_credentials_the_browser_adds() {
    const SITE: (&str, &str) = ("sec-fetch-site", "cross-site");
    const EVIL: (&str, &str) = ("origin", "https://evil.example");
    let text = ("content-type", "text/plain");
    let listed = Weir::start_with(&["--allow-origins", "https://a.example"]);
    for path in ["/events", "/button/click"] {
        let body = json!({"event_type": "button_click", "session_id": "s", "button_id": "b"}).to_string();
        for headers in [&[text, EVIL][..], &[text, EVIL, SITE], &[text, ("origin", "null")], &[text, SITE]] {
            let answer = listed.post_with(path, &body, headers);
            answer.problem(403, "origin-not-allowed");
            assert_eq!(answer.header("access-control-allow-origin"), None);
            let answer = listed.request("DELETE", Some(&listed.credentials), "/query/x", headers, b"");
            answer.problem(403, "origin-not-allowed");
        }
    }
    assert_eq!(listed.get("/counts/button_click").json()["total"], 0);
    let allowed = [("origin", "https://a.example"), SITE, ("sec-fetch-mode", "cors")];
    assert_eq!(listed.post_with("/button/click", click("s", "b"), &allowed).status, 200);
    // A form and an opaque request cannot have an `Authorization` of the page's own: it is the browser's.
    let open = Weir::start();
    for mode in ["navigate", "no-cors"] {
        let headers = [text, EVIL, SITE, ("sec-fetch-mode", mode)];
        open.post_with("/button/click", click("s", "b"), &headers).problem(403, "origin-not-allowed");
    }
    assert_eq!(open.get("/counts/button_click").json()["total"], 0);
    let with_its_own = [EVIL, SITE, ("sec-fetch-mode", "cors")];
    assert_eq!(open.post_with("/button/click", click("s", "b"), &with_its_own).status, 200);
}

#[test]
fn no_browser_is_sent_a_challenge_that_it_has_a_prompt_for() {
    let weir = Weir::start();
    let challenge = |headers: &[(&str, &str)]| {
        let answer = weir.request("GET", None, "/counts", headers, b"");
        answer.problem(401, "unauthorized");
        answer.header("www-authenticate").unwrap().to_ascii_lowercase()
    };
    for headers in [
        &[("accept", "text/html,application/xhtml+xml,*/*;q=0.8")][..],
        &[("upgrade-insecure-requests", "1")],
        &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        &[("origin", "https://a.example")],
    ] {
        assert!(!challenge(headers).starts_with("basic"), "{headers:?}");
    }
    assert!(challenge(&[]).starts_with("basic"), "curl learns what to send");
}

#[test]
fn the_api_describes_itself() {
    let weir = Weir::start();
    let document = weir.request("GET", None, "/openapi.json", &[], b"").json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in [
        "/events",
        "/button/click",
        "/button/click/count",
        "/web/page_view",
        "/counts",
        "/counts/{event_type}",
        "/health",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    assert_eq!(weir.request("GET", None, "/health", &[], b"").json(), json!({"status": "ok"}));
}
