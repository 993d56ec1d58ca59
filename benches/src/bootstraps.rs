//! Weir's programs, built as they are deployed.

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};
use flate2::{Compression, write::DeflateEncoder};

/// Builds a function as `sam build` does, for this machine; says where its program is.
pub(crate) fn build(function: &str) -> anyhow::Result<PathBuf> {
    // By itself, as SAM does: another package's features would come in otherwise.
    build_as("release", function, function, &[])
}

/// Builds the `weir` command with these features as it is built to serve; says where it is.
pub(crate) fn build_host(features: &[&str]) -> anyhow::Result<PathBuf> {
    build_as("serve", "weir", "weir", features)
}

/// Builds the bare programs, with the profile of what they are compared with; says where they are.
pub(crate) fn build_bare(profile: &str) -> anyhow::Result<PathBuf> {
    build_as(profile, "weir-bench", "bare", &[])
}

fn build_as(profile: &str, package: &str, program: &str, features: &[&str]) -> anyhow::Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("benches/ is in the workspace")?;
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--locked", "--profile", profile, "--package", package, "--bin", program])
        .args(["--features", &features.join(",")])
        .status()
        .context("cargo cannot be run")?;
    if !built.success() {
        bail!("{program} cannot be built");
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join(profile).join(program))
}

/// How long a program is in a zip with deflate, bytes. The archive adds about a hundred.
pub(crate) fn zipped(program: &Path) -> io::Result<u64> {
    let mut encoder = DeflateEncoder::new(Counted(0), Compression::default());
    io::copy(&mut File::open(program)?, &mut encoder)?;
    Ok(encoder.finish()?.0)
}

/// Takes bytes and counts them.
struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
