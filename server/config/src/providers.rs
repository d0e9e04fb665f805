//! Outside identity providers whose access tokens the gateway takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::backend::{BackendUserRule, check_rules};
use crate::claims::{ClaimPaths, OneOrMany};
use crate::clients::RateLimit;
use crate::grants::{FieldSets, GrantOrScope, Source};
use crate::identity::{IdentityKind, check_backend_roles};
use crate::login::ProviderLogin;
use crate::problem::Problems;
use crate::units::Span;

/// What the id of no client may begin with: the engine knows the principals of providers by names that begin so, and a
/// client of that name would be one of them to it.
pub const RESERVED_ID_PREFIX: &str = "idp.";

/// The longest name of a provider. With it a principal's name still fits into what the engine is told.
pub(crate) const MAX_NAME: usize = 32;
pub(crate) const MAX_LEEWAY: Span = Span::seconds(300);
/// Providers, and entries of one scope mapping: each is looked at for a token that is seen for the first time.
const MAX_PROVIDERS: usize = 64;
const MAX_MAPPINGS: usize = 1_000;

/// An issuer whose JWT access tokens (RFC 9068, or Keycloak's) are taken beside the gateway's own.
///
/// A token is taken when it is signed by a key of the provider, meant for `audience` and in force. What it may do is
/// said by `scope_mapping` alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    /// A short name: letters, digits, `_`, `-`; at most 32. It stands before every name the provider gives:
    /// `User::"keycloak/ada"` and `Group::"keycloak/analysts"` in policies, `keycloak/ada` in audit events.
    pub name: String,

    /// The `iss` of its tokens, character for character. `https`; plain `http` only to this machine.
    pub issuer: String,

    /// The `aud` of the tokens that are meant for this gateway; one of these must be in the token.
    pub audience: OneOrMany,

    /// Only tokens issued to these clients of the provider (`azp`, else `client_id`). Default: to any.
    #[serde(default)]
    pub authorized_parties: Option<BTreeSet<String>>,

    /// Where its keys are. Default: where its discovery document (`<issuer>/.well-known/openid-configuration`) says.
    #[serde(default)]
    pub jwks_uri: Option<String>,

    /// Certificates (PEM) of the authority that signed the provider's. Default: the system's authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,

    /// The signature algorithms that are taken. Default: all of these.
    #[serde(default = "all_algorithms")]
    pub algorithms: BTreeSet<SignatureAlgorithm>,

    /// What the token's header may say it is (`typ`). Default: `jwt`, `at_jwt`, or nothing.
    #[serde(default = "default_types")]
    pub types: BTreeSet<TokenType>,

    /// How far the provider's clock may be from ours, at most `5m`.
    #[serde(default = "default_leeway")]
    pub leeway: Span,

    /// Where in a token things stand.
    #[serde(default)]
    pub claims: ClaimPaths,

    /// Which of our scopes its roles, groups and scopes stand for. What is not listed gives nothing.
    #[serde(default)]
    pub scope_mapping: ScopeMapping,

    /// What the provider's tokens speak for, unless `client_kinds` says otherwise.
    #[serde(default)]
    pub kind: OutsideKind,

    /// Clients of the provider whose tokens speak for the client itself and not for a person: a machine or an agent. Do
    /// not list a client people log in with: all of them would be that client.
    #[serde(default)]
    pub client_kinds: BTreeMap<String, OutsideKind>,

    /// Under which identity its principals' requests reach the engine.
    #[serde(default)]
    pub identity: IdentityKind,

    /// With `identity: own`: the backend roles a token may bring along in `claims.backend_roles`. What is not listed is left out.
    #[serde(default)]
    pub backend_roles: BTreeSet<String>,

    /// With `driver: basic`: as which users of the cluster its principals' requests are sent. The first entry that fits decides; for
    /// whom none does, nothing is sent.
    #[serde(default)]
    pub backend_users: Vec<BackendUserRule>,

    /// What each principal of the provider may send. Default: `limits.per_client`.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,

    /// Lets persons log in there.
    #[serde(default)]
    pub login: Option<ProviderLogin>,
}

/// What an outside principal is; decides its Cedar type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutsideKind {
    /// An AI agent (`Agent`), named by its client id.
    Agent,
    /// A service, job or shipper (`Client`), named by its client id.
    Client,
    /// A person (`User`), named by the claim `subject`.
    #[default]
    User,
}

/// Asymmetric signature algorithms, by their names in RFC 7518 section 3.1 and RFC 8037. There is no `none` and no HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SignatureAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDsa,
    ];

    /// The name, as in a token's `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A `typ` of a token's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// No `typ` at all.
    Absent,
    /// `at+jwt` (RFC 9068).
    AtJwt,
    /// `JWT`.
    Jwt,
}

