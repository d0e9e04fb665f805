//! Clients that are managed in the configuration file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::addresses::AddressRules;
use crate::backend::BackendUser;
use crate::certificates::CertificateName;
use crate::grants::{FieldSets, GrantConfig, Source};
use crate::identity::{IdentityKind, check_backend_roles};
use crate::namespaces::Namespace;
use crate::problem::Problems;
use crate::providers::RESERVED_ID_PREFIX;
use crate::secret::{Secret, SecretHash};
use crate::token_exchange::TokenExchange;
use crate::units::Span;

/// Shorter secrets can be guessed from their hash.
const MIN_SECRET_LENGTH: usize = 32;

/// A machine, agent or application that gets tokens with an id and a secret of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// The `client_id`: letters, digits, `.`, `_`, `-`; at most 128.
    pub id: String,

    /// What people call it; shown in lists.
    #[serde(default)]
    pub name: Option<String>,

    /// `machine` (Cedar type `Client`) or `agent` (Cedar type `Agent`).
    #[serde(default)]
    pub kind: ClientKind,

    /// The secret itself, from the environment or a file; random, at least 32 characters.
    #[serde(default)]
    pub secret: Option<Secret>,

    /// Instead of `secret`: its SHA-256.
    #[serde(default)]
    pub secret_hash: Option<SecretHash>,

    /// The scopes the client may ask for, for example `read:logs-*`.
    #[serde(default)]
    pub scopes: Vec<String>,

    /// Further scopes, of which only some documents or fields are to be seen.
    #[serde(default)]
    pub grants: Vec<GrantConfig>,

    /// Groups for Cedar: `principal in Group::"agents"`.
    #[serde(default)]
    pub groups: BTreeSet<String>,

    /// Free labels, shown in lists and audit events.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,

    /// How long this client's tokens are valid. Default: `tokens.lifetime`.
    #[serde(default)]
    pub token_lifetime: Option<Span>,

    /// The form of this client's tokens: `jwt`, or `opaque` for systems that keep tokens in a short field or scan for leaks by prefix.
    #[serde(default)]
    pub access_token_format: TokenFormat,

    /// What this client may send. Default: `limits.per_client`.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,

    /// Let the client send `Authorization: Basic` with id and secret to the data plane instead of a token, and do what its
    /// scopes permit: for shippers that speak nothing else. A stolen secret then works until it is changed.
    #[serde(default)]
    pub basic: bool,

    /// Let the client ask at `/oauth/introspect` about the tokens of all clients (RFC 7662): for resource servers. Everybody may ask about
    /// their own.
    #[serde(default)]
    pub introspect: bool,

    /// Let the client exchange tokens of others for tokens of its own at the token endpoint (RFC 8693): within what both may have, and
    /// ending with the other's.
    #[serde(default)]
    pub token_exchange: Option<TokenExchange>,

    /// The name in a TLS certificate that makes it this client's: it then needs no other credential on the data plane, and may do
    /// what its scopes permit. Needs `tls.client_certificates`; `secret` may then be left out.
    #[serde(default)]
    pub certificate: Option<CertificateName>,

    /// Under which identity its requests reach the engine.
    #[serde(default)]
    pub identity: IdentityKind,

    /// With `identity: own`: the backend roles the engine is told.
    #[serde(default)]
    pub backend_roles: BTreeSet<String>,

    /// With `driver: basic`: the user of the cluster as which its requests are sent; of several clusters each may have its own.
    #[serde(default)]
    pub backend_user: Option<BackendUser>,

    /// The namespace it is in, whose rules it keeps to besides its own.
    #[serde(default)]
    pub namespace: Option<String>,

    /// Where this client may be used from, with its secret and with its tokens.
    #[serde(default)]
    pub addresses: AddressRules,

    /// The namespaces it is in, from the inside out.
    #[serde(skip)]
    #[schemars(skip)]
    pub within: Vec<Namespace>,

    /// The value of `secret`.
    #[serde(skip)]
    #[schemars(skip)]
    pub secret_value: Option<SecretString>,
}

