//! What requests to managed OpenSearch are signed with (`driver: sigv4`).

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::problem::Problems;
use crate::secret::Secret;

/// The longest of the values, in bytes; session tokens are one to two thousand long.
const MAX_VALUE: usize = 4_096;

/// What signs requests: AWS Signature Version 4 with the keys of one principal. Keys in files are looked at every second
/// and taken into use when they have changed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sigv4 {
    /// The region of the domain or collection, for example `eu-central-1`.
    pub region: String,

    /// Which service: `es` (OpenSearch Service), or `aoss` (OpenSearch Serverless).
    #[serde(default)]
    pub service: AwsService,

    /// The keys in one file, as `aws configure export-credentials` prints them: a JSON object with `AccessKeyId`,
    /// `SecretAccessKey`, and if there are any `SessionToken` and `Expiration`. For keys that are renewed: whoever renews them
    /// replaces one file.
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,

    /// Instead of `credentials_file`: the access key's id.
    #[serde(default)]
    pub access_key_id: Option<Secret>,

    /// The access key itself.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,

    /// The session token, if the key is a temporary one.
    #[serde(default)]
    pub session_token: Option<Secret>,
}

/// A managed service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AwsService {
    /// `OpenSearch` Service.
    #[default]
    Es,
    /// `OpenSearch` Serverless.
    Aoss,
}

impl AwsService {
    /// Its name in signatures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::Aoss => "aoss",
        }
    }
}

/// The keys of a principal, as they are at the moment.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// The access key's id, which stands in every signed request.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: SecretString,
    /// The session token, for a temporary key.
    pub session_token: Option<SecretString>,
    /// When they end, as written (RFC 3339).
    pub expiration: Option<String>,
}

/// What `credentials_file` holds.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CredentialsFile {
    access_key_id: String,
    secret_access_key: SecretString,
    #[serde(default)]
    session_token: Option<SecretString>,
    #[serde(default)]
    expiration: Option<String>,
}

impl Sigv4 {
    /// Makes paths absolute.
    pub(crate) fn resolve(&mut self, base: &Path) {
        if let Some(file) = &mut self.credentials_file {
            *file = base.join(&*file);
        }
        let secrets = [&mut self.access_key_id, &mut self.secret_access_key, &mut self.session_token];
        for secret in secrets.into_iter().flatten() {
            if let Secret::File(path) = secret {
                *path = base.join(&*path);
            }
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        let mut add = |key: &str, sentence: &str| problems.add(format!("upstream.engine.sigv4.{key}"), sentence);
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !matches!(self.region.len(), 1..=64) || !self.region.bytes().all(is_plain) {
            add("region", "give a region, for example `eu-central-1`");
        }
        let any_value =
            self.access_key_id.is_some() || self.secret_access_key.is_some() || self.session_token.is_some();
        match (&self.credentials_file, any_value) {
            (Some(_), true) => {
                add("credentials_file", "give this, or `access_key_id` and `secret_access_key`, not both")
            }
            (None, _) if self.access_key_id.is_none() || self.secret_access_key.is_none() => {
                add("credentials_file", "give this, or `access_key_id` and `secret_access_key`");
            }
            _ => {}
        }
    }

    /// Reads the keys as they are now.
    ///
    /// # Errors
    /// A sentence without any of the values.
    pub fn read_now(&self) -> Result<AwsKeys, String> {
        self.read(&|name| std::env::var(name).ok())
    }

    pub(crate) fn read(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<AwsKeys, String> {
        let keys = match &self.credentials_file {
            Some(path) => {
                let file = path.display();
                let text = std::fs::read(path).map_err(|error| format!("cannot read `{file}`: {error}"))?;
                // What the parser says could repeat what stands there.
                let read: CredentialsFile = serde_json::from_slice(&text).map_err(|_| {
                    format!("`{file}` is no JSON object with `AccessKeyId` and `SecretAccessKey` as texts")
                })?;
                let CredentialsFile { access_key_id, secret_access_key, session_token, expiration } = read;
                AwsKeys { access_key_id, secret_access_key, session_token, expiration }
            }
            None => {
                let fetch = |key: &str, secret: &Option<Secret>| {
                    let mut problems = Problems::default();
                    let value = secret.as_ref().and_then(|it| it.fetch(key, Path::new("."), env, &mut problems));
                    problems.first().map_or(Ok(value), Err)
                };
                let missing = || "`access_key_id` and `secret_access_key` are not both there".to_owned();
                let access_key_id = fetch("access_key_id", &self.access_key_id)?.ok_or_else(missing)?;
                AwsKeys {
                    access_key_id: access_key_id.expose_secret().to_owned(),
                    secret_access_key: fetch("secret_access_key", &self.secret_access_key)?.ok_or_else(missing)?,
                    session_token: fetch("session_token", &self.session_token)?,
                    expiration: None,
                }
            }
        };
        keys.check().map(|()| keys)
    }
}

impl AwsKeys {
    fn check(&self) -> Result<(), String> {
        let is_plain =
            |value: &str| matches!(value.len(), 1..=MAX_VALUE) && value.bytes().all(|b| b.is_ascii_graphic());
        let token = self.session_token.as_ref().map_or("-", |token| token.expose_secret());
        let id_is_plain =
            !self.access_key_id.is_empty() && self.access_key_id.bytes().all(|b| b.is_ascii_alphanumeric());
        for (name, is_good) in [
            ("access key id", id_is_plain && self.access_key_id.len() <= 128),
            ("secret access key", is_plain(self.secret_access_key.expose_secret())),
            ("session token", is_plain(token)),
        ] {
            if !is_good {
                return Err(format!(
                    "the {name} is empty, too long, or holds what none has, such as a space or a line break"
                ));
            }
        }
        Ok(())
    }
}
