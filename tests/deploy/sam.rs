//! SAM and the tools it needs, as `check` installs them: kept to the folder `target`, and to the local AWS.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::local_aws::LocalAws;

/// A build from nothing compiles four programs with all optimisations, on whatever machine this is.
const BUILDING: Duration = Duration::from_hours(1);
const DEPLOYING: Duration = Duration::from_mins(5);

/// On AWS it is arm64. Here functions run as programs of this machine, and building for another one would need a
/// toolchain for it.
const ARCHITECTURE: &str =
    if cfg!(target_arch = "aarch64") { "Architecture=arm64" } else { "Architecture=x86_64" };

/// The template's parameters for the local AWS; all others are the defaults.
const PARAMETERS: [&str; 9] = [
    ARCHITECTURE,
    // AWS knows saved queries; here they are refused.
    "WithNamedQueries=false",
    // A limit is a number on AWS; here it stays the text that a parameter is, and the queue is never read.
    "FanOutConcurrency=0",
    // So that no test waits for what another one asked.
    "CredentialsCachedSeconds=0",
    "BufferSeconds=0",
    // What is off unless it is asked for.
    "WithMap=true",
    "WithPublisher=true",
    "WithSealing=true",
    "WithQueries=true",
];

/// The first deployment, by the one command of the guide: it builds, deploys, adds a user and sends an event. Returns what it
/// printed.
pub fn first_deployment(to: &LocalAws, user: &str) -> String {
    let mut deploy = script("deploy", &["--yes", "--user", user, "--weir", env!("CARGO_BIN_EXE_weir")]);
    deploy.args(["--architecture", ARCHITECTURE.strip_prefix("Architecture=").unwrap()]);
    deploy.args(PARAMETERS[1..].iter().flat_map(|parameter| ["--parameter", parameter]));
    // The local AWS has no host name for each API.
    deploy.args(["--url", &format!("{}/_aws/execute-api/{{ApiId}}/$default", to.endpoint)]);
    run(deploy.env("AWS_ENDPOINT_URL", &to.endpoint), BUILDING)
}

/// Deploys again what was built, as `sam deploy` does with the repository's settings; returns what it printed.
pub fn deploy(to: &LocalAws) -> String {
    let mut deploy = command("sam", &["deploy", "--no-confirm-changeset", "--no-progressbar"]);
    deploy.arg("--parameter-overrides").args(PARAMETERS).env("AWS_ENDPOINT_URL", &to.endpoint);
    run(&mut deploy, DEPLOYING)
}

/// Deploys what was built, where that must fail; returns what it said.
pub fn fail_to_deploy(to: &LocalAws) -> String {
    let mut deploy = command("sam", &["deploy", "--no-confirm-changeset", "--no-progressbar"]);
    deploy.arg("--parameter-overrides").args(PARAMETERS).env("AWS_ENDPOINT_URL", &to.endpoint);
    let output = deploy.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it was deployed: {said}");
    said
}

/// Deletes the stack, as the guide says.
pub fn delete(from: &LocalAws) {
    let mut delete =
        command("sam", &["delete", "--stack-name", "weir", "--no-prompts", "--region", "us-east-1"]);
    run(delete.env("AWS_ENDPOINT_URL", &from.endpoint), DEPLOYING);
}

/// Runs `./check-aws` with what the first deployment built; returns what it printed, whatever it found.
pub fn check_aws(to: &LocalAws) -> String {
    let mut check = script("check-aws", &["--yes", "--wait", "120", "--weir", env!("CARGO_BIN_EXE_weir")]);
    check.args(["--architecture", ARCHITECTURE.strip_prefix("Architecture=").unwrap()]);
    check.args(PARAMETERS[1..].iter().flat_map(|parameter| ["--parameter", parameter]));
    check.args(["--url", &format!("{}/_aws/execute-api/{{ApiId}}/$default", to.endpoint)]);
    run(check.env("AWS_ENDPOINT_URL", &to.endpoint), DEPLOYING * 2)
}

/// Runs `./deploy --check` in an environment that lacks something; returns what it says of it.
pub fn refused(prepare: impl FnOnce(&mut Command)) -> String {
    let mut check =
        script("deploy", &["--check", "--architecture", ARCHITECTURE.strip_prefix("Architecture=").unwrap()]);
    prepare(&mut check);
    let output = check.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("Traceback"), "{said}");
    said
}

/// Runs `./deploy --check`, which must succeed; returns what it prints.
pub fn checked(prepare: impl FnOnce(&mut Command)) -> String {
    let mut check =
        script("deploy", &["--check", "--architecture", ARCHITECTURE.strip_prefix("Architecture=").unwrap()]);
    prepare(&mut check);
    run(&mut check, DEPLOYING)
}

/// What the stack put out, as JSON.
pub fn outputs(from: &LocalAws) -> String {
    let mut list = command("sam", &["list", "stack-outputs", "--stack-name", "weir", "--output", "json"]);
    run(list.env("AWS_ENDPOINT_URL", &from.endpoint), DEPLOYING)
}

/// Asks both whether the template is well made.
pub fn validate() {
    run(&mut command("sam", &["validate", "--lint"]), DEPLOYING);
    run(&mut command("cfn-lint", &["template.yaml"]), DEPLOYING);
}

/// A script of the repository.
pub fn script(name: &str, arguments: &[&str]) -> Command {
    kept_here(Command::new(root().join(name)), arguments)
}

/// A tool, in the repository's folder.
fn command(program: &str, arguments: &[&str]) -> Command {
    let tools = root().join("target/deploy/bin");
    assert!(tools.join("sam").exists(), "the tools for deploying are not installed: run ./check once");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.clone()).chain(std::env::split_paths(&rest)));
    let mut command = kept_here(Command::new(tools.join(program)), arguments);
    command.env("PATH", path.unwrap());
    command
}

/// A command that leaves nothing outside the repository, and reaches no AWS but a local one.
fn kept_here(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments).current_dir(root());
    // What they keep between two runs would lie in the home folder.
    command.env("__SAM_CLI_APP_DIR", folder().join("sam")).env("XDG_CACHE_HOME", folder().join("cache"));
    command.env("SAM_CLI_TELEMETRY", "0");
    // What cargo tells a test of its package would make it compile again what was compiled from a shell.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    // Nothing of this may ever reach AWS.
    for variable in ["AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] {
        command.env_remove(variable);
    }
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
    command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_REGION", "us-east-1");
    command
}

/// Runs a tool, which must succeed and be ready in time; answers with what it printed.
fn run(command: &mut Command, patience: Duration) -> String {
    let start = Instant::now();
    let (said, printed) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    command.stdin(Stdio::null()).stdout(printed.reopen().unwrap()).stderr(said.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let printed = std::fs::read_to_string(printed.path()).unwrap();
    let said = std::fs::read_to_string(said.path()).unwrap();
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    let what = arguments.join(" ");
    let status = status.unwrap_or_else(|| panic!("after {patience:?} not ready: {what}\n{printed}\n{said}"));
    assert!(status.success(), "{what}: {status}\n{printed}\n{said}");
    eprintln!("{:.1} s: {what}", start.elapsed().as_secs_f32());
    printed
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where what is built lies, and what the tools remember.
fn folder() -> PathBuf {
    root().join("target/deployment")
}
