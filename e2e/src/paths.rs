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

/// `target/e2e`: the gateways to test, and the state they share.
pub(crate) fn target() -> PathBuf {
    workspace().join("target/e2e")
}

/// A file named by a variable, or its default place. `remedy` says how to get it when it is missing.
pub(crate) fn required(variable: &str, default: PathBuf, remedy: &str) -> PathBuf {
    let path = env::var_os(variable).map_or(default, PathBuf::from);
    assert!(path.is_file(), "there is no `{}`: {remedy}, or say in {variable} where it is", path.display());
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
