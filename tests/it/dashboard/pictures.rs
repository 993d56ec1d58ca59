//! The pictures of the README, from the real page: `cargo test --test it -- --ignored screenshots` makes them anew.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::visit::signed_in;
use crate::harness::{Value, Weir, json};

/// The largest picture that a README should have.
const LARGEST: usize = 60 * 1000;

/// How a program's clock is set back. (The command `faketime` stays in between, and keeps signals for itself.)
const SET_BACK: &str = "LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1) FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1";

/// Numbers that look like chance, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_of<'a>(&mut self, weighted: &[(u64, &'a str)]) -> &'a str {
        let mut at = self.below(weighted.iter().map(|(weight, _)| weight).sum());
        let found = weighted.iter().find(|(weight, _)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        found.unwrap().1
    }
}

/// What a small shop sends.
fn event(dice: &mut Dice) -> Value {
    let session = format!("s{}", dice.below(40));
    match dice.below(20) {
        0..9 => {
            let buttons =
                [(9, "add-to-cart"), (6, "buy-now"), (5, "learn-more"), (3, "sign-up"), (1, "newsletter")];
            json!({"event_type": "button_click", "session_id": session, "button_id": dice.one_of(&buttons)})
        }
        9..16 => {
            let pages = [(8, ""), (4, "pricing"), (3, "docs/start"), (2, "blog/why-count"), (1, "contact")];
            let url = format!("https://shop.example/{}", dice.one_of(&pages));
            json!({"event_type": "page_view", "session_id": session, "url": url})
        }
        16..18 => {
            let model = dice.one_of(&[(3, "churn-3"), (1, "churn-2")]);
            json!({"event_type": "prediction", "prediction_id": session, "model": model, "label": "stays", "score": 0.9})
        }
        _ => {
            let label = dice.one_of(&[(4, "stays"), (1, "leaves")]);
            json!({"event_type": "outcome", "prediction_id": session, "label": label})
        }
    }
}

/// Compresses a picture, as it has few colours.
fn packed(picture: &[u8]) -> Vec<u8> {
    let mut pngquant = Command::new("pngquant")
        .args(["--strip", "--speed", "1", "--quality", "85-100", "256", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("pngquant is installed");
    // pngquant reads all of its input before it writes.
    pngquant.stdin.take().unwrap().write_all(picture).unwrap();
    let output = pngquant.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    output.stdout
}

/// Needs `faketime` and `pngquant` (`apt-get install faketime pngquant`): the events of three months are sent to servers
/// whose clock is set back.
#[test]
#[ignore = "makes the pictures of the README"]
fn screenshots() {
    let mut weir = Weir::start();
    let mut dice = Dice(7);
    let days = (1_u64..88).rev().map(|days| days * 24);
    let hours = (1_u64..47).rev();
    for ago in days.filter(|hours| *hours > 47).chain(hours) {
        weir.stop("-TERM");
        weir.run_by = ["sh", "-c", &format!("{SET_BACK} FAKETIME=-{ago}h exec \"$@\""), "sh"]
            .map(str::to_owned)
            .to_vec();
        weir.restart();
        let busy = if ago > 47 { 8 + (88 * 24 - ago) / 30 } else { 1 + (ago % 24).abs_diff(14) / 2 };
        let events: Vec<Value> = (0..busy + dice.below(busy)).map(|_| event(&mut dice)).collect();
        assert_eq!(weir.post("/events", json!(events).to_string()).status, 200);
        if ago == 4 || ago == 1 {
            assert_eq!(
                weir.post(
                    "/ml/prediction",
                    r#"{"prediction_id":"p7","model":"churn-3","label":"stays","score":1.7}"#
                )
                .status,
                422
            );
        }
        weir.wait_until_filed();
    }
    weir.stop("-TERM");
    weir.run_by.clear();
    weir.restart();
    let events: Vec<Value> = (0..9).map(|_| event(&mut dice)).collect();
    assert_eq!(weir.post("/events", json!(events).to_string()).status, 200);
    assert_eq!(weir.post("/button/click", r#"{"button_id":"buy-now"}"#).status, 422);
    weir.wait_until_filed();

    let browser = signed_in(&weir);
    browser.theme("light");
    browser.until_contains("#rejects-list", "/session_id is required");
    browser.click("#range-month + label");
    browser.until_contains("#status", "All events are in the lake.");
    browser.chromium("Emulation.setScrollbarsHidden", &json!({"hidden": true}));
    // The mouse off the button, and no focus.
    browser.click("#status");
    browser.run("document.activeElement.blur()", &json!([]));
    for (name, theme, width, height) in
        [("light", "light", 1280, 925), ("dark", "dark", 1280, 925), ("phone", "light", 390, 1140)]
    {
        browser.theme(theme);
        browser.size(width, height);
        let picture = packed(&BASE64_STANDARD.decode(browser.picture()).unwrap());
        assert!(picture.len() < LARGEST, "{name}: {} bytes", picture.len());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/images/dashboard-{name}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, picture).unwrap();
    }
}
