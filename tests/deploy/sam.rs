//! SAM and the tools it needs, as `check` installs them: kept to the folder `target`, and to the local AWS.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::local_aws::LocalAws;

/// A build from nothing compiles three programs with all optimisations, on whatever machine this is.
const BUILDING: Duration = Duration::from_hours(1);
const DEPLOYING: Duration = Duration::from_mins(5);

/// On AWS it is arm64. Here functions run as programs of this machine, and building for another one would need a
/// toolchain for it.
const ARCHITECTURE: &str =
    if cfg!(target_arch = "aarch64") { "Architecture=arm64" } else { "Architecture=x86_64" };

/// The template's parameters for the local AWS; all others are the defaults.
const PARAMETERS: [&str; 5] = [
    ARCHITECTURE,
    // AWS knows saved queries; here they are refused.
    "WithNamedQueries=false",
    // A limit is a number on AWS; here it stays the text that a parameter is, and the queue is never read.
    "FanOutConcurrency=0",
    // So that no test waits for what another one asked.
    "CredentialsCachedSeconds=0",
    "BufferSeconds=0",
];

/// Builds the three functions, as `sam build` does for everybody.
pub fn build() {
    let mut build = command("sam", &["build", "--parameter-overrides", ARCHITECTURE]);
    run(build.arg("--build-dir").arg(folder().join("build")), BUILDING);
}

/// Deploys what was built, as `sam deploy` does with the repository's settings; answers with what it said.
pub fn deploy(to: &LocalAws) -> String {
    let template = folder().join("build/template.yaml");
    let settings = root().join("samconfig.toml");
    let mut deploy = command("sam", &["deploy", "--no-confirm-changeset", "--no-progressbar"]);
    deploy.arg("--template-file").arg(template).arg("--config-file").arg(settings);
    deploy.arg("--parameter-overrides").args(PARAMETERS).env("AWS_ENDPOINT_URL", &to.endpoint);
    run(&mut deploy, DEPLOYING)
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

/// A tool, in the repository's folder.
fn command(program: &str, arguments: &[&str]) -> Command {
    let tools = root().join("target/deploy/bin");
    assert!(tools.join("sam").exists(), "the tools for deploying are not installed: run ./check once");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(tools.clone()).chain(std::env::split_paths(&rest)));
    let mut command = Command::new(tools.join(program));
    command.args(arguments).current_dir(root()).env("PATH", path.unwrap());
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
