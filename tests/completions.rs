//! `weir completions`: scripts that shells can read, and that know all commands.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    io::Write,
    process::{Command, Stdio},
};

fn weir(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `weir help` lists.
fn commands() -> Vec<String> {
    let help = weir(&["help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    list.lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

#[test]
fn bash_reads_its_script_which_completes_every_command() {
    let script = weir(&["completions", "bash"]);
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());

    let complete = |words: &str| {
        let count = words.split(' ').count() - 1;
        let ask = format!(
            "{script}\nCOMP_WORDS=({words} ''); COMP_CWORD={}; _weir weir '' {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            count + 1,
            words.split(' ').next_back().unwrap()
        );
        let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (known, commands) = (complete("weir"), commands());
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        assert!(known.contains(&command), "{command} is not in {known:?}");
    }
    assert!(complete("weir send").contains(&"--credentials-file".to_owned()));
    assert!(complete("weir user").contains(&"rotate".to_owned()));
}

#[test]
fn other_shells_have_scripts_too() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = weir(&["completions", shell]);
        assert!(
            ["audit", "send", "tail", "counts"].iter().all(|command| script.contains(command)),
            "{shell}"
        );
    }
}
