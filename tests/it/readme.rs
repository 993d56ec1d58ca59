//! Every command of the README, and of the pages for one machine that it leads to, works as it is printed.

use std::{fs, path::Path, process::Command};

use crate::{
    harness::{self, Weir, path_with_venv},
    latest,
};

/// The pages whose commands are run, one after the other, on the same server.
const PAGES: [&str; 7] = [
    "README.md",
    "docs/USERS.md",
    "docs/EVENT_TYPES.md",
    "docs/QUERIES.md",
    "docs/MAP.md",
    "docs/COMMANDS.md",
    "docs/RUNNING.md",
];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The shell blocks of the pages, in order.
fn shell_blocks() -> Vec<String> {
    let blocks = |name: &&str| -> Vec<String> {
        let page = page(name);
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    PAGES.iter().flat_map(blocks).collect()
}

#[test]
fn every_command_of_the_readme_and_its_pages_works() {
    let weir = Weir::start_with(&["--queries", "2"]);
    let programs = programs();
    let mut ran = 0;
    for block in shell_blocks() {
        // The two that start everything: dist.rs installs the wheel and starts the server, and this very test is run by the
        // other.
        if block.starts_with("./dist\n") || block == "./check\n" {
            continue;
        }
        let block = block.replace("localhost:8080", &weir.url());
        let printed = run(&weir, programs.path(), &block);
        assert!(!printed.contains("urn:weir:problem"), "{block}\n{printed}");
        ran += 1;
    }
    assert_eq!(ran, 11, "blocks of the pages");
    assert_eq!(weir.get("/button/click/count?button_id=abc").json(), harness::json!({"count": 1}));
}

#[test]
fn every_command_of_the_page_on_latest_values_works() {
    let catalog = latest::catalog();
    let weir = Weir::start_with(&["--catalog", catalog.path().to_str().unwrap(), "--flush-every", "100ms"]);
    let page = page("docs/LATEST.md");
    let blocks: Vec<&str> =
        page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    let programs = programs();
    for block in blocks {
        let block = block.replace("localhost:8080", &weir.url());
        let printed = run(&weir, programs.path(), &block);
        assert!(!printed.contains("urn:weir:problem"), "{block}\n{printed}");
    }
}

/// A folder in which `weir` is, for a shell.
fn programs() -> tempfile::TempDir {
    let programs = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_weir"), programs.path().join("weir")).unwrap();
    programs
}

/// Runs a block in a shell, and gives what it printed.
fn run(weir: &Weir, programs: &Path, block: &str) -> String {
    let path = std::env::join_paths(
        std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path_with_venv())),
    );
    let output = Command::new("sh")
        .args(["-euc", block])
        // What they make is left here.
        .current_dir(programs)
        .env("HOME", programs)
        .env("PATH", path.unwrap())
        .env("WEIR_DATA", weir.data())
        .env("CREDENTIALS", &weir.credentials)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}\n{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_page_on_running_names_the_real_options_and_their_defaults() {
    let running = page("docs/RUNNING.md");
    let help =
        Command::new(env!("CARGO_BIN_EXE_weir")).args(["serve", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let rows: Vec<&str> = running.lines().filter(|line| line.starts_with("| `--")).collect();
    assert!(rows.len() >= 5);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (option, default) = (cells[1].split('`').nth(1).unwrap(), cells[2].trim_matches('`'));
        let variable = cells[1].split('`').nth(3).unwrap();
        assert!(help.contains(option) && help.contains(&format!("[env: {variable}=]")), "{row}\n{help}");
        assert!(help.contains(&format!("[default: {default}]")), "{row}\n{help}");
    }
}

#[test]
fn the_readme_fits_a_strangers_patience_and_every_link_of_the_docs_leads_somewhere() {
    assert!(page("README.md").lines().count() <= 200);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut seen = 0;
    for path in pages.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if target.starts_with("http") || target.contains(char::is_whitespace) {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            if !heading.is_empty() {
                let headings = fs::read_to_string(file).unwrap();
                let mut anchors = headings.lines().filter(|line| line.starts_with('#')).map(anchor);
                assert!(anchors.any(|anchor| anchor == heading), "{}: {target}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} links");
}

/// A heading's anchor: small letters, hyphens for spaces, no other signs.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|sign| sign.is_alphanumeric() || "-_".contains(*sign)).collect()
}
