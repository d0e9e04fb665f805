//! Outside issuers that vouch for workloads, and what their word is worth here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::claims::{ClaimPath, OneOrMany};
use crate::clients::ClientConfig;
use crate::jwks::Jwks;
use crate::problem::Problems;
use crate::providers::{
    MAX_LEEWAY, MAX_NAME, ProviderConfig, SignatureAlgorithm, all_algorithms, check_outside_url, default_leeway,
};
use crate::units::Span;

const MAX_ISSUERS: usize = 64;
/// Rules of one issuer: each may be looked at for every assertion.
const MAX_RULES: usize = 1_000;
const MAX_CLAIMS: usize = 32;
const MAX_VALUES: usize = 100;
const MAX_TEXT: usize = 256;

/// What every assertion has and what is looked at anyway: none of it tells one workload from another.
const CHECKED_ANYWAY: [&str; 6] = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/// Issuers that speak for everybody's workloads, with the claims that say whose one is.
const SHARED: [(&str, &[&str]); 2] = [
    (
        "https://token.actions.githubusercontent.com",
        &["sub", "repository", "repository_id", "repository_owner", "repository_owner_id"],
    ),
    ("https://gitlab.com", &["sub", "project_path", "project_id", "namespace_path", "namespace_id"]),
];

/// An issuer that signs for workloads who they are: GitHub Actions, GitLab CI, a Kubernetes cluster. A workload exchanges what the issuer gave
/// it for a token (grant `urn:ietf:params:oauth:grant-type:jwt-bearer`, RFC 7523) and needs no secret.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// A short name: letters, digits, `_`, `-`; at most 32. It stands before the workload's name in audit events: `github/repo:acme/app:…`.
    pub name: String,

    /// The `iss` of its assertions, character for character. `https`; plain `http` only to this machine.
    pub issuer: String,

    /// The `aud` an assertion must have, alone, to be meant for this gateway. Have the workload ask for one that nobody else takes: the
    /// address of the gateway.
    pub audience: OneOrMany,

    /// Where its keys are. Default: where its discovery document (`<issuer>/.well-known/openid-configuration`) says.
    #[serde(default)]
    pub jwks_uri: Option<String>,

    /// Its keys, in place of `jwks_uri`, where the gateway cannot reach them.
    #[serde(default)]
    pub jwks: Option<Jwks>,

    /// Certificates (PEM) of the authority that signed the issuer's. Default: the system's authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,

    /// The signature algorithms that are taken. Default: all of these.
    #[serde(default = "all_algorithms")]
    pub algorithms: BTreeSet<SignatureAlgorithm>,

    /// The longest an assertion may be good for, at most `24h`.
    #[serde(default = "default_max_lifetime")]
    pub max_lifetime: Span,

    /// The longest a token is good for that is given for one, `60s` to `24h`. The client's own lifetime holds besides.
    #[serde(default = "default_token_lifetime")]
    pub token_lifetime: Span,

    /// How far the issuer's clock may be from ours, at most `5m`.
    #[serde(default = "default_leeway")]
    pub leeway: Span,

    /// Whether an assertion is good for one token only. `false` is for issuers that give a workload one assertion for a long time, as Kubernetes
    /// does with a mounted token: whoever steals one can then use it until it ends.
    #[serde(default = "yes")]
    pub single_use: bool,

    /// Whom it may speak for. The first rule that fits decides; without one there is no token.
    pub rules: Vec<WorkloadRule>,
}

/// Which workloads become which client.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkloadRule {
    /// What the assertion must say, by the paths of claims; all of it.
    pub claims: BTreeMap<ClaimPath, ClaimValues>,

    /// The client the token is issued to, one of `clients`. It needs no secret, and is then good for nothing else.
    pub client: String,

    /// The scopes that may be had, within those of the client. Default: all of the client's.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// What a claim may be: one value, or a list of which one fits. A text is compared exactly; `*` stands for one or more characters other than
/// `/` and `:`, and `**` for one or more other than `:`, both for printable ASCII only. A number fits the same number, also as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimValues(Vec<ClaimValue>);

/// One value of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue {
    /// A text, or a pattern with `*` or `**`.
    Text(String),
    /// A whole number.
    Number(u64),
    /// `true` or `false`, also as text.
    Flag(bool),
}

impl ClaimValues {
    /// The values, of which one must fit.
    #[must_use]
    pub fn values(&self) -> &[ClaimValue] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ClaimValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let ClaimValues(mut values) = ClaimValues::deserialize(deserializer)?;
        match (values.pop(), values.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(D::Error::custom("a list of values holds no lists")),
        }
    }
}

