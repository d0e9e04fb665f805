//! Secret values: taken from the environment or from a file of their own, never written into the configuration.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::SecretString;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::problem::Problems;

/// Where a secret value is: `${NAME}` of the environment, or `{file: path}`.
#[derive(Debug, Clone)]
pub enum Secret {
    /// `${NAME}`: the value of this environment variable.
    Environment(String),
    /// A file that holds only the value; one final line break is ignored.
    File(PathBuf),
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`${NAME}` of the environment, or `{file: path}`")
    }

    // What is written is not repeated in the error: somebody may have put the secret itself here.
    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        text.strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .filter(|name| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            })
            .map(|name| Secret::Environment(name.to_owned()))
            .ok_or_else(|| {
                E::custom("a secret is not written into the configuration; give `${NAME}` of the environment, or `{file: path}`")
            })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            file: PathBuf,
        }
        Fields::deserialize(MapAccessDeserializer::new(map)).map(|fields| Secret::File(fields.file))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A secret value: `${NAME}` of the environment, or a file that holds only the value.",
            "oneOf": [
                {"type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$"},
                {
                    "type": "object",
                    "properties": {"file": {"type": "string", "description": "The file; it should be readable by the gateway only."}},
                    "required": ["file"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

impl Secret {
    /// Fetches the value; `key` names the place in the configuration for the problem's sentence.
    pub(crate) fn fetch(
        &self,
        key: &str,
        base: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) -> Option<SecretString> {
        let value = match self {
            Self::Environment(name) => env(name).filter(|value| !value.is_empty()).ok_or_else(|| {
                format!("the environment variable `{name}` is not set; set it, or give `{{file: path}}`")
            }),
            Self::File(file) => {
                let path = base.join(file);
                std::fs::read_to_string(&path)
                    .map(|text| text.strip_suffix('\n').map_or(text.clone(), ToOwned::to_owned))
                    .map_err(|error| format!("cannot read `{}`: {error}", path.display()))
                    .and_then(|text| {
                        if text.is_empty() { Err(format!("the file `{}` is empty", path.display())) } else { Ok(text) }
                    })
            }
        };
        match value {
            Ok(value) => Some(SecretString::from(value)),
            Err(sentence) => {
                problems.add(key, sentence);
                None
            }
        }
    }
}

/// SHA-256 of a client secret, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The digest.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?.as_bytes();
        let mut digest = [0_u8; 32];
        if hex.len() != digest.len() * 2 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(hex.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom("give `sha256:` and the 64 hexadecimal digits of the secret's SHA-256"))
    }
}

impl JsonSchema for SecretHash {
    fn schema_name() -> Cow<'static, str> {
        "SecretHash".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^sha256:[0-9a-fA-F]{64}$",
            "description": "SHA-256 of the secret, which must be random and have at least 32 characters."
        })
    }
}
