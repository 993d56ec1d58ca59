//! The cost as a promise: with the programs of this build, whose calls and bytes are those of any build.

use std::{env, fs, path::Path, time::SystemTime};

use clap::Parser;

use crate::{
    cost::{Costs, Options, Programs, bills},
    report::Results,
    run::Time,
};

#[derive(Parser)]
struct Usual {
    #[command(flatten)]
    options: Options,
}

/// The programs beside this test's own, which `cargo test --workspace` builds first.
fn programs() -> Programs {
    let folder = env::current_exe().expect("a test has a program");
    let folder = folder.ancestors().nth(2).expect("it is in target/debug/deps").to_owned();
    let program = |name: &str| {
        let program = folder.join(name);
        assert_fresh(&program);
        program
    };
    Programs {
        authorizer: program("authorizer"),
        collector: program("collector"),
        fan_out: program("fan-out"),
    }
}

/// A program that is older than what it is made of would say nothing of the code as it is.
fn assert_fresh(program: &Path) {
    const BUILD: &str = "build it first: cargo test --workspace --all-features --no-run";
    let name = program.file_name().and_then(|name| name.to_str()).expect("it has a name");
    let built = made(program);
    let own = format!("functions/{name}/src");
    for part in
        [&own, "crates/aws/src", "crates/core/src", "crates/lambda/src", "crates/traces/src", "catalog"]
    {
        let newest = newest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(part));
        assert!(newest <= built, "{part} is newer than {}; {BUILD}", program.display());
    }
}

fn made(file: &Path) -> SystemTime {
    let made = fs::metadata(file).and_then(|file| file.modified());
    made.unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn newest(folder: &Path) -> SystemTime {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let times = paths.map(|path| if path.is_dir() { newest(&path) } else { made(&path) });
    times.max().expect("no folder of sources is empty")
}

fn costs() -> Costs {
    let mut options = Usual::parse_from(["cost"]).options;
    options.invocations = 3;
    bills(&options, &programs(), Time::Stated).expect("all is counted")
}

#[test]
fn a_million_events_in_requests_of_a_hundred_cost_no_more_than_promised() {
    let costs = costs();
    println!("{}", costs.table());
    assert_eq!(costs.missed(), Vec::<String>::new());
}
