//! `weir completions`: scripts that shells can read, and that know all commands.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

fn weir(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_weir")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `weir help` lists, in its groups.
fn commands() -> Vec<String> {
    let help = weir(&["help"]);
    let groups = ["Send events:", "Read events:", "Run a server:", "Check and repair:"];
    let lines = groups.iter().flat_map(|group| {
        let list = help.split(&format!("\n{group}\n")).nth(1).unwrap_or_else(|| panic!("{group} in {help}"));
        list.split("\n\n").next().unwrap().lines()
    });
    lines
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

/// The long options that the help of a command lists.
fn options(command: &[&str]) -> BTreeSet<String> {
    let help = weir(&[command, &["--help"]].concat());
    let listed = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    let names = listed.map(|rest| rest.split([' ', '=']).next().unwrap().to_owned());
    names.filter(|name| !["help", "version"].contains(&name.as_str())).collect()
}

/// An option that means nothing to a command is a mistake: of a script that names the wrong folder, say.
#[test]
fn each_command_lists_and_takes_the_options_that_it_uses_and_no_others() {
    let shared = ["data", "engine", "catalog", "color", "answers", "memory", "keep-json", "keep-days"];
    let uses: &[(&[&str], &[&str])] = &[
        (&["serve"], &shared),
        (&["user", "add"], &["data", "engine"]),
        (&["user", "list"], &["data", "engine"]),
        (&["user", "remove"], &["data", "engine"]),
        (&["user", "rotate"], &["data", "engine"]),
        (&["catalog", "check"], &["data", "catalog"]),
        (&["catalog", "export"], &[]),
        (&["catalog", "list"], &["data", "catalog"]),
        (&["query"], &["data", "engine", "catalog"]),
        (&["publish"], &["data", "engine", "catalog", "answers"]),
        (&["replay"], &["data", "engine", "color"]),
        (&["seal"], &["data", "engine", "catalog", "memory", "keep-json", "keep-days"]),
        (&["health"], &[]),
        (&["audit"], &["data", "engine", "catalog", "color"]),
        (&["forget"], &["data", "engine", "catalog"]),
        (&["backup"], &["data"]),
        (&["restore"], &["data"]),
        (&["send"], &["catalog"]),
        (&["tail"], &["data", "engine", "catalog", "color"]),
        (&["counts"], &["data", "engine", "catalog"]),
        (&["latest"], &["data", "engine", "catalog"]),
        (&["receipt"], &[]),
        (&["function", "add"], &["data", "engine"]),
        (&["function", "list"], &["data", "engine"]),
        (&["function", "remove"], &["data", "engine"]),
        (&["map"], &["data", "engine"]),
        (&["completions"], &[]),
    ];
    let tested: BTreeSet<String> = uses.iter().map(|(command, _)| command[0].to_owned()).collect();
    assert_eq!(tested, commands().into_iter().collect());
    let of_serve: BTreeSet<String> =
        options(&["serve"]).into_iter().filter(|name| !shared.contains(&&**name)).collect();
    assert!(of_serve.contains("keep-free") && of_serve.len() >= 12, "{of_serve:?}");
    assert_eq!(options(&[]), options(&["serve"]), "without a command it serves");
    for (command, uses) in uses.iter().filter(|(command, _)| command[0] != "serve") {
        let listed = options(command);
        let listed_shared: BTreeSet<&str> =
            shared.into_iter().filter(|name| listed.contains(*name)).collect();
        assert_eq!(listed_shared, uses.iter().copied().collect(), "{command:?}");
        assert!(listed.is_disjoint(&of_serve), "{command:?}: {listed:?}");
        // A value that all of them would take.
        let refused =
            of_serve.iter().map(String::as_str).chain(shared.into_iter().filter(|name| !uses.contains(name)));
        // Where AWS is the engine, these say what to use instead.
        let says = ["backup", "restore"];
        let hidden = |name: &str| name == "engine" && says.contains(&command[0]);
        for name in refused.filter(|name| !hidden(name)) {
            let option =
                if name == "trust-forwarded-for" { format!("--{name}") } else { format!("--{name}=1") };
            for words in [[&[option.as_str()], *command].concat(), [*command, &[option.as_str()]].concat()] {
                let output = Command::new(env!("CARGO_BIN_EXE_weir"))
                    .args(&words)
                    .stdin(Stdio::null())
                    .output()
                    .unwrap();
                assert_eq!(output.status.code(), Some(2), "{words:?}");
            }
        }
    }
}

#[test]
fn an_option_before_its_command_means_what_it_means_after_it() {
    let place = tempfile::tempdir().unwrap();
    let typo = place.path().join("typo");
    let typo = typo.to_str().unwrap();
    for words in
        [["--data", typo, "user", "list"], ["user", "--data", typo, "list"], ["user", "list", "--data", typo]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_weir")).args(words).current_dir(place.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(&format!("there are no data in {typo}: ")), "{words:?}: {said}");
    }
}

#[test]
fn the_help_of_a_command_with_many_options_has_them_in_groups() {
    for (command, groups) in [
        (
            "serve",
            &["Data:", "Event types:", "Addresses:", "Filing:", "Limits:", "Web pages:", "Output:"][..],
        ),
        ("send", &["Server:", "Files:", "Event types:", "Output:"]),
    ] {
        let help = weir(&[command, "--help"]);
        for group in groups {
            assert!(help.lines().any(|line| line == *group), "{command}: {group}\n{help}");
        }
    }
}