/// What a client is; decides its Cedar type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// An AI agent.
    Agent,
    /// A service, job, shipper or application.
    #[default]
    Machine,
}

/// The form of access tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenFormat {
    /// Signed, and carrying what it allows (RFC 9068).
    #[default]
    Jwt,
    /// Random: `o4s_at_`, 43 characters and a checksum. What it allows only the gateway knows.
    Opaque,
}

/// A token bucket: it holds `burst` requests and is filled at `requests_per_second`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests in one second, on average.
    pub requests_per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

impl RateLimit {
    pub(crate) fn check(self, key: &str, problems: &mut Problems) {
        if self.requests_per_second == 0 || self.burst == 0 {
            problems.add(key, "a limit of zero lets nothing through; give at least 1, or take the client away");
        }
    }
}

impl ClientConfig {
    pub(crate) fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        let key = format!("clients `{}`: secret", self.id);
        self.secret_value = self.secret.as_ref().and_then(|secret| secret.fetch(&key, base, env, problems));
    }

    fn check(&self, field_sets: &FieldSets, problems: &mut Problems) {
        let key = format!("clients `{}`", self.id);
        let id_is_plain = self.id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if self.id.is_empty() || self.id.len() > 128 || !id_is_plain {
            problems.add(&key, "an id has 1 to 128 letters, digits, `.`, `_` or `-`");
        }
        if self.id.starts_with(RESERVED_ID_PREFIX) {
            problems.add(
                &key,
                format!(
                    "ids that begin with `{RESERVED_ID_PREFIX}` are those of providers' principals; choose another one"
                ),
            );
        }
        match (&self.secret, &self.secret_hash) {
            (None, None) if self.certificate.is_some() && self.basic => {
                problems.add(&key, "`basic: true` needs `secret` or `secret_hash`")
            }
            (None, None) if self.certificate.is_some() => {}
            (None, None) => problems.add(
                &key,
                "give `secret`, `secret_hash` or `certificate`; a client without one cannot prove who it is",
            ),
            (Some(_), Some(_)) => problems.add(&key, "give `secret` or `secret_hash`, not both"),
            _ => {}
        }
        if let Some(secret) = &self.secret_value
            && secret.expose_secret().chars().count() < MIN_SECRET_LENGTH
        {
            problems.add(&key, format!("the secret is shorter than {MIN_SECRET_LENGTH} characters; make a random one, for example with `openssl rand -hex 32`"));
        }
        for grant in &self.grants {
            grant.check(&format!("{key}: grants"), Source::Client(&self.labels), field_sets, problems);
        }
        check_backend_roles(&key, self.identity, &self.backend_roles, !self.grants.is_empty(), problems);
        if self.scopes.is_empty() && self.grants.is_empty() {
            problems.add(&key, "give at least one scope; a client without scopes can ask for nothing");
        }
        if let Some(lifetime) = self.token_lifetime
            && !(Span::seconds(60)..=Span::seconds(86_400)).contains(&lifetime)
        {
            problems.add(&key, "`token_lifetime` is from `60s` to `24h`");
        }
        if let Some(limit) = self.rate_limit {
            limit.check(&format!("{key}: rate_limit"), problems);
        }
    }
}

pub(crate) fn check_all(clients: &[ClientConfig], field_sets: &FieldSets, problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for client in clients {
        if !seen.insert(client.id.as_str()) {
            problems.add(format!("clients `{}`", client.id), "this id is used twice");
        }
        client.check(field_sets, problems);
    }
}

/// Makes sure that a certificate cannot be two clients', as far as that can be seen from here, and that any is asked for.
pub(crate) fn check_certificates(clients: &[ClientConfig], are_taken: bool, problems: &mut Problems) {
    let mut seen = HashMap::new();
    for client in clients {
        let Some(name) = &client.certificate else { continue };
        let key = format!("clients `{}`: certificate", client.id);
        if !are_taken {
            problems.add(&key, "no certificates are asked for; name the authorities in `tls.client_certificates`");
        }
        if let Some(other) = seen.insert(name, &client.id) {
            problems.add(&key, format!("the client `{other}` has the same one; a certificate is one client's"));
        }
    }
}
