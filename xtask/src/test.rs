//! All tests, on real parts: `cargo xtask test`.
//!
//! Units first, then the whole gateway against an OpenSearch 3.4.0 of its own, then once more against 2.19.4, with a
//! Keycloak as the outside provider. The engines are not those of the demo: the tests set up their own auth domain.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::engine::{self, Version};
use crate::progress::say;
use crate::{build, check, data, files, keycloak};

/// What to leave out, for somebody at work on one thing.
pub struct Options {
    /// Only what needs no engine: `cargo xtask check`.
    pub units: bool,
    /// Only this engine.
    pub version: Option<Version>,
}

/// Runs everything, in the order in which a fault is cheapest to find.
pub fn run(options: &Options) -> Result<()> {
    let began = Instant::now();
    check::run()?;
    if !options.units {
        binaries()?;
        let keycloak = keycloak_up()?;
        let result = all(options, &keycloak);
        // Keycloak is ended whatever the tests say; a test may have started it anew.
        keycloak::down(Some(keycloak.dir))?;
        result?;
    }
    say(&format!("all tests passed in {} minutes", began.elapsed().as_secs().div_ceil(60)));
    Ok(())
}

fn all(options: &Options, keycloak: &keycloak::State) -> Result<()> {
    for version in [Version::V3_4_0, Version::V2_19_4] {
        if options.version.is_none_or(|only| only == version) {
            against(version, keycloak)?;
        }
    }
    Ok(())
}

fn keycloak_up() -> Result<keycloak::State> {
    let dir = Some(folder().join("keycloak"));
    keycloak::up(&keycloak::Options { dir, http_port: Some(KEYCLOAK_PORT), fresh: true })
}

/// The gateway, and the one for tests only whose own decision is switched off.
fn binaries() -> Result<()> {
    build::gateway(&["engine-decides"], &folder().join("oauth4os-engine-decides"))?;
    build::gateway(&[], &folder().join("oauth4os"))
}

fn against(version: Version, keycloak: &keycloak::State) -> Result<()> {
    let number = version.number();
    say(&format!("test: the whole gateway against OpenSearch {number}"));
    let dir = folder().join(format!("engine-{number}"));
    let options = engine::Options { version, dir: Some(dir.clone()), http_port: Some(port(version)), fresh: true };
    let engine = engine::up(&options)?;
    let result = data::load(&engine).and_then(|_| {
        let mut test = build::cargo();
        test.args(["test", "--locked", "--package", "e2e", "--package", "oauth4os-engine", "--tests"]);
        test.env("OAUTH4OS_ENGINE_JSON", engine.dir.join(engine::STATE_FILE));
        test.env("OAUTH4OS_TEST_BINARIES", folder());
        test.env("OAUTH4OS_KEYCLOAK_JSON", keycloak.dir.join(keycloak::STATE_FILE));
        // For the test in which the provider is down for a while.
        test.env("OAUTH4OS_XTASK", std::env::current_exe()?);
        build::run(&mut test, &format!("a test against OpenSearch {number} failed"))?;
        // What the engine enforces, once more with the gateway's word in place of a token.
        let mut test = build::cargo();
        test.args(["test", "--locked", "--package", "e2e"]);
        for name in BY_EVERY_DRIVER {
            test.args(["--test", name]);
        }
        test.env("OAUTH4OS_ENGINE_JSON", engine.dir.join(engine::STATE_FILE));
        test.env("OAUTH4OS_TEST_BINARIES", folder());
        test.env("OAUTH4OS_TEST_DRIVER", "extended_proxy");
        build::run(&mut test, &format!("a test with `extended_proxy` against OpenSearch {number} failed"))
    });
    // The engine is ended whatever the tests say.
    engine::down(version, Some(dir))?;
    result
}

/// The tests of what the engine itself enforces, which have to hold however it learns who is asking.
const BY_EVERY_DRIVER: [&str; 8] =
    ["aliases", "cedar", "own_identity", "pipelines", "rows", "rows_hostile", "scopes", "two_walls"];

const KEYCLOAK_PORT: u16 = 19280;

const fn port(version: Version) -> u16 {
    match version {
        Version::V3_4_0 => 19240,
        Version::V2_19_4 => 19259,
    }
}

fn folder() -> PathBuf {
    files::repository().join("target/e2e")
}