/// Which of our scopes stand for what an outside token says. A token gets the scopes of everything it has. A scope may be
/// held to some rows and fields: `{scope: read:orders-*, rows: {term: {tenant: "${claim.org}"}}}`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeMapping {
    /// From a role.
    pub roles: BTreeMap<String, Vec<GrantOrScope>>,
    /// From a group, as the provider writes it.
    pub groups: BTreeMap<String, Vec<GrantOrScope>>,
    /// From a scope of the provider.
    pub scopes: BTreeMap<String, Vec<GrantOrScope>>,
}

impl ScopeMapping {
    /// The three kinds, each with its key.
    fn parts(&self) -> [(&'static str, &BTreeMap<String, Vec<GrantOrScope>>); 3] {
        [("roles", &self.roles), ("groups", &self.groups), ("scopes", &self.scopes)]
    }
}

pub(crate) fn all_algorithms() -> BTreeSet<SignatureAlgorithm> {
    SignatureAlgorithm::ALL.into_iter().collect()
}

fn default_types() -> BTreeSet<TokenType> {
    BTreeSet::from([TokenType::Absent, TokenType::AtJwt, TokenType::Jwt])
}

pub(crate) const fn default_leeway() -> Span {
    Span::seconds(30)
}

impl ProviderConfig {
    pub(crate) fn resolve(&mut self, base: &Path, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) {
        if let Some(ca) = &mut self.ca {
            *ca = base.join(&*ca);
        }
        let key = format!("providers `{}`: login.secret", self.name);
        if let Some(login) = &mut self.login {
            login.resolve(&key, base, env, problems);
        }
    }

    /// Whether something it grants is held to rows or fields.
    pub(crate) fn has_restricted_grants(&self) -> bool {
        let is_restricted =
            |given: &Vec<GrantOrScope>| given.iter().any(|given| matches!(given, GrantOrScope::Grant(_)));
        self.scope_mapping.parts().iter().any(|(_, map)| map.values().any(is_restricted))
    }

    fn check(&self, own_issuer: &str, field_sets: &FieldSets, problems: &mut Problems) {
        let key = format!("providers `{}`", self.name);
        let name_is_plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if self.name.is_empty() || self.name.len() > MAX_NAME || !name_is_plain {
            problems.add(&key, format!("a name has 1 to {MAX_NAME} letters, digits, `_` or `-`"));
        }
        if let Err(sentence) = check_outside_url(&self.issuer) {
            problems.add(format!("{key}: issuer"), format!("`{}`: {sentence}", self.issuer));
        }
        if self.issuer.trim_end_matches('/').eq_ignore_ascii_case(own_issuer) {
            problems.add(format!("{key}: issuer"), "is the gateway's own; its tokens are taken anyway");
        }
        if let Some(uri) = &self.jwks_uri
            && let Err(sentence) = check_outside_url(uri)
        {
            problems.add(format!("{key}: jwks_uri"), format!("`{uri}`: {sentence}"));
        }
        if let Some(ca) = &self.ca
            && !ca.is_file()
        {
            problems.add(format!("{key}: ca"), format!("there is no file `{}`", ca.display()));
        }
        let audience = self.audience.values();
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            problems.add(
                format!("{key}: audience"),
                "name the audience of the tokens that are meant for this gateway; without one, tokens for any other service would open it",
            );
        }
        if let Some(parties) = &self.authorized_parties
            && (parties.is_empty() || parties.contains(""))
        {
            problems
                .add(format!("{key}: authorized_parties"), "name at least one client, or leave the key out for any");
        }
        if self.algorithms.is_empty() {
            problems.add(format!("{key}: algorithms"), "name at least one, or leave the key out for all");
        }
        if self.types.is_empty() {
            problems.add(format!("{key}: types"), "name at least one of `jwt`, `at_jwt`, `absent`");
        }
        if self.leeway > MAX_LEEWAY {
            problems.add(format!("{key}: leeway"), "expired tokens must not work for long; give at most `5m`");
        }
        check_backend_roles(&key, self.identity, &self.backend_roles, self.has_restricted_grants(), problems);
        if self.identity == IdentityKind::Own && self.claims.backend_roles.values().is_empty() {
            problems.add(
                format!("{key}: claims.backend_roles"),
                "`identity: own` needs to know where a token says its backend roles, for example `realm_access.roles`",
            );
        }
        self.check_mapping(&key, field_sets, problems);
        self.check_backend_users(&format!("{key}: backend_users"), problems);
        if let Some(limit) = self.rate_limit {
            limit.check(&format!("{key}: rate_limit"), problems);
        }
        if let Some(login) = &self.login {
            login.check(&format!("{key}: login"), problems);
        }
    }

