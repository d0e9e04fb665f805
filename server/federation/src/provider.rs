//! A provider: whom it is, what its tokens mean here, and its keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_config::{
    BackendUser, BackendUserRule, ClaimPaths, IdentityKind, OutsideKind, ProviderConfig, RESERVED_ID_PREFIX, RateLimit,
};
use oauth4os_policy::{Clusters, Grants, Principal, PrincipalKind};
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::id::sha256;
use oauth4os_tokens::jose::{Algorithm, ForeignToken};
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::address::Trust;
use crate::claims;
use crate::documents::KeyPlace;
use crate::fetch::{FetchError, Fetcher};
use crate::keys::{KeyCache, Source};
use crate::login::Login;
use crate::mapping::{Mapping, MappingError};
use crate::signature;
use crate::verify::{Refused, Rules};

/// How long a request waits for a key nobody has seen yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest name the engine is told: `MAX_SUBJECT_BYTES` of `oauth4os-engine`.
const MAX_ENGINE_NAME: usize = 128;

/// Every provider, found by its issuer.
#[derive(Debug, Default)]
pub struct Providers {
    by_issuer: HashMap<String, Arc<Provider>>,
    /// The tasks that fetch; they end with the last who knows these providers.
    tasks: Mutex<JoinSet<()>>,
}

/// A trusted outside issuer.
pub struct Provider {
    name: String,
    pub(crate) rules: Rules,
    paths: ClaimPaths,
    mapping: Mapping,
    kind: OutsideKind,
    client_kinds: BTreeMap<String, OutsideKind>,
    /// Those a token may bring along, where principals keep their own.
    backend_roles: Option<BTreeSet<String>>,
    backend_users: Vec<BackendUserRule>,
    rate_limit: Option<RateLimit>,
    algorithms: Vec<Algorithm>,
    pub(crate) keys: KeyCache,
    pub(crate) login: Option<Login>,
}

/// Whom a provider's token speaks for, and what it may do.
#[derive(Clone, Debug)]
pub struct Outsider {
    /// As policies name it: `User::"keycloak/ada"`.
    pub principal: Principal,
    /// As the engine is told: made of letters, digits, `.`, `_`, `-`, and never the name of one of our clients.
    pub engine_name: String,
    /// The client the token was issued to, `keycloak/console`, when it says so.
    pub client: Option<String>,
    /// The backend roles the engine is told in place of the scopes, when the provider's principals keep their own.
    pub backend_roles: Option<Arc<[String]>>,
    /// As which users of clusters its requests are sent, where these have users of their own; the first that is one of the
    /// cluster's.
    pub backend_users: Arc<[BackendUser]>,
    /// What the mapping gives.
    pub grants: Grants,
    /// From this on the token is dead here: its `exp` and the leeway.
    pub expires_at: UnixTime,
    /// Its `jti`, when it has one. It is the provider's and revokes nothing here.
    pub token_id: Option<String>,
    /// The tenant, when the provider says so.
    pub tenant: Option<String>,
    /// Who may act for the principal, as the token says it (`may_act`, RFC 8693 section 4.4), in whatever form.
    pub may_act: Option<Value>,
    /// Whether the token says that somebody acts for the principal (`act`).
    pub is_acted_for: bool,
    /// The provider's keys it was verified with; verify again when [`Provider::generation`] is another one.
    pub keys_generation: u64,
}

/// A provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// What it maps to means nothing.
    #[error("the provider `{provider}` cannot be used: {source}")]
    Mapping {
        /// Its name.
        provider: String,
        /// Why.
        source: Box<MappingError>,
    },
    /// Its certificates or addresses cannot be used.
    #[error("the provider `{provider}` cannot be used: {source}")]
    Fetch {
        /// Its name.
        provider: String,
        /// Why.
        source: FetchError,
    },
    /// Its `jwks_uri` is no URL.
    #[error("the provider `{provider}` cannot be used: its `jwks_uri` is not a URL")]
    KeyPlace {
        /// Its name.
        provider: String,
    },
}

impl Providers {
    /// The providers of a configuration. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn new(
        configs: &[ProviderConfig],
        clusters: &Clusters,
        clock: &Arc<dyn Clock>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, ProviderError> {
        let mut by_issuer = HashMap::new();
        for config in configs {
            let provider = Provider::new(config, clusters.clone(), Arc::clone(clock), Arc::clone(metrics))?;
            by_issuer.insert(config.issuer.clone(), Arc::new(provider));
        }
        Ok(Self { by_issuer, tasks: Mutex::default() })
    }

