//! What the page keeps to: its own host, its own code, text as text, and few bytes.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use super::visit::{EVENT_REFUSED, everything, no_errors_but, sign_in, signed_in, visit};
use crate::harness::{Weir, gunzip, json};

/// The most that may be transferred until all is shown, and what the page is to stay below.
const EVERYTHING: usize = 100 * 1000;
const PAGE: usize = 30 * 1000;

#[test]
fn the_page_is_open_to_all_and_says_what_a_browser_may_do_with_it() {
    let weir = Weir::start();
    let answer = weir.request("GET", None, "/", &[], b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let policy = answer.header("content-security-policy").unwrap();
    for part in
        ["default-src 'none';", "connect-src 'self';", "frame-ancestors 'none';", "trusted-types 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    let tag = answer.header("etag").unwrap();
    assert_eq!(weir.request("GET", None, "/", &[("if-none-match", tag)], b"").status, 304);
    let head = weir.request("HEAD", None, "/", &[], b"");
    assert_eq!((head.status, head.header("etag")), (200, Some(tag)));
    assert!(head.body.is_empty());
    assert_eq!(weir.request("POST", None, "/", &[], b"").status, 405);
}

#[test]
fn the_first_load_is_one_small_document_and_no_other_host_is_ever_asked() {
    let weir = Weir::start();
    let browser = visit(&weir);
    let asked = |browser: &crate::harness::browser::Browser| -> Vec<String> {
        let messages = browser.log("performance").into_iter().map(|entry| {
            let message = entry["message"].as_str().unwrap();
            serde_json::from_str::<crate::harness::Value>(message).unwrap()["message"].take()
        });
        let sent = messages.filter(|message| message["method"] == "Network.requestWillBeSent");
        sent.map(|message| message["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    };
    // The browser's own page, which is there before, and the icon, which is in the document.
    let own = |url: &String| url.starts_with("chrome:") || url.starts_with("data:");
    let first: Vec<String> = asked(&browser).into_iter().filter(|url| !own(url)).collect();
    assert_eq!(first, [format!("{}/", weir.url())]);
    let answer = weir.request("GET", None, "/", &[("accept-encoding", "gzip")], b"");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&answer.body), weir.request("GET", None, "/", &[], b"").text());
    println!("the page has {} bytes", answer.body.len());
    assert!(answer.body.len() <= PAGE, "{} bytes", answer.body.len());

    sign_in(&browser, &weir.credentials);
    browser.until_is("#accepted", "0");
    browser.click("#try-send");
    browser.until_is("#accepted", "1");
    let transferred =
        "return performance.getEntries().reduce((sum, { transferSize = 0 }) => sum + transferSize, 0)";
    let transferred = browser.run(transferred, &json!([])).as_u64().unwrap();
    println!("{transferred} bytes were transferred");
    assert!((1..=EVERYTHING as u64).contains(&transferred), "{transferred} bytes");
    browser.click("#sign-out");
    browser.until_contains("#sign-in-title", "See your events arrive");
    let later = asked(&browser);
    assert!(later.len() >= 4, "{later:?}");
    for url in later {
        assert!(url.starts_with(&format!("{}/", weir.url())) || url.starts_with("data:"), "{url}");
        assert!(!url.contains('@') && !url.contains("demo"), "{url}");
    }
    no_errors_but(&browser, &[]);
}

/// Markup that says so where it is taken for markup.
const MARKUP: &str = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";

#[test]
fn hostile_keys_types_and_events_are_shown_as_text_and_run_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = json!({
        "title": format!("Title {MARKUP}"),
        "description": MARKUP,
        "type": "object",
        "properties": {
            (MARKUP): {"type": "string", "description": MARKUP},
            "kind": {"enum": [MARKUP, "plain"]},
            "name": {"type": "string", "description": MARKUP},
        },
        "required": [MARKUP],
        "examples": [{(MARKUP): MARKUP, "name": MARKUP, "kind": MARKUP}],
        "x-weir": {"route": "/hostile", "count_by": "name"},
    });
    fs::write(folder.path().join("hostile.json"), hostile.to_string()).unwrap();
    let weir = Weir::start_with(&["--flush-every", "100ms", "--catalog", folder.path().to_str().unwrap()]);
    let good = json!({(MARKUP): "x", "name": format!("key {MARKUP}\u{202e}")}).to_string();
    assert_eq!(weir.post("/hostile", good).status, 200);
    let bad = json!({"name": 1, "kind": format!("rejected {MARKUP}\u{202e}")}).to_string();
    assert_eq!(weir.post("/hostile", bad).status, 422);
    assert_eq!(weir.post("/hostile", format!("no JSON {MARKUP}")).status, 422);
    weir.wait_until_filed();

    let browser = signed_in(&weir);
    browser.until_contains("#tile-0", &format!("Title {MARKUP}"));
    // What turns text around is spelled out.
    browser.until_contains("#keys-list", &format!("key {MARKUP}\\u{{202e}}"));
    browser.until_contains("#rejects-list", "/name");
    browser.click("#try-open");
    browser.run(
        "document.querySelectorAll('details').forEach((details) => { details.open = true; })",
        &json!([]),
    );
    browser.until_contains("#rejects-list li:first-child pre", &format!("no JSON {MARKUP}"));
    browser.until_contains(
        "#rejects-list li:last-child pre",
        "rejected <img src=x onerror=\\\"window.hacked=1\\\">",
    );
    browser.until_contains("#try-fields", MARKUP);
    // The required field comes first; it is left out.
    browser.run("document.getElementById('try-field-0').value = ''", &json!([]));
    browser.click("#try-send");
    browser.until_contains("#try-answer", "/<img src=x onerror=");
    browser.until_is("#rejected", "3");
    let made = "return [document.querySelectorAll('img, iframe, main script').length, window.hacked ?? null]";
    assert_eq!(browser.run(made, &json!([])), json!([0, null]));
    // Nothing would have run either: the browser takes no text for markup on this page, and no code that is not its own.
    let tried = "const tried = []; \
        try { document.body.innerHTML = arguments[0]; } catch (error) { tried.push(error.name); } \
        const script = document.createElement('script'); \
        try { script.text = 'window.hacked=1'; } catch (error) { tried.push(error.name); } \
        try { script.setAttribute('onclick', 'window.hacked=1'); } catch (error) { tried.push(error.name); } \
        document.body.append(script); script.click(); return [tried, window.hacked ?? null]";
    let answer = browser.run(tried, &json!([MARKUP]));
    assert_eq!(answer[1], json!(null), "{answer}");
    assert_eq!(answer[0], json!(["TypeError", "TypeError", "TypeError"]), "{answer}");
    assert!(everything(&browser).contains("&lt;img"));
    browser.log("browser");
}

/// Behind API Gateway, a stage that has a name begins every path, and the API does not see it.
#[test]
fn the_page_works_below_a_prefix() {
    let weir = Weir::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = format!("http://{}", listener.local_addr().unwrap());
    let api = weir.url().replace("http://", "");
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let api = api.clone();
            std::thread::spawn(move || without_prefix(connection, &api));
        }
    });
    let browser = crate::harness::browser::Browser::start();
    for page in ["/prod/", "/prod"] {
        browser.open(&format!("{gateway}{page}"));
        sign_in(&browser, &weir.credentials);
        browser.until("#accepted", "the counts are there", |text| !text.is_empty());
        if page == "/prod" {
            browser.click("#try-open");
        }
        browser.click("#try-send");
        browser.until_contains("#try-answer", "Stored");
        let links = "return [...document.querySelectorAll('a[data-below]')].map((link) => link.href)";
        let expected = json!([format!("{gateway}/prod/docs"), format!("{gateway}/prod/openapi.json")]);
        assert_eq!(browser.run(links, &json!([])), expected);
        browser.click("#sign-out");
    }
    assert_eq!(weir.get("/button/click/count").json(), json!({"count": 2}));
    no_errors_but(&browser, &[EVENT_REFUSED]);
}

/// Hands one request on without its prefix; what has none is 404.
fn without_prefix(mut client: TcpStream, api: &str) {
    let mut request = Vec::new();
    let mut some = [0; 4096];
    let head = loop {
        match client.read(&mut some) {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&some[..read]),
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8(request[..end].to_vec()).unwrap();
        }
    };
    let body = request.split_off(head.len() + 4);
    let Some((method, path)) = head.split_once(" /prod") else {
        let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let head =
        format!("{method} {path}\r\nconnection: close\r\n\r\n").replace("connection: keep-alive\r\n", "");
    let head = head.replace("Connection: keep-alive\r\n", "");
    let mut server = TcpStream::connect(api).unwrap();
    server.write_all(head.as_bytes()).unwrap();
    server.write_all(&body).unwrap();
    let mut rest = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || std::io::copy(&mut rest.0, &mut rest.1));
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}
