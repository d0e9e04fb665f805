//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the workspace.
///
/// # Panics
/// Never: this crate lies in the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// `target/e2e`: the state that all tests' gateways share, and the gateways unless a variable says otherwise.
pub(crate) fn target() -> PathBuf {
    workspace().join("target/e2e")
}

/// A build of the gateway: `oauth4os` or `oauth4os-engine-decides`.
pub(crate) fn binary(name: &str) -> PathBuf {
    const FOLDER: &str = "OAUTH4OS_TEST_BINARIES";
    let path = env::var_os(FOLDER).map_or_else(target, PathBuf::from).join(name);
    assert!(
        path.is_file(),
        "there is no `{}`: run `cargo xtask test`, or build it as `e2e/src/lib.rs` says, or name its folder in {FOLDER}",
        path.display()
    );
    path
}

/// The state file of the engine.
pub(crate) fn engine_json() -> PathBuf {
    const FILE: &str = "OAUTH4OS_ENGINE_JSON";
    let path = env::var_os(FILE).map_or_else(|| workspace().join("target/engine/3.4.0/engine.json"), PathBuf::from);
    assert!(
        path.is_file(),
        "there is no `{}`: run `cargo xtask engine up` and `cargo xtask data`, or name the state file of another engine in {FILE}",
        path.display()
    );
    path
}

/// The state file of Keycloak.
pub(crate) fn keycloak_json() -> PathBuf {
    const FILE: &str = "OAUTH4OS_KEYCLOAK_JSON";
    let path = env::var_os(FILE).map_or_else(|| workspace().join("target/keycloak/keycloak.json"), PathBuf::from);
    assert!(
        path.is_file(),
        "there is no `{}`: run `cargo xtask keycloak up --fresh`, or name the state file of another Keycloak in {FILE}",
        path.display()
    );
    path
}

/// The program that starts and stops real parts.
pub(crate) fn xtask() -> PathBuf {
    const PROGRAM: &str = "OAUTH4OS_XTASK";
    let path = env::var_os(PROGRAM).map_or_else(|| workspace().join("target/debug/xtask"), PathBuf::from);
    assert!(path.is_file(), "there is no `{}`: run `cargo build -p xtask`, or name it in {PROGRAM}", path.display());
    path
}

/// Where downloads and environments are kept between runs: `$OAUTH4OS_CACHE`, `$XDG_CACHE_HOME/oauth4os`, `~/.cache/oauth4os`.
///
/// # Panics
/// When none of these variables and no `HOME` is set.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let named = |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("OAUTH4OS_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("oauth4os")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/oauth4os")))
        .expect("set OAUTH4OS_CACHE to a folder for downloads")
}
