//! What `./dist` makes: the same bytes each time, and a wheel that brings a stranger without a compiler to the first event.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use crate::harness::{Value, path_with_venv};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// This `weir` without what a debugger needs, which packages would be packed for seconds.
fn stripped(folder: &Path) -> PathBuf {
    let program = folder.join("stripped");
    run(Command::new("strip").arg("-o").arg(&program).arg(env!("CARGO_BIN_EXE_weir")));
    program
}

/// Runs a command that must succeed, and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `./dist` on a program, and gives the files that it made.
fn packaged(program: &Path, to: &Path) -> BTreeMap<String, Vec<u8>> {
    run(Command::new(root().join("dist"))
        .args(["--built".as_ref(), program, "--to".as_ref(), to])
        .env("PATH", path_with_venv())
        .env("SOURCE_DATE_EPOCH", "1790000000"));
    let files = fs::read_dir(to).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn packages_are_the_same_bytes_each_time_and_lead_from_nothing_to_a_queried_event_without_network_or_compiler()
 {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = stripped(folder.path());
    let first = packaged(&program, &at("first"));
    let second = packaged(&program, &at("second"));
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (name, bytes) in &first {
        assert!(bytes == &second[name], "{name} differs from one time to the next");
    }
    assert_eq!(first.len(), 4, "{:?}", first.keys());
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(at("first")));

    // The SBOM lists what is compiled in, and nothing that only tests use.
    let sbom = first.iter().find(|(name, _)| name.ends_with(".cdx.json")).unwrap().1;
    let sbom: Value = serde_json::from_slice(sbom).unwrap();
    let components = sbom["components"].as_array().unwrap();
    let has = |name: &str| components.iter().any(|component| component["name"] == name);
    assert!(has("libsqlite3-sys") && has("weir-aws") && !has("proptest") && !has("rcgen"), "{components:?}");
    for component in components.iter().filter(|one| !one["name"].as_str().unwrap().starts_with("weir-")) {
        let ours = ["authorizer", "collector", "fan-out", "publisher", "seal"]
            .contains(&component["name"].as_str().unwrap());
        assert!(component["licenses"].is_array() && (ours || component["hashes"].is_array()), "{component}");
    }

    // The tarball's program runs as it is.
    let tarball = first.keys().find(|name| name.ends_with(".tar.gz")).unwrap();
    run(Command::new("tar").args(["-xzf", tarball]).current_dir(at("first")));
    let unpacked = at("first").join(tarball.trim_end_matches(".tar.gz"));
    assert!(run(Command::new(unpacked.join("weir")).arg("--version")).starts_with("weir "));
    assert!(unpacked.join("docs/API.md").is_file() && unpacked.join("systemd/weir.service").is_file());

    let start = Instant::now();
    first_event_by_the_wheel(&at("first"), folder.path());
    println!("from nothing to the first queried event: {:.1} s", start.elapsed().as_secs_f64());
}

/// Installs the wheel into a new environment, starts `weir` as it says, and pastes what it prints at its first start.
fn first_event_by_the_wheel(wheels: &Path, folder: &Path) {
    let downloaded = root().join("target/wheels");
    assert!(downloaded.is_dir(), "./check downloads DuckDB's wheel into {}", downloaded.display());
    // A shell and curl, and nothing else of this machine.
    let programs = folder.join("programs");
    fs::create_dir(&programs).unwrap();
    for name in ["sh", "curl"] {
        let found =
            std::env::split_paths("/usr/bin:/bin").map(|at| at.join(name)).find(|path| path.is_file());
        symlink(found.unwrap(), programs.join(name)).unwrap();
    }
    let venv = folder.join("venv");
    let path = std::env::join_paths([&venv.join("bin"), &programs]).unwrap();
    let bounded = |program: &Path| {
        let mut command = Command::new("/usr/bin/timeout");
        command.arg("60").arg(program).env_clear().env("PATH", &path).env("HOME", folder).current_dir(folder);
        command
    };
    run(bounded(&root().join("target/venv/bin/python3")).args([
        "-m".as_ref(),
        "venv".as_ref(),
        venv.as_os_str(),
    ]));
    run(bounded(&venv.join("bin/pip"))
        .args(["install", "--quiet", "--no-index", "--disable-pip-version-check", "--find-links"])
        .arg(wheels)
        .arg("--find-links")
        .arg(&downloaded)
        .arg("weir-events"));

    let mut server = bounded(&venv.join("bin/weir"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut pasted = Vec::new();
    for line in printed.by_ref().filter(|line| line.contains("curl -u") || line.contains(" query '")) {
        let last = line.contains(" query '");
        // DuckDB is found beside `weir`, also where the environment is not on the path.
        let path = if last { programs.as_os_str() } else { &path };
        pasted.push(run(bounded(&programs.join("sh")).args(["-euc", line.trim()]).env("PATH", path)));
        if last {
            break;
        }
    }
    // It passes the signal on.
    run(Command::new("kill").arg(server.id().to_string()));
    server.wait().unwrap();
    let [post, count, table] = &pasted[..] else { panic!("{pasted:?}") };
    assert_eq!((post.as_str(), count.as_str()), (r#"{"message":"Received"}"#, r#"{"count":1}"#));
    assert!(table.contains("abc") && table.contains('1'), "{table}");
}
