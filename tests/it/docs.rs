//! `/docs` in a browser: the API can be read and tried there, signed in with basic authentication, and everything comes
//! from Weir itself.

use crate::harness::{Value, Weir, browser::Browser, eventually, gunzip, json};

/// The addresses that a browser asked for since the last call.
fn asked(browser: &Browser) -> Vec<String> {
    let messages = browser.log("performance").into_iter().map(|entry| {
        serde_json::from_str::<Value>(entry["message"].as_str().unwrap()).unwrap()["message"].take()
    });
    let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
    let urls = sent.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned());
    urls.filter(|url| !url.starts_with("data:") && !url.starts_with("chrome:")).collect()
}

#[test]
fn the_api_can_be_tried_with_basic_credentials_and_no_other_host_is_asked() {
    let weir = Weir::start();
    let browser = Browser::start();
    browser.open(&format!("{}/docs", weir.url()));
    browser.until_contains("#docs .info", "Weir");

    let (name, secret) = weir.credentials.split_once(':').unwrap();
    browser.click(".auth-wrapper .authorize");
    browser.fill(".auth-container input[name=username]", name);
    browser.fill(".auth-container input[name=password]", secret);
    browser.click(".auth-btn-wrapper .authorize");
    browser.click(".auth-btn-wrapper .btn-done");

    // The example of the type is what is sent.
    let click = "#operations-Send-post_button_click";
    browser.click(&format!("{click} .opblock-summary-control"));
    browser.click(&format!("{click} .execute"));
    browser.until_contains(&format!("{click} .live-responses-table tr.response .response-col_status"), "200");
    browser.until_contains(&format!("{click} .live-responses-table"), "Received");
    let count = weir.get("/button/click/count?button_id=abc").json();
    assert_eq!(count, json!({"count": 1}));

    for url in asked(&browser) {
        assert!(url.starts_with(&format!("{}/", weir.url())), "{url}");
    }
    // The policy of the page was broken nowhere, and nothing it wants was missing.
    let severe: Vec<Value> =
        browser.log("browser").into_iter().filter(|entry| entry["level"] == "SEVERE").collect();
    assert!(severe.is_empty(), "{severe:?}");
}

#[test]
fn a_request_that_is_tried_without_credentials_says_in_words_what_is_missing() {
    let weir = Weir::start();
    let browser = Browser::start();
    // A slash too many: what the page loads is named from where the page is, so the browser is sent there.
    browser.open(&format!("{}//docs/", weir.url()));
    for operation in ["#operations-Send-post_button_click", "#operations-Read-counts"] {
        browser.click(&format!("{operation} .opblock-summary-control"));
        browser.click(&format!("{operation} .execute"));
        browser.until_contains(&format!("{operation} .live-responses-table"), "401");
        browser.until_contains("#missing", "Click Authorize");
    }
    let open = "#operations-Page-health";
    browser.click(&format!("{open} .opblock-summary-control"));
    browser.click(&format!("{open} .execute"));
    browser.until_contains(&format!("{open} .live-responses-table"), "200");
    assert_eq!(browser.run("return document.getElementById('missing').hidden", &json!([])), true);
}

