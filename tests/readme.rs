//! Every command of the README works as it is printed.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod harness;

use std::{fs, path::Path, process::Command};

use harness::{Weir, path_with_venv};

/// The README's shell blocks, in order.
fn shell_blocks() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}

#[test]
fn every_command_of_the_readme_works() {
    let weir = Weir::start();
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weir"), programs.path().join("weir")).unwrap();
    let path = std::env::join_paths(
        std::iter::once(programs.path().to_owned()).chain(std::env::split_paths(&path_with_venv())),
    );
    let path = path.unwrap();
    let mut ran = 0;
    for block in shell_blocks() {
        // The two that start everything: the harness has started the same program, and this very test is run by the other.
        if ["cargo run\n", "./check\n"].contains(&block.as_str()) {
            continue;
        }
        let block = block.replace("cargo run --quiet --", "weir").replace("localhost:8080", &weir.url());
        let output = Command::new("sh")
            .args(["-euc", &block])
            // What they make is left here.
            .current_dir(programs.path())
            .env("HOME", programs.path())
            .env("PATH", &path)
            .env("WEIR_DATA", weir.data())
            .env("CREDENTIALS", &weir.credentials)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{block}\n{said}");
        assert!(!printed.contains("urn:weir:problem"), "{block}\n{printed}");
        ran += 1;
    }
    assert_eq!(ran, 7, "blocks of the README");
    assert_eq!(weir.get("/button/click/count?button_id=abc").json(), harness::json!({"count": 1}));
}

#[test]
fn the_readme_names_the_real_options_and_their_defaults() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let help =
        Command::new(env!("CARGO_BIN_EXE_weir")).args(["serve", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `--")).collect();
    assert!(rows.len() >= 5);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (option, default) = (cells[1].split('`').nth(1).unwrap(), cells[2].trim_matches('`'));
        let variable = cells[1].split('`').nth(3).unwrap();
        assert!(help.contains(option) && help.contains(&format!("[env: {variable}=]")), "{row}\n{help}");
        assert!(help.contains(&format!("[default: {default}]")), "{row}\n{help}");
    }
}
