//! What can be wrong with a configuration file.

use std::fmt::{self, Display};
use std::path::PathBuf;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file `{}`: {source}", path.display())]
    Read {
        /// The file that was asked for.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The file is not YAML, has a key nobody knows, or a value of the wrong type.
    #[error("the configuration is not valid: {message}")]
    Syntax {
        /// Where and why, as the parser says it.
        message: String,
    },

    /// The file can be read, but what it asks for is unsafe, contradictory or incomplete.
    #[error("the configuration is refused:\n{0}")]
    Refused(Problems),
}

/// Every problem found, one line each: the key, then a sentence.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, key: impl Display, sentence: impl Display) {
        self.0.push(format!("{key}: {sentence}"));
    }

    /// Adds what `found` finds, as problems of something further out.
    pub(crate) fn within(&mut self, key: impl Display, found: impl FnOnce(&mut Self)) {
        let mut inside = Self::default();
        found(&mut inside);
        self.0.extend(inside.0.into_iter().map(|problem| format!("{key}: {problem}")));
    }

    /// The first of them, if there is any.
    pub(crate) fn first(&self) -> Option<String> {
        self.0.first().cloned()
    }

    pub(crate) fn into_result(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError::Refused(self)) }
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "  {problem}")?;
        }
        Ok(())
    }
}