impl<'de> Deserialize<'de> for ClaimValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = ClaimValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, `true`, `false`, or a list of these")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ClaimValues, E> {
                Ok(ClaimValues(vec![ClaimValue::Text(text.to_owned())]))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<ClaimValues, E> {
                Ok(ClaimValues(vec![ClaimValue::Number(number)]))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<ClaimValues, E> {
                u64::try_from(number)
                    .map_err(|_| E::custom("no id is negative"))
                    .and_then(|number| self.visit_u64(number))
            }

            fn visit_bool<E: Error>(self, flag: bool) -> Result<ClaimValues, E> {
                Ok(ClaimValues(vec![ClaimValue::Flag(flag)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ClaimValues, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(ClaimValues(values))
            }
        }

        deserializer.deserialize_any(Values)
    }
}

impl JsonSchema for ClaimValues {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimValues".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a claim may be: one value, or a list of which one fits. In a text `*` stands for one or more characters other than `/` and `:`, `**` for one or more other than `:`.",
            "anyOf": [
                {"type": ["string", "boolean"]},
                {"type": "integer", "minimum": 0},
                {"type": "array", "items": {"type": ["string", "boolean", "integer"]}}
            ],
            "examples": ["refs/heads/main", "acme/*", 74]
        })
    }
}

const fn default_max_lifetime() -> Span {
    Span::seconds(3_600)
}

const fn default_token_lifetime() -> Span {
    Span::seconds(600)
}

const fn yes() -> bool {
    true
}

impl TrustedIssuer {
    pub(crate) fn resolve(&mut self, base: &Path) {
        if let Some(ca) = &mut self.ca {
            *ca = base.join(&*ca);
        }
    }

    fn check(&self, own_issuer: &str, clients: &[ClientConfig], problems: &mut Problems) {
        let key = format!("trusted_issuers `{}`", self.name.escape_debug());
        let name_is_plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if self.name.is_empty() || self.name.len() > MAX_NAME || !name_is_plain {
            problems.add(&key, format!("a name has 1 to {MAX_NAME} letters, digits, `_` or `-`"));
        }
        if let Err(sentence) = check_outside_url(&self.issuer) {
            problems.add(format!("{key}: issuer"), format!("`{}`: {sentence}", self.issuer));
        }
        if self.issuer.trim_end_matches('/').eq_ignore_ascii_case(own_issuer) {
            problems.add(format!("{key}: issuer"), "is the gateway's own; it vouches for nobody but its clients");
        }
        if self.audience.values().is_empty() || self.audience.values().iter().any(String::is_empty) {
            problems.add(
                format!("{key}: audience"),
                "name the audience of the assertions that are meant for this gateway; without one, those for any other service would open it",
            );
        }
        match (&self.jwks_uri, &self.jwks) {
            (Some(_), Some(_)) => problems.add(&key, "give `jwks_uri` or `jwks`, not both"),
            (Some(uri), None) => {
                if let Err(sentence) = check_outside_url(uri) {
                    problems.add(format!("{key}: jwks_uri"), format!("`{uri}`: {sentence}"));
                }
            }
            (None, Some(jwks)) => jwks.check(&format!("{key}: jwks"), problems),
            (None, None) => {}
        }
        if let Some(ca) = &self.ca
            && !ca.is_file()
        {
            problems.add(format!("{key}: ca"), format!("there is no file `{}`", ca.display()));
        }
        if self.algorithms.is_empty() {
            problems.add(format!("{key}: algorithms"), "name at least one, or leave the key out for all");
        }
        self.check_times(&key, problems);
        if self.rules.is_empty() || self.rules.len() > MAX_RULES {
            problems
                .add(format!("{key}: rules"), format!("give 1 to {MAX_RULES} rules; without one nobody gets a token"));
        }
        for (number, rule) in self.rules.iter().enumerate() {
            let key = format!("{key}: rule {}", number + 1);
            if !clients.iter().any(|client| client.id == rule.client) {
                problems
                    .add(&key, format!("there is no client `{}`; list it in `clients`", rule.client.escape_debug()));
            }
            rule.check(&key, &self.issuer, problems);
        }
    }

    fn check_times(&self, key: &str, problems: &mut Problems) {
        if self.leeway > MAX_LEEWAY {
            problems.add(format!("{key}: leeway"), "expired assertions must not work for long; give at most `5m`");
        }
        if !(Span::seconds(1)..=Span::seconds(86_400)).contains(&self.max_lifetime) {
            problems.add(format!("{key}: max_lifetime"), "give a length of time from `1s` to `24h`");
        }
        if !(Span::seconds(60)..=Span::seconds(86_400)).contains(&self.token_lifetime) {
            problems.add(format!("{key}: token_lifetime"), "give a length of time from `60s` to `24h`");
        }
    }
}

