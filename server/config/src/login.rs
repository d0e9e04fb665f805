//! How persons log in at a provider, and how long that holds.

use std::path::Path;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use crate::problem::Problems;
use crate::secret::Secret;
use crate::units::Span;

/// Lets persons log in at the provider, so that clients get tokens for them (OpenID Connect, code flow). The provider has to
/// know the gateway as a client that is sent back to `<issuer>/oauth/callback/<name of the provider>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderLogin {
    /// What the provider calls the gateway.
    pub client_id: String,

    /// The secret it gave the gateway, from the environment or a file. Without one the gateway is a public client there.
    #[serde(default)]
    pub secret: Option<Secret>,

    /// What people call the provider, on the page where they choose. Default: its name.
    #[serde(default)]
    pub title: Option<String>,

    /// The scopes asked for there. Default: `openid`.
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,

    /// Which of the provider's tokens says what a person is and may (`claims`, `scope_mapping`). Default: `id_token`.
    #[serde(default)]
    pub rights_from: RightsFrom,

    /// The value of `secret`.
    #[serde(skip)]
    #[schemars(skip)]
    pub secret_value: Option<SecretString>,
}

/// A token of a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RightsFrom {
    /// The access token: it must be one that would be taken from a client, for `audience`.
    AccessToken,
    /// The ID token.
    #[default]
    IdToken,
}

/// How long a login holds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// How long a person stays logged in at the gateway, `5m` to `7d`.
    pub lifetime: Span,
    /// After how long without use a person has to log in again, at most `lifetime`.
    pub idle: Span,
    /// How long a refresh token is good that is not used, at most `lifetime`. None is good longer than the login it came from.
    pub refresh_idle: Span,
}

fn default_scopes() -> Vec<String> {
    vec!["openid".to_owned()]
}

impl Default for Sessions {
    fn default() -> Self {
        Self { lifetime: Span::seconds(12 * 3_600), idle: Span::seconds(3_600), refresh_idle: Span::seconds(8 * 3_600) }
    }
}

impl Sessions {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if !(Span::seconds(300)..=Span::seconds(7 * 86_400)).contains(&self.lifetime) {
            problems.add("sessions.lifetime", "give a time from `5m` to `7d`");
        }
        if self.refresh_idle < Span::seconds(60) || self.refresh_idle > self.lifetime {
            problems.add("sessions.refresh_idle", "give a time from `60s` to `sessions.lifetime`");
        }
        if self.idle < Span::seconds(60) || self.idle > self.lifetime {
            problems.add("sessions.idle", "give a time from `60s` to `sessions.lifetime`");
        }
    }
}

impl ProviderLogin {
    pub(crate) fn resolve(
        &mut self,
        key: &str,
        base: &Path,
        env: &dyn Fn(&str) -> Option<String>,
        problems: &mut Problems,
    ) {
        self.secret_value = self.secret.as_ref().and_then(|secret| secret.fetch(key, base, env, problems));
    }

    pub(crate) fn check(&self, key: &str, problems: &mut Problems) {
        if self.client_id.is_empty() || !self.client_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.add(format!("{key}.client_id"), "name the client that the provider knows the gateway as");
        }
        let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.scopes.iter().all(is_scope) {
            problems.add(format!("{key}.scopes"), "a scope is printable ASCII without spaces");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            problems.add(format!("{key}.scopes"), "`openid` must be among them; without it there is no ID token");
        }
    }
}
