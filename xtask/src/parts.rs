//! The pins: every package the real parts are made of, with its version, size and SHA-256 (`parts.json`).

use anyhow::{Context, Result};
use serde::Deserialize;

static PINS: &str = include_str!("../parts.json");

/// A package of a Maven repository.
#[derive(Clone, Debug, Deserialize)]
pub struct MavenPart {
    /// `group:artifact:version:type`.
    pub artifact: String,
    /// Its size.
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// A wheel of the Python package index.
#[derive(Clone, Debug, Deserialize)]
pub struct Wheel {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// `<os>-<architecture>`, as Rust names them.
    pub platform: String,
    /// The wheel's file name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

/// All pins.
#[derive(Debug, Deserialize)]
pub struct Parts {
    maven: Vec<MavenPart>,
    python: Vec<Wheel>,
}

impl Parts {
    /// Reads the pins that were compiled in.
    pub fn load() -> Result<Self> {
        serde_json::from_str(PINS).context("`xtask/parts.json` cannot be read")
    }

    /// The part of these coordinates (`group:artifact:version:type`).
    pub fn maven(&self, artifact: &str) -> Result<&MavenPart> {
        self.maven
            .iter()
            .find(|part| part.artifact == artifact)
            .with_context(|| format!("`{artifact}` has no pin: add its size and SHA-256 to `xtask/parts.json`"))
    }

    /// The wheel of this package and version for the machine we are on.
    pub fn wheel(&self, package: &str, version: &str) -> Result<&Wheel> {
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        self.python
            .iter()
            .find(|wheel| wheel.package == package && wheel.version == version && wheel.platform == platform)
            .with_context(|| format!("no pinned `{package}` {version} fits this machine ({platform}): install a JDK and set OPENSEARCH_JAVA_HOME"))
    }
}

impl MavenPart {
    /// `artifact-version.type`, as Maven writes it.
    pub fn file_name(&self) -> Result<String> {
        let (_, artifact, version, kind) = self.coordinates()?;
        Ok(format!("{artifact}-{version}.{kind}"))
    }

    /// Group, artifact, version, type.
    pub fn coordinates(&self) -> Result<(&str, &str, &str, &str)> {
        let mut fields = self.artifact.split(':');
        match (fields.next(), fields.next(), fields.next(), fields.next(), fields.next()) {
            (Some(group), Some(artifact), Some(version), Some(kind), None) => Ok((group, artifact, version, kind)),
            _ => anyhow::bail!("`{}` in `xtask/parts.json` is not `group:artifact:version:type`", self.artifact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_well_formed_and_unique() {
        let parts = Parts::load().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for part in &parts.maven {
            part.coordinates().unwrap();
            assert!(seen.insert(part.file_name().unwrap()), "{} is pinned twice", part.artifact);
            assert!(is_sum(&part.sha256), "{}", part.artifact);
        }
        for wheel in &parts.python {
            assert!(seen.insert(wheel.file.clone()), "{} is pinned twice", wheel.file);
            assert!(is_sum(&wheel.sha256), "{}", wheel.file);
            assert!(wheel.file.starts_with(&format!("{}-{}-", wheel.package, wheel.version)));
        }
    }

    fn is_sum(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
}