    /// Begins to fetch keys, on the runtime this is called in, and returns when every provider has answered or `patience`
    /// is over.
    pub async fn start(&self, patience: Duration) {
        let mut first = JoinSet::new();
        for provider in self.by_issuer.values() {
            // Before the fetch begins, so that its end is not missed and no second one made.
            let mut ended = provider.keys.ended();
            first.spawn(async move { tokio::time::timeout(patience, ended.changed()).await.is_ok() });
            let running = Arc::clone(provider);
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(async move { running.keys.run().await });
        }
        while first.join_next().await.is_some() {}
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn is_known(&self, name: &str) -> bool {
        self.by_issuer.values().any(|provider| provider.name == name)
    }

    /// The provider of exactly this issuer.
    #[must_use]
    pub fn find(&self, issuer: &str) -> Option<&Arc<Provider>> {
        self.by_issuer.get(issuer)
    }

    /// The provider of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Provider>> {
        self.by_issuer.values().find(|provider| provider.name == name)
    }

    /// Those where persons can log in, by their names.
    #[must_use]
    pub fn for_login(&self) -> Vec<&Arc<Provider>> {
        let mut found: Vec<_> = self.by_issuer.values().filter(|provider| provider.login.is_some()).collect();
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_issuer.is_empty()
    }
}

impl Provider {
    fn new(
        config: &ProviderConfig,
        clusters: Clusters,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ProviderError> {
        let provider = || config.name.clone();
        let mapping = Mapping::new(&config.scope_mapping, clusters)
            .map_err(|source| ProviderError::Mapping { provider: provider(), source: Box::new(source) })?;
        let fetcher = Fetcher::new(config.ca.as_deref())
            .map_err(|source| ProviderError::Fetch { provider: provider(), source })?;
        let place = config
            .jwks_uri
            .as_deref()
            .map(|url| Url::parse(url).map(|url| KeyPlace { url, trust: Trust::Configured }))
            .transpose()
            .map_err(|_| ProviderError::KeyPlace { provider: provider() })?;
        let algorithms: Vec<Algorithm> =
            config.algorithms.iter().filter_map(|algorithm| Algorithm::from_name(algorithm.as_str())).collect();
        let source = Source {
            name: config.name.clone(),
            issuer: config.issuer.clone(),
            place,
            algorithms: algorithms.clone(),
            fetcher,
        };
        Ok(Self {
            name: config.name.clone(),
            rules: Rules {
                issuer: config.issuer.clone(),
                audience: config.audience.values().to_vec(),
                types: config.types.clone(),
                leeway: config.leeway.as_duration(),
                authorized_parties: config.authorized_parties.clone(),
            },
            paths: config.claims.clone(),
            mapping,
            kind: config.kind,
            client_kinds: config.client_kinds.clone(),
            backend_roles: (config.identity == IdentityKind::Own).then(|| config.backend_roles.clone()),
            backend_users: config.backend_users.clone(),
            rate_limit: config.rate_limit,
            algorithms,
            login: config
                .login
                .as_ref()
                .map(|login| Login::new(config, login, Arc::clone(&clock)))
                .transpose()
                .map_err(|source| ProviderError::Fetch { provider: provider(), source })?,
            keys: KeyCache::new(source, clock, Some(metrics)),
        })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// How long after its `exp` a token is still taken.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.rules.leeway
    }

    /// What each of its principals may send, when it has a limit of its own.
    #[must_use]
    pub const fn rate_limit(&self) -> Option<RateLimit> {
        self.rate_limit
    }

    /// Changes whenever its keys change: what was verified before has to be verified again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.keys.generation()
    }

    /// Waits until its keys have been fetched once more, together with all who wait. False when that was done just
    /// before, or takes too long: then there is nothing new.
    pub async fn wait_for_keys(&self) -> bool {
        self.keys.wait(PATIENCE).await
    }

    /// Whom a token speaks for, if it is this provider's, meant for this gateway and in force at `now`.
    ///
    /// # Errors
    /// [`Refused`]; on [`Refused::UnknownKey`] and [`Refused::NoKeys`] it is worth to [wait](Self::wait_for_keys) and try
    /// once more.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Outsider, Refused> {
        let token = ForeignToken::parse(token)?;
        self.rules.check_type(token.typ.as_deref())?;
        let keys_generation = self.check_signature(&token)?;
        let claims = &token.claims;
        let client = self.party(claims)?;
        let expires_at = self.rules.check(claims, client.as_deref(), now)?;

