//! The CDN of public answers: the template's function, run by Node, finds in the S3 of the local AWS what `weir publish` has
//! put there. CloudFront's own part, the cache and its signature, is the test's: it asks S3 for what the function returns.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use super::{
    emulator::LAKE,
    on_aws::{OnAws, run, said},
};
use crate::{
    harness::{Value, json},
    template::reader::{Template, text},
};

/// Runs the function over requests for these paths and queries; returns what it makes of the requests.
fn through_the_function(targets: &[&str]) -> Vec<Value> {
    // An event is as CloudFront makes it: path and query as they were sent, and parameters in their order.
    const RUN: &str = "
        const [code, targets] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        // What the runtime has, and no more: no network, no timers, no files.
        const only = (name) => { if (name !== 'crypto') throw new Error(name); return require(name); };
        const hidden = ['fetch', 'process', 'setTimeout', 'global', 'globalThis', 'URL', 'URLSearchParams', 'TextEncoder'];
        const make = new Function('require', ...hidden, '\"use strict\";' + code + ';return handler;');
        const handler = make(only);
        const event = (target) => {
            const [uri, query] = target.split(/\\?(.*)/);
            const querystring = {};
            for (const pair of (query || '').split('&').filter(Boolean)) {
                const [name, value] = pair.split('=');
                const known = querystring[name];
                if (known) known.multiValue = [{value: known.value}, {value}];
                else querystring[name] = {value};
            }
            const headers = {host: {value: 'd1.cloudfront.net'}, range: {value: 'bytes=5-2'}};
            const request = {method: 'GET', uri, querystring, headers, cookies: {}};
            return {version: '1.0', context: {eventType: 'viewer-request'}, viewer: {ip: '192.0.2.1'}, request};
        };
        console.log(JSON.stringify(targets.map((target) => handler(event(target)))));
    ";
    let code = text(&Template::read().properties("CdnFunction")["FunctionCode"]);
    let mut node = Command::new("node");
    let mut node = node.args(["-e", RUN]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = json!([code, targets]).to_string();
    node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the CDN answers, through the function and S3: the content of the page, or `None` for 404.
fn answers(aws: &OnAws, targets: &[&str]) -> Vec<Option<String>> {
    let requests = through_the_function(targets);
    let page = |request: &Value| {
        let uri = request["uri"].as_str().unwrap();
        assert!(uri.starts_with("/public/") && request["querystring"] == json!({}), "{request}");
        assert!(request["headers"].get("range").is_none(), "{request}");
        let url = format!("{}/{LAKE}{uri}", aws.emulator.endpoint);
        match ureq::get(url).call() {
            Ok(mut page) => {
                assert_eq!(page.headers()["content-type"], "application/json");
                assert_eq!(page.headers()["cache-control"], "public, max-age=60");
                Some(page.body_mut().read_to_string().unwrap())
            }
            Err(ureq::Error::StatusCode(404)) => None,
            Err(error) => panic!("{uri}: {error}"),
        }
    };
    requests.iter().map(page).collect()
}

fn rows(page: Option<&String>) -> Value {
    serde_json::from_str(page.expect("there is no page")).unwrap()
}

#[test]
fn the_cdn_answers_as_the_api_does() {
    let aws = OnAws::start();
    let server = aws.serve(&[]);
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, sql: &str| fs::write(files.path().join(name), sql).unwrap();
    let publish = |name: &str| {
        let mut publish = aws.command(&["publish", name, "--answers", files.path().to_str().unwrap()]);
        run(publish.env("WEIR_CDN", "true"))
    };
    let printed = |name: &str| {
        let output = publish(name);
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // Names that a URL, a query, a pattern or SQL could take for something else; slots in another order than by name.
    let odd = ["ü", "a/b", "..", "%2F", "a b&c=d", "a+b", "(~!*')", "日本\u{1f600}", "-", "?x=1#y"];
    let few = ["ü", "a b&c=d", "a+b", "-", ""];
    let list = |values: &[&str]| -> String {
        let values: Vec<String> =
            values.iter().map(|value| format!("('{}')", value.replace('\'', "''"))).collect();
        values.join(", ")
    };
    let cross = |rows: &str| {
        format!(
            "-- public: true\n-- path: page\n-- slot: z, a\n
             SELECT p.v AS page, s.v AS a, n AS z, p.v || s.v || CAST(n AS VARCHAR) AS text
             FROM (VALUES {}) AS p(v), (VALUES {}) AS s(v), (SELECT range AS n FROM range({rows}))",
            list(&odd),
            list(&few)
        )
    };
    write("odd.sql", &cross("2"));
    write("none.sql", "-- public: true\nSELECT 1 AS n WHERE false");
    let pages = odd.len() + odd.len() * few.len() * 2;
    assert!(printed("odd").ends_with(&format!("; {pages} of {pages} pages are new\n")));
    assert!(printed("none").ends_with("; 1 of 1 pages are new\n"));

    let percent = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    let script = |text: &str| -> String {
        // As a page's `encodeURIComponent` writes it.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
        text.bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect()
    };
    let mut targets = Vec::new();
    for page in odd {
        targets.push(format!("/answers/public/odd/{}", percent(page)));
        for a in few {
            targets.push(format!("/answers/public/odd/{}?a={}&z=1", percent(page), script(a)));
            targets.push(format!("/answers/public/odd/{}?z=0&a={}", script(page), percent(a)));
            targets.push(format!(
                "/answers/public/odd/{}?z=0&a={}",
                script(page),
                script(a).replace("%20", "+")
            ));
        }
    }
    targets.push("/answers/public/none".to_owned());
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    for (target, page) in targets.iter().zip(answers(&aws, &targets)) {
        let api = server.request("GET", None, target, &[], b"");
        assert_eq!(rows(page.as_ref()), api.json(), "{target}");
        assert!(!page.unwrap().ends_with(' '));
    }
    // What is in no answer has no page, and what the function makes of it is no other key of the bucket.
    let absent = [
        "/",
        "/answers/public/",
        "/answers/public/odd",
        "/answers/public/odd/x",
        "/answers/public/odd/a/b",
        "/answers/public/odd/%25252F",
        "/answers/public/odd/%2F",
        "/answers/public/odd/%FF",
        "/answers/public/odd/%",
        "/answers/public/odd/../../answers/odd/current",
        "/answers/public/..%2f..%2fanswers/odd/current",
        "/answers/public/ü",
        "/answers/odd/current",
        "/public/odd/x",
        "/public/none.json",
        "/answers/public/odd/-?a=-",
        "/answers/public/odd/-?a=-&z=7",
        "/answers/public/odd/-?a=-&a=-&z=1",
        "/answers/public/odd/-?a=-&z=1&more=1",
        "/answers/public/odd/-?a=%FF&z=1",
        "/answers/public/none?a=1",
    ];
    for (target, page) in absent.iter().zip(answers(&aws, &absent)) {
        assert_eq!(page, None, "{target}");
    }
    let none = &aws.objects(LAKE, "public/none.json")["public/none.json"];
    let none: Value = serde_json::from_slice(none).unwrap();
    let api = server.request("GET", None, "/answers/public/odd/x", &[], b"").problem(404, "no-such-answer");
    assert_eq!(
        (&none["type"], &none["title"], &none["status"]),
        (&api["type"], &api["title"], &api["status"])
    );

    // Of the next publication, what is the same is not put again, and what is gone is removed.
    assert!(printed("odd").ends_with(&format!("; 0 of {pages} pages are new\n")));
    write("odd.sql", &cross("1"));
    let left = odd.len() + odd.len() * few.len();
    assert!(printed("odd").ends_with(&format!("; {} of {left} pages are new\n", odd.len())));
    let gone = answers(&aws, &["/answers/public/odd/-?a=-&z=1", "/answers/public/odd/-?a=-&z=0"]);
    assert!(gone[0].is_none() && gone[1].is_some());
    assert_eq!(aws.objects(LAKE, "public/odd/").len(), left);

    // A private one has no pages; one that is private from now on has none any more.
    write("odd.sql", "SELECT 'ann' AS username, 1 AS n");
    assert!(printed("odd").starts_with("odd: 1 row, "));
    assert!(aws.objects(LAKE, "public/odd/").is_empty());
    server.request("GET", None, "/answers/public/odd", &[], b"").problem(404, "no-such-answer");
    let wrong = run(aws.command(&["publish"]).env("WEIR_CDN", "yes"));
    assert!(said(&wrong).starts_with("weir: WEIR_CDN is true or false"), "{}", said(&wrong));
}
