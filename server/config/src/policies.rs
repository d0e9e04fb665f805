//! Cedar policies.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;

/// Which Cedar policies are in force.
///
/// With at least one file Cedar decides as Cedar does: what no policy permits is refused, and a forbid always wins.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// Files of Cedar policies, checked against the gateway's schema when they are loaded.
    pub files: Vec<PathBuf>,
}

impl Policies {
    pub(crate) fn resolve(&mut self, base: &Path) {
        for file in &mut self.files {
            *file = base.join(&*file);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        for file in &self.files {
            if !file.is_file() {
                problems.add("policies.files", format!("there is no file `{}`", file.display()));
            }
        }
    }
}
