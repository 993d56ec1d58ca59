//! Requests that are right but for a trifle, as people and libraries write them: they are answered, and not refused.

use crate::harness::{Weir, click, json};

#[test]
fn a_parameter_that_no_route_knows_changes_nothing_and_a_misspelt_one_is_named() {
    let weir = Weir::start();
    for button in ["abc", "abc", "other"] {
        assert_eq!(weir.post("/button/click", click("s", button)).status, 200);
    }
    let count = |query: &str| weir.get(&format!("/button/click/count?{query}")).json()["count"].clone();
    assert_eq!(count("button_id=abc&_=1699"), 2);
    assert_eq!(count("utm_source=mail&button_id=abc&fbclid=x&buton_id=other"), 2);
    assert_eq!(count("_=1699"), 3);
    for path in [
        "/counts?_=1",
        "/counts/button_click?_=1&limit=5",
        "/counts/button_click/hours?cb=1",
        "/counts/button_click/days?gclid=1",
        "/rejected?nocache",
    ] {
        let with = weir.get(path);
        assert_eq!(with.status, 200, "{path}: {}", with.text());
    }
    for (path, meant) in [
        ("/button/click/count?buton_id=abc", "button_id"),
        ("/button/click/count?buttonId=abc&_=1", "button_id"),
        ("/counts/button_click?limt=1", "limit"),
        ("/counts/button_click?After=1", "after"),
        ("/counts/button_click/hours?form=2026-11-20T13", "from"),
        ("/counts/button_click/days?from_day=2026-11-20", "from"),
        ("/rejected?limits=1", "limit"),
    ] {
        let problem = weir.get(path).problem(422, "invalid-query");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("is {meant} meant?")), "{path}: {detail}");
    }
}

#[test]
fn a_path_with_a_slash_too_many_is_taken_as_the_route_with_its_body_and_its_query() {
    let weir = Weir::start();
    let event = json!({"event_type": "button_click", "session_id": "s", "button_id": "abc"}).to_string();
    for path in ["/events/", "//events", "//events//", "/button/click/", "/button//click", "//button/click"] {
        assert_eq!(weir.post(path, &event).status, 200, "{path}");
    }
    for path in
        ["/button/click/count/?button_id=abc", "//button/click/count?button_id=abc", "/button/click//count/"]
    {
        assert_eq!(weir.get(path).json(), json!({"count": 6}), "{path}");
    }
    for path in ["/counts/", "//counts/button_click/", "/counts/button_click/hours/", "/rejected/"] {
        assert_eq!(weir.get(path).status, 200, "{path}");
        weir.request("GET", None, path, &[], b"").problem(401, "unauthorized");
    }
    for path in ["//", "/health/", "//health", "/openapi.json/", "//docs", "/docs//start.js", "//weir.js"] {
        assert_eq!(weir.request("GET", None, path, &[], b"").status, 200, "{path}");
    }
    let metrics = weir.request("GET", None, "//metrics", &[], b"").text();
    assert!(metrics.contains(r#"route="/events",status="2xx"} 3"#), "{metrics}");
    for path in ["/events%2F", "/%2Fevents", "/events/x/y", "//events/x/y/"] {
        weir.post(path, &event).problem(404, "not-found");
    }
    weir.post("//events/x/", &event).problem(405, "method-not-allowed");
}

#[test]
fn a_page_may_send_the_headers_that_tracing_and_error_libraries_add() {
    let weir = Weir::start_with(&["--allow-origins", "https://a.example"]);
    let origin = ("origin", "https://a.example");
    for names in [
        "authorization,baggage",
        "authorization,content-type,sentry-trace,baggage,traceparent,tracestate",
        "authorization,request-id,request-context,x-requested-with,x-of-a-library-to-come",
    ] {
        for (method, path) in [("POST", "/events"), ("GET", "/counts")] {
            let asks = [
                origin,
                ("access-control-request-method", method),
                ("access-control-request-headers", names),
            ];
            let preflight = weir.request("OPTIONS", None, path, &asks, b"");
            assert_eq!(preflight.status, 200);
            let allowed = preflight.header("access-control-allow-headers").unwrap().to_lowercase();
            let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
            assert!(names.split(',').all(|name| allowed.contains(&name)), "{names}: {allowed:?}");
        }
    }
    let sent = [origin, ("baggage", "a=b"), ("traceparent", "x"), ("x-requested-with", "XMLHttpRequest")];
    assert_eq!(weir.post_with("/button/click", click("s", "b"), &sent).status, 200);
}

#[test]
fn a_path_a_type_and_a_field_that_are_nearly_right_are_answered_with_those_probably_meant() {
    let weir = Weir::start();
    let detail = |path: &str, kind| weir.get(path).problem(404, kind)["detail"].as_str().unwrap().to_owned();
    for (path, said) in [
        ("/buton/click", "Did you mean /button/click? "),
        ("/event", "Did you mean /events? "),
        ("/nothing/like/it", "The API is described at"),
    ] {
        assert!(detail(path, "not-found").starts_with(said), "{path}: {}", detail(path, "not-found"));
    }
    assert_eq!(
        detail("/button/click/latest", "not-found"),
        "No latest values of button_click are kept: its schema names no latest_by."
    );
    for (path, meant) in [
        ("/counts/button_click/hours?start=2026-11-01", "is from meant?"),
        ("/counts/button_click/days?until=2026-11-01", "is to meant?"),
        ("/counts/button_click/minutes?since=x", "is from meant?"),
        ("/events?per_page=5", "is limit meant?"),
        ("/button/click/count?key=abc", "is button_id meant?"),
    ] {
        let problem = weir.get(path).problem(422, "invalid-query");
        assert!(problem["detail"].as_str().unwrap().ends_with(meant), "{path}: {problem}");
    }
    let csv = weir.post("/query?format=csv", "SELECT 1").problem(422, "invalid-query");
    assert!(csv["detail"].as_str().unwrap().contains("Accept: text/csv"), "{csv}");
    let of_type = detail("/counts/buton_click", "unknown-event-type");
    assert!(of_type.ends_with(" Did you mean button_click?"), "{of_type}");
    let reason = |path, event: &str| {
        let problem = weir.post(path, event).json();
        let errors = problem.pointer("/errors").or(problem.pointer("/outcomes/0/errors"));
        errors.unwrap_or_else(|| panic!("{problem}"))[0]["message"].as_str().unwrap().to_owned()
    };
    let field = reason("/button/click", r#"{"sessionId":"s","button_id":"b"}"#);
    assert_eq!(field, "is required; sessionId may be meant by it");
    // A name of any other kind is not repeated.
    assert_eq!(reason("/button/click", r#"{"session":"s","button_id":"b"}"#), "is required");
    let named = reason("/events", r#"[{"event_type":"buttonclick","session_id":"s","button_id":"b"}]"#);
    assert_eq!(named, "the catalog has no event type buttonclick; button_click may be meant");
}