    /// The scopes it gives, and of these the ones that are held to rows or fields.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = (&str, bool)> {
        let given = self.scope_mapping.parts().into_iter().flat_map(|(_, map)| map.values().flatten());
        given.map(|given| match given {
            GrantOrScope::Scope(scope) => (scope.as_str(), false),
            GrantOrScope::Grant(grant) => (grant.scope.as_str(), true),
        })
    }

    fn check_backend_users(&self, key: &str, problems: &mut Problems) {
        check_rules(key, &self.backend_users, problems);
        let names =
            |of: fn(&BackendUserRule) -> &Option<String>| self.backend_users.iter().any(|rule| of(rule).is_some());
        if names(|rule| &rule.role) && self.claims.roles.values().is_empty() {
            problems.add(key, "says what roles mean, but `claims.roles` does not say where they stand");
        }
        if names(|rule| &rule.group) && self.claims.groups.is_none() {
            problems.add(key, "says what groups mean, but `claims.groups` does not say where they stand");
        }
    }

    fn check_mapping(&self, key: &str, field_sets: &FieldSets, problems: &mut Problems) {
        let parts = self.scope_mapping.parts();
        if parts.iter().map(|(_, map)| map.len()).sum::<usize>() > MAX_MAPPINGS {
            problems.add(format!("{key}: scope_mapping"), format!("has more than {MAX_MAPPINGS} entries"));
        }
        for (kind, map) in parts {
            for (from, given) in map {
                for grant in given {
                    if let GrantOrScope::Grant(grant) = grant {
                        let key = format!("{key}: scope_mapping.{kind} `{from}`");
                        grant.check(&key, Source::Provider, field_sets, problems);
                    }
                }
                if from.is_empty() || given.is_empty() {
                    problems.add(
                        format!("{key}: scope_mapping.{kind} `{from}`"),
                        "name what is mapped and at least one scope, or leave the entry out: what is not listed gives nothing",
                    );
                }
            }
        }
        if !self.scope_mapping.roles.is_empty() && self.claims.roles.values().is_empty() {
            problems.add(
                format!("{key}: scope_mapping.roles"),
                "says what roles give, but `claims.roles` does not say where they stand, for example `realm_access.roles`",
            );
        }
        if !self.scope_mapping.groups.is_empty() && self.claims.groups.is_none() {
            problems.add(
                format!("{key}: scope_mapping.groups"),
                "says what groups give, but `claims.groups` does not say where they stand",
            );
        }
        for (client, kind) in &self.client_kinds {
            if client.is_empty() || *kind == OutsideKind::User {
                problems.add(
                    format!("{key}: client_kinds `{client}`"),
                    "name a client, and `client` or `agent` as what it is",
                );
            }
        }
    }
}

pub(crate) fn check_all(
    providers: &[ProviderConfig],
    own_issuer: &str,
    field_sets: &FieldSets,
    problems: &mut Problems,
) {
    if providers.len() > MAX_PROVIDERS {
        problems.add("providers", format!("there are more than {MAX_PROVIDERS}"));
    }
    let (mut names, mut issuers) = (BTreeSet::new(), BTreeSet::new());
    for provider in providers {
        // Two names that differ in case only are one to a reader of an audit event.
        if !names.insert(provider.name.to_ascii_lowercase()) {
            problems.add(format!("providers `{}`", provider.name), "this name is used twice");
        }
        if !issuers.insert(provider.issuer.trim_end_matches('/')) {
            problems.add(
                format!("providers `{}`: issuer", provider.name),
                format!("`{}` is used twice; a token must belong to one provider", provider.issuer),
            );
        }
        provider.check(own_issuer, field_sets, problems);
    }
}

/// Where the gateway may be sent by its operator: `https` anywhere, `http` to this machine; nothing that two readers of
/// a URL could read in two ways.
pub(crate) fn check_outside_url(url: &str) -> Result<(), &'static str> {
    let (tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err("begin with `https://`"),
    };
    if rest.contains(['?', '#', '@', '\\', '%']) || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("give scheme, host, port and path only, without user, query or fragment");
    }
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address stands between `[` and `]`")?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err("what stands between `[` and `]` is not an IPv6 address");
        }
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or_default()) })
    } else {
        authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() {
        return Err("name the host");
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err("the port is not a number from 1 to 65535");
    }
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !tls && !is_loopback {
        return Err("use `https`: keys that come over a network in clear can be anybody's");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