#[test]
fn an_example_of_a_missing_scope_names_the_one_that_the_route_needs() {
    let weir = Weir::start();
    let described = weir.get("/openapi.json").json();
    for (path, method, scope) in [
        ("/events", "post", "write"),
        ("/button/click", "post", "write"),
        ("/button/click/count", "get", "read"),
        ("/counts", "get", "read"),
        ("/rejected", "get", "read"),
    ] {
        let forbidden =
            &described["paths"][path][method]["responses"]["403"]["content"]["application/problem+json"];
        let detail = forbidden["examples"]["out-of-scope"]["value"]["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("the scope {scope}")), "{path}: {detail}");
    }
}

#[test]
fn every_type_and_every_error_has_an_example_that_is_one() {
    let weir = Weir::start();
    let described = weir.get("/openapi.json").json();
    let mut errors = 0;
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let problem = &answer["content"]["application/problem+json"];
                if problem.is_null() {
                    continue;
                }
                let examples = problem["examples"].as_object().unwrap();
                assert!(!examples.is_empty(), "{method} {path} {status}");
                for (kind, example) in examples {
                    let example = &example["value"];
                    assert_eq!(example["status"].to_string(), *status, "{method} {path}");
                    assert_eq!(example["type"], format!("urn:weir:problem:{kind}"));
                    errors += 1;
                }
            }
        }
    }
    assert!(errors > 50, "{errors}");

    // Each event is stored as it is shown.
    let sent = &described["paths"]["/events"]["post"]["requestBody"]["content"];
    let many = sent["application/json"]["examples"]["many"]["value"].as_array().unwrap();
    assert_eq!(many.len(), 10);
    for example in sent["application/json"]["examples"].as_object().unwrap().values() {
        assert_eq!(weir.post("/events", example["value"].to_string()).status, 200, "{example}");
    }
    let lines = sent["application/x-ndjson"]["schema"]["description"].as_str().unwrap();
    let (_, lines) = lines.split_once('\n').unwrap();
    assert_eq!(weir.post("/events", lines).json()["stored"], 10);

    // And an error is what it is shown to be.
    let shown = |status: &str, kind: &str| {
        let answers = &described["paths"]["/button/click"]["post"]["responses"];
        answers[status]["content"]["application/problem+json"]["examples"][kind]["value"].clone()
    };
    let same = |answer: &Value, shown: &Value| {
        ["type", "title", "status", "detail", "errors"].iter().all(|member| answer[member] == shown[member])
    };
    let invalid = weir.post("/button/click", r#"{"button_id":"abc"}"#).json();
    assert!(same(&invalid, &shown("422", "invalid-event")), "{invalid}");
    let unknown = weir.request("POST", None, "/button/click", &[], b"{}").json();
    assert!(same(&unknown, &shown("401", "unauthorized")), "{unknown}");
}

#[test]
fn what_the_page_loads_is_compressed_for_those_who_take_it_and_plain_for_others() {
    let weir = Weir::start();
    for file in
        ["/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js", "/docs/LICENSE", "/weir.js"]
    {
        let plain = weir.request("GET", None, file, &[("accept-encoding", "identity")], b"");
        assert_eq!((plain.status, plain.header("content-encoding")), (200, None), "{file}");
        let packed = weir.request("GET", None, file, &[("accept-encoding", "br, gzip")], b"");
        assert_eq!((packed.status, packed.header("vary")), (200, Some("accept-encoding")), "{file}");
        // The client may have unpacked it already.
        let unpacked = match packed.header("content-encoding") {
            Some(_) if packed.body.starts_with(&[0x1f, 0x8b]) => gunzip(&packed.body),
            _ => packed.text(),
        };
        assert_eq!(unpacked, plain.text(), "{file}");
        assert_eq!(packed.header("x-content-type-options"), Some("nosniff"), "{file}");
    }
    assert_eq!(weir.request("GET", None, "/docs/../users.db", &[], b"").status, 404);
    weir.request("GET", None, "/docs/nothing.js", &[], b"").problem(404, "not-found");
}

#[test]
fn the_page_is_in_groups_dark_where_the_system_is_and_leads_to_the_dashboard() {
    let weir = Weir::start();
    let browser = Browser::start();
    browser.theme("dark");
    browser.open(&format!("{}/docs", weir.url()));
    browser.until_contains("#docs .info", "Weir");
    let groups = "return [...document.querySelectorAll('.opblock-tag')].map((tag) => tag.dataset.tag)";
    assert_eq!(browser.run(groups, &json!([])), json!(["Send", "Read", "Page"]));
    let ground = "const { backgroundColor } = getComputedStyle(document.documentElement); \
        return backgroundColor === 'rgb(28, 32, 34)'";
    assert_eq!(browser.run(ground, &json!([])), true);
    browser.theme("light");
    eventually("it is light", || browser.run(ground, &json!([])) == false);
    browser.click(".home a");
    browser.until_contains("#sign-in-title", "See your events arrive");
}
