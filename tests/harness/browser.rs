//! A browser, driven over the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>): Chromium without a window, by a
//! chromedriver of its own. Both end with the test.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::{PATIENCE, Value, json};

/// How the browser is run: without a window, without traffic of its own, and where there is no sandbox.
const FLAGS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
];

/// The name under which WebDriver speaks of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Browser {
    driver: Driver,
    session: String,
    profile: tempfile::TempDir,
}

/// A chromedriver. Dropping it ends it.
struct Driver {
    child: Child,
    url: String,
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    pub fn start() -> Self {
        let driver = Driver::start();
        let profile = tempfile::tempdir().unwrap();
        let mut flags: Vec<String> = FLAGS.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--user-data-dir={}", profile.path().display()));
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": flags},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}});
        let session = driver.call("POST", "/session", &capabilities).expect("a browser starts");
        let session = session["sessionId"].as_str().unwrap().to_owned();
        Self { driver, session, profile }
    }

    /// A command of the session, and what it gives or what is wrong.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.driver.call(method, &format!("/session/{}{path}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.call("POST", path, body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.post("/url", &json!({"url": url}));
    }

    /// Opens a tab and goes there. Returns the tab that was left.
    pub fn new_tab(&self) -> String {
        let left = self.call("GET", "/window", &Value::Null).unwrap().as_str().unwrap().to_owned();
        let tab = self.post("/window/new", &json!({"type": "tab"}))["handle"].clone();
        self.post("/window", &json!({"handle": tab}));
        left
    }

    /// Closes the tab, and goes to another one.
    pub fn close_tab(&self, other: &str) {
        self.call("DELETE", "/window", &Value::Null).unwrap();
        self.post("/window", &json!({"handle": other}));
    }

    /// Runs a function's body in the page, and gives what it returns.
    pub fn run(&self, script: &str, arguments: &Value) -> Value {
        self.post("/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Like [`Self::run`]; what is returned may be a promise.
    pub fn run_to_its_end(&self, script: &str, arguments: &Value) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             (async () => {{ {script} }})().then((value) => done({{value}}), (error) => done({{error: String(error)}}));"
        );
        let answer = self.post("/execute/async", &json!({"script": script, "args": arguments}));
        assert!(answer["error"].is_null(), "{answer}");
        answer["value"].clone()
    }

    /// A command of Chromium's own protocol.
    pub fn chromium(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn find(&self, css: &str) -> Result<String, String> {
        let found = self.call("POST", "/element", &json!({"using": "css selector", "value": css}))?;
        Ok(found[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Does something with an element as soon as that works: it may not be there yet, or be replaced meanwhile.
    fn with(&self, css: &str, action: impl Fn(&str) -> Result<Value, String>) -> Value {
        let start = Instant::now();
        loop {
            match self.find(css).and_then(|element| action(&element)) {
                Ok(value) => return value,
                Err(error) if start.elapsed() > PATIENCE => panic!("{css}: {error}\n{}", self.seen()),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Clicks as a mouse does: what covers an element gets the click, and that is an error.
    pub fn click(&self, css: &str) {
        self.with(css, |element| self.call("POST", &format!("/element/{element}/click"), &json!({})));
    }

    /// Replaces what a field holds, by typing.
    pub fn fill(&self, css: &str, text: &str) {
        self.with(css, |element| self.call("POST", &format!("/element/{element}/clear"), &json!({})));
        if !text.is_empty() {
            self.keys(css, text);
        }
    }

    /// Types into an element.
    pub fn keys(&self, css: &str, text: &str) {
        let keys = json!({"text": text});
        self.with(css, |element| self.call("POST", &format!("/element/{element}/value"), &keys));
    }

    /// Chooses an option by its value.
    pub fn choose(&self, css: &str, value: &str) {
        self.click(&format!("{css} option[value=\"{value}\"]"));
    }

    /// The text of an element as it is rendered.
    pub fn text(&self, css: &str) -> String {
        let path = |element: &str| format!("/element/{element}/text");
        let text = self.with(css, |element| self.call("GET", &path(element), &Value::Null));
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the text of an element is as it should be, and gives it.
    pub fn until(&self, css: &str, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let text = self.text(css);
            if is_so(&text) {
                return text;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain until {what}: {css} is {text:?}\n{}",
                self.seen()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn until_contains(&self, css: &str, part: &str) -> String {
        self.until(css, &format!("it has {part:?}"), |text| text.contains(part))
    }

    pub fn until_is(&self, css: &str, expected: &str) {
        self.until(css, &format!("it is {expected:?}"), |text| text == expected);
    }

    /// Everything that can be read on the page.
    fn seen(&self) -> String {
        self.run("return document.body.innerText", &json!([])).to_string()
    }

    /// Makes the window so large, in CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// The theme that the system is said to have, `light` or `dark`.
    pub fn theme(&self, theme: &str) {
        let theme = json!({"name": "prefers-color-scheme", "value": theme});
        // What moves has its colours only later.
        let still = json!({"name": "prefers-reduced-motion", "value": "reduce"});
        let features = json!({"features": [theme, still]});
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    /// The window as a PNG, in base64.
    pub fn picture(&self) -> String {
        let picture = self.chromium("Page.captureScreenshot", &json!({"format": "png"}));
        picture["data"].as_str().unwrap().to_owned()
    }

    /// What was logged since the last call: `browser` is the console, `performance` what the network did.
    pub fn log(&self, of: &str) -> Vec<Value> {
        self.post("/se/log", &json!({"type": of})).as_array().unwrap().clone()
    }
}

impl Drop for Browser {
    /// Ends the browser; if it does not answer, by its driver, and its processes by their profile's name.
    fn drop(&mut self) {
        let _ = self.call("DELETE", "", &Value::Null);
        let _ = self.driver.child.kill();
        let _ = self.driver.child.wait();
        end_processes_of(&self.profile);
    }
}

/// Kills what still runs on a profile. No other process has its name.
fn end_processes_of(profile: &tempfile::TempDir) {
    let name = profile.path().to_str().unwrap().as_bytes().to_vec();
    for process in std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if pid != std::process::id() && command.windows(name.len()).any(|part| part == name) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
    }
}

impl Driver {
    /// It takes a port that is free for IPv4, and ends if another process has the same for IPv6 by then: a driver that
    /// starts at the same time, for example.
    fn start() -> Self {
        let started = (0..20).find_map(|_| Self::try_start());
        started.expect("chromedriver started, and did not end at once")
    }

    fn try_start() -> Option<Self> {
        let mut child = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create("/dev/null").unwrap())
            .spawn()
            .expect("chromedriver runs: ./check says how to install it");
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let port: u16 = loop {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                return None;
            }
            if let Some((_, port)) = line.trim_end().trim_end_matches('.').split_once("successfully on port ")
                && let Ok(port) = port.parse()
            {
                break port;
            }
        };
        // Who does not read what it says stops it.
        std::thread::spawn(move || for _ in said.lines().map_while(Result::ok) {});
        Some(Self { child, url: format!("http://127.0.0.1:{port}") })
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(2 * PATIENCE))
            .build()
            .into();
        let mut answer = agent.run(request.body(body).unwrap()).map_err(|error| error.to_string())?;
        let text =
            answer.body_mut().with_config().limit(64 << 20).read_to_string().map_err(|e| e.to_string())?;
        let mut said: Value = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
        let value = said["value"].take();
        if answer.status().is_success() {
            Ok(value)
        } else {
            Err(format!("{}: {}", value["error"], value["message"]))
        }
    }
}
