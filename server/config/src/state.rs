//! Where the gateway keeps what must survive a restart.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::problem::Problems;
use crate::secret::Secret;

/// The embedded store (SQLite) and the key it is encrypted with.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The folder of the store; it is made with mode 0700 when missing, and refused when others can read it.
    pub directory: PathBuf,

    /// The master key, 32 bytes in base64, under which everything secret is encrypted at rest. Without it the file
    /// `master.key` in `directory` is used, and made at first start; keep a copy of it somewhere else.
    #[serde(default)]
    pub master_key: Option<Secret>,

    /// The value of `master_key`.
    #[serde(skip)]
    #[schemars(skip)]
    pub master_key_value: Option<SecretString>,
}

impl State {
    pub(crate) fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        self.directory = base.join(&self.directory);
        self.master_key_value =
            self.master_key.as_ref().and_then(|secret| secret.fetch("state.master_key", base, env, problems));
    }
}