        let whom = self.whom(claims, client.as_deref())?;
        self.outsider(claims, whom, client.as_deref(), (expires_at, keys_generation))
    }

    /// The person these claims of a login are about. They were verified when the person logged in; what the mapping gives is
    /// said anew each time.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn person(&self, claims: &Map<String, Value>) -> Result<Outsider, Refused> {
        self.outsider(claims, self.who(claims)?, None, (UnixTime::MAX, 0))
    }

    fn outsider(
        &self,
        claims: &Map<String, Value>,
        (kind, id): (PrincipalKind, String),
        client: Option<&str>,
        (expires_at, keys_generation): (UnixTime, u64),
    ) -> Result<Outsider, Refused> {
        let mut roles = Vec::new();
        for path in self.paths.roles.values() {
            roles.extend(claims::list(claims, path)?);
        }
        let groups = match &self.paths.groups {
            Some(path) if claims::is_elsewhere(claims, path) => return Err(Refused::GroupsElsewhere),
            Some(path) => claims::list(claims, path)?,
            None => Vec::new(),
        };
        let scopes = claims::scopes(claims, &self.paths.scopes)?;
        let grants = self.mapping.apply(&roles, &groups, &scopes, claims)?;
        let backend_roles = self.backend_roles(claims)?;
        Ok(Outsider {
            backend_roles,
            backend_users: self.backend_users(&roles, &groups, &scopes),
            engine_name: engine_name(&self.name, kind, &id),
            principal: Principal {
                id: self.qualified(&id),
                kind,
                groups: groups.iter().map(|group| self.qualified(group)).collect(),
            },
            client: client.map(|client| self.qualified(client)),
            grants,
            expires_at,
            token_id: claims.get("jti").and_then(Value::as_str).map(ToOwned::to_owned),
            may_act: claims.get("may_act").cloned(),
            is_acted_for: claims.contains_key("act"),
            tenant: self.paths.tenant.as_ref().map(|path| claims::name(claims, path)).transpose()?.flatten(),
            keys_generation,
        })
    }

    /// Everything a provider says is named after it: two providers can never mean the same by accident or on purpose, and
    /// none of them one of our clients.
    fn qualified(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// Verifies the signature by a key of the provider that is for the token's algorithm; gives the keys' generation.
    pub(crate) fn check_signature(&self, token: &ForeignToken<'_>) -> Result<u64, Refused> {
        let (generation, keys) = self.keys.load();
        if generation == 0 && self.algorithms.contains(&token.algorithm) {
            return Err(Refused::NoKeys);
        }
        signature::by_published(&keys, &self.algorithms, token)?;
        Ok(generation)
    }

    /// The client a token was issued to.
    fn party(&self, claims: &Map<String, Value>) -> Result<Option<String>, Refused> {
        if let Some(path) = &self.paths.client {
            return claims::name(claims, path);
        }
        for name in ["azp", "client_id"] {
            match claims.get(name) {
                Some(Value::String(client)) if !client.is_empty() && client.len() <= 255 => {
                    return Ok(Some(client.clone()));
                }
                Some(_) => return Err(Refused::Claim(name.to_owned())),
                None => {}
            }
        }
        Ok(None)
    }

    /// The users that fit a token which says this, in the order of the configuration.
    fn backend_users(&self, roles: &[String], groups: &[String], scopes: &[String]) -> Arc<[BackendUser]> {
        let fits = |named: &Option<String>, those: &[String]| named.as_ref().is_none_or(|name| those.contains(name));
        let rules = self
            .backend_users
            .iter()
            .filter(|rule| fits(&rule.role, roles) && fits(&rule.group, groups) && fits(&rule.scope, scopes));
        rules.map(|rule| rule.user.clone()).collect()
    }

    /// Those of the token's backend roles that it may bring along, where principals keep their own.
    fn backend_roles(&self, claims: &Map<String, Value>) -> Result<Option<Arc<[String]>>, Refused> {
        let Some(allowed) = &self.backend_roles else {
            return Ok(None);
        };
        let mut roles = BTreeSet::new();
        for path in self.paths.backend_roles.values() {
            roles.extend(claims::list(claims, path)?.into_iter().filter(|role| allowed.contains(role)));
        }
        Ok(Some(roles.into_iter().collect()))
    }

    /// What the principal is, and its name at the provider.
    fn whom(&self, claims: &Map<String, Value>, client: Option<&str>) -> Result<(PrincipalKind, String), Refused> {
        let kind = client.and_then(|client| self.client_kinds.get(client)).copied().unwrap_or(self.kind);
        let kind = match kind {
            OutsideKind::User => return self.who(claims),
            OutsideKind::Client => PrincipalKind::Client,
            OutsideKind::Agent => PrincipalKind::Agent,
        };
        Ok((kind, client.ok_or_else(|| Refused::Missing("azp".to_owned()))?.to_owned()))
    }

    /// The name of a person.
    pub(crate) fn who(&self, claims: &Map<String, Value>) -> Result<(PrincipalKind, String), Refused> {
        let path = &self.paths.subject;
        let subject = claims::name(claims, path)?.ok_or_else(|| Refused::Missing(path.steps().join(".")))?;
        Ok((PrincipalKind::User, subject))
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// `idp.<provider>.<kind>.<name>`, or, where the name has other characters or is too long, its hash, under a kind of its
/// own so that nobody can be called like another's hash. Neither provider nor kind contains a dot, so two principals
/// never share a name.
fn engine_name(provider: &str, kind: PrincipalKind, id: &str) -> String {
    let plain = format!("{RESERVED_ID_PREFIX}{provider}.{kind}.{id}");
    let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if is_plain && plain.len() <= MAX_ENGINE_NAME {
        return plain;
    }
    let hash = URL_SAFE_NO_PAD.encode(sha256(id.as_bytes()));
    format!("{RESERVED_ID_PREFIX}{provider}.{kind}-hash.{hash}")
}

#[cfg(test)]
mod tests;
