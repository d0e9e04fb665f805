//! Building the gateway.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::files;
use crate::progress::say;

/// A `cargo` that works on this repository.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(files::repository()).stdin(Stdio::null()).env("CARGO_TARGET_DIR", target());
    command
}

/// Where builds go: `CARGO_TARGET_DIR`; in CI the cache, which outlives a clone; else `target` in the repository.
pub fn target() -> PathBuf {
    if let Some(chosen) = std::env::var_os("CARGO_TARGET_DIR") {
        return PathBuf::from(chosen);
    }
    match Cache::open() {
        Ok(cache) if std::env::var_os("CI").is_some() => cache.root().join("target"),
        _ => files::repository().join("target"),
    }
}

/// Builds the gateway with these features and puts a copy at `copy`, so that a later build with others leaves it alone.
pub fn gateway(features: &[&str], copy: &Path) -> Result<()> {
    say("building the gateway (the first time takes some minutes)");
    let mut build = cargo();
    build.args(["build", "--locked", "--package", "oauth4os"]);
    if !features.is_empty() {
        build.arg("--features").arg(features.join(","));
    }
    run(&mut build, "the gateway does not build")?;
    let built = target().join("debug/oauth4os");
    if let Some(folder) = copy.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    if same_file(&built, copy) {
        return Ok(());
    }
    // A running gateway keeps the old file open: it is replaced, not written over.
    let new = copy.with_extension("new");
    std::fs::copy(&built, &new).with_context(|| format!("{} cannot be copied", built.display()))?;
    std::fs::rename(&new, copy).with_context(|| format!("{} cannot be replaced", copy.display()))?;
    Ok(())
}

/// Runs a command to its end, with its output shown.
pub fn run(command: &mut Command, failed: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("`{program}` cannot be started"))?;
    if !status.success() {
        bail!("{failed}");
    }
    Ok(())
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (std::fs::read(one), std::fs::read(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
