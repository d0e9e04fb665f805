//! Everything that can be checked without an engine: `cargo xtask check`.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::build::{cargo, target};
use crate::cache::Cache;
use crate::progress::say;
use crate::{corpus, files, generate};

/// One check; its error says what to do.
type Check = fn() -> Result<()>;

/// Runs all checks, also after one failed, and names those that did.
pub fn run() -> Result<()> {
    let checks: [(&str, Check); 5] = [
        ("format", format),
        ("generated files", || generate::run(true)),
        ("lints", lints),
        ("dependencies", dependencies),
        ("unit tests", units),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        say(&format!("check: {name}"));
        if let Err(error) = check() {
            say(&format!("check: {name} failed: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("these checks failed: {}", failed.join(", "));
    }
    say("check: everything is in order");
    Ok(())
}

fn format() -> Result<()> {
    passes(cargo().args(["fmt", "--all", "--check"]), "run `cargo fmt --all`")
}

fn lints() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    passes(cargo().args(arguments), "mend what clippy names")
}

fn dependencies() -> Result<()> {
    let mut command = Command::new(cargo_deny()?);
    passes(
        command.args(["--workspace", "check", "bans", "licenses", "sources"]).current_dir(files::repository()),
        "see what `cargo deny` names; the rules are in `deny.toml`",
    )
}

/// Known weaknesses of the dependencies. Apart from the other checks, because the database is fetched from the network each
/// time, and what it says today says nothing of the change at hand.
pub fn advisories() -> Result<()> {
    let mut command = Command::new(cargo_deny()?);
    passes(
        command.args(["--workspace", "check", "advisories"]).current_dir(files::repository()),
        "see what `cargo deny` names; without the network it cannot say anything",
    )
}

fn units() -> Result<()> {
    // These two speak to an engine in their integration tests.
    let mut tests = cargo();
    tests.args(["test", "--locked", "--workspace", "--exclude", "e2e", "--exclude", "oauth4os-engine"]);
    tests.env("OAUTH4OS_REST_TESTS", corpus::ensure_made()?);
    passes(&mut tests, "mend what the tests name")?;
    passes(cargo().args(["test", "--locked", "--package", "oauth4os-engine", "--lib"]), "mend what the tests name")?;
    // The fuzz targets are a workspace of their own; without the fuzzer their seeds are tested on stable.
    let mut corpus = cargo();
    corpus.args(["test", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features"]);
    corpus.env("CARGO_TARGET_DIR", target().join("fuzz"));
    passes(&mut corpus, "a seed in `fuzz/corpus` breaks a law; mend what the test names")
}

/// The `cargo-deny` on the PATH, else that in the cache, built there if need be.
fn cargo_deny() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let own = cache.tools().join("bin/cargo-deny");
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        let mut asked = Command::new(&candidate);
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if asked.status().is_ok_and(|status| status.success()) {
            return Ok(candidate);
        }
    }
    say("check: `cargo-deny` is not installed: building it once (some minutes)");
    let mut install = cargo();
    install.env_remove("CARGO_TARGET_DIR");
    // Built outside this workspace's `target`, whose lock other commands may hold.
    install.args(["install", "cargo-deny", "--locked", "--root"]).arg(cache.tools()).current_dir(cache.root());
    passes(&mut install, "install it with `cargo install cargo-deny --locked`")?;
    Ok(own)
}

fn passes(command: &mut Command, advice: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("`{program}` cannot be started"))?;
    if !status.success() {
        bail!("{advice}");
    }
    Ok(())
}