impl WorkloadRule {
    fn check(&self, key: &str, issuer: &str, problems: &mut Problems) {
        if self.claims.len() > MAX_CLAIMS {
            problems.add(key, format!("has more than {MAX_CLAIMS} claims"));
        }
        let mut singles_out = false;
        for (path, values) in &self.claims {
            let name = path.steps().join(".");
            let key = format!("{key}: claims `{}`", name.escape_debug());
            if CHECKED_ANYWAY.contains(&name.as_str()) {
                problems.add(&key, "is looked at anyway and tells no workload from another; name what does");
                continue;
            }
            if values.0.is_empty() || values.0.len() > MAX_VALUES {
                problems.add(&key, format!("give 1 to {MAX_VALUES} values"));
            }
            if let Some(sentence) = values.0.iter().find_map(|value| value.problem()) {
                problems.add(&key, sentence);
            }
            singles_out |= values.0.iter().all(ClaimValue::singles_out);
        }
        if !singles_out {
            problems.add(
                key,
                "fits workloads of anybody; name at least one claim that says whose they are, without `*` or with the owner before it, as `acme/*`",
            );
        }
        let shared = SHARED.into_iter().find(|(shared, _)| *shared == issuer.trim_end_matches('/'));
        if let Some((_, names)) = shared.filter(|(_, names)| !self.names_an_owner(names)) {
            problems.add(
                key,
                format!(
                    "this issuer signs for the workloads of everybody; say whose these are by one of the claims `{}`, with no `*` in or before the owner's name",
                    names.join("`, `")
                ),
            );
        }
    }

    /// Whether one of these claims says whose the workload is.
    fn names_an_owner(&self, names: &[&str]) -> bool {
        self.claims.iter().any(|(path, values)| {
            let is_named = matches!(path.steps(), [only] if names.contains(&only.as_str()));
            is_named && values.0.iter().all(ClaimValue::is_of_one_owner)
        })
    }
}

impl ClaimValue {
    fn problem(&self) -> Option<String> {
        let Self::Text(text) = self else { return None };
        if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Some(format!("a text has 1 to {MAX_TEXT} bytes and no control characters"));
        }
        text.contains("***").then(|| format!("`{text}`: write `*`, or `**` where `/` may be among what it stands for"))
    }

    /// What stands before the first `*`; none when there is none.
    fn before_star(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.split_once('*').map(|(before, _)| before),
            Self::Number(_) | Self::Flag(_) => None,
        }
    }

    /// Whether it is more than a kind of workload that anybody has.
    fn singles_out(&self) -> bool {
        !matches!(self, Self::Flag(_)) && self.before_star().is_none_or(|before| !before.is_empty())
    }

    /// Whether the owner, who stands before the first `/`, is written out.
    fn is_of_one_owner(&self) -> bool {
        !matches!(self, Self::Flag(_)) && self.before_star().is_none_or(|before| before.contains('/'))
    }
}

/// Tells the clients that somebody may vouch for them.
pub(crate) fn resolve(issuers: &mut [TrustedIssuer], base: &Path, clients: &mut [ClientConfig]) {
    for issuer in issuers {
        issuer.resolve(base);
        for rule in &issuer.rules {
            for client in clients.iter_mut().filter(|client| client.id == rule.client) {
                client.is_vouched_for = true;
            }
        }
    }
}

pub(crate) fn check_all(
    issuers: &[TrustedIssuer],
    own_issuer: &str,
    providers: &[ProviderConfig],
    clients: &[ClientConfig],
    problems: &mut Problems,
) {
    if issuers.len() > MAX_ISSUERS {
        problems.add("trusted_issuers", format!("there are more than {MAX_ISSUERS}"));
    }
    let mut names: BTreeSet<_> = providers.iter().map(|provider| provider.name.to_ascii_lowercase()).collect();
    let mut seen = BTreeSet::new();
    for issuer in issuers {
        let key = format!("trusted_issuers `{}`", issuer.name.escape_debug());
        if !names.insert(issuer.name.to_ascii_lowercase()) {
            problems.add(&key, "this name is used twice, here or in `providers`");
        }
        let address = issuer.issuer.trim_end_matches('/');
        if !seen.insert(address) {
            problems.add(format!("{key}: issuer"), format!("`{}` is used twice", issuer.issuer));
        }
        if providers.iter().any(|provider| provider.issuer.trim_end_matches('/') == address) {
            problems.add(
                format!("{key}: issuer"),
                format!(
                    "`{}` is in `providers` as well: what it signs would be an access token here and an assertion there; take one away",
                    issuer.issuer
                ),
            );
        }
        issuer.check(own_issuer, clients, problems);
    }
}
