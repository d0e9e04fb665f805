//! One client, whether it is registered in the configuration or in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use oauth4os_config::{
    AddressRules, BackendUser, CertificateName, ClientConfig, IdentityKind, Namespace, Reference, TokenExchange,
    TokenFormat,
};
use oauth4os_policy::{Clusters, Grants, Restriction, RestrictionError, Restrictions, ScopeSet};
use oauth4os_store::{ClientKind, MAX_LIVE_SECRETS, RateLimit, SecretHash, StoredSecret};
use oauth4os_tokens::clock::UnixTime;
use secrecy::ExposeSecret;

use super::DirectoryError;

/// A client as issuing and deciding need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// A name for people; empty when it has none.
    pub name: String,
    /// What it is.
    pub kind: ClientKind,
    /// Groups, as policies name them.
    pub groups: BTreeSet<String>,
    /// Labels, for selecting clients in bulk.
    pub labels: BTreeMap<String, String>,
    /// The scopes it may ask for.
    pub scopes: ScopeSet,
    /// What some of them are held to.
    pub restrictions: Restrictions,
    /// Whether it may be given tokens and use those it has.
    pub enabled: bool,
    /// How long its tokens are valid, when not as long as all others'.
    pub token_lifetime: Option<Duration>,
    /// The form of its tokens.
    pub token_format: TokenFormat,
    /// Its own limit in place of the configured one.
    pub rate_limit: Option<RateLimit>,
    /// Whether it may send id and secret to the data plane instead of a token.
    pub basic: bool,
    /// Whether it may ask about the tokens of all clients.
    pub introspect: bool,
    /// Whose tokens it may exchange for its own.
    pub token_exchange: Option<TokenExchange>,
    /// The backend roles the engine is told in place of scopes; `None` for the identity of the scopes.
    pub backend_roles: Option<BTreeSet<String>>,
    /// As which user its requests are sent to clusters that have users of their own.
    pub backend_user: Option<BackendUser>,
    /// The name that makes a TLS certificate its own.
    pub certificate: Option<CertificateName>,
    /// Where it may be used from.
    pub addresses: AddressRules,
    /// The namespaces it is in, from the inside out; it keeps to the rules of each.
    pub within: Vec<Namespace>,
    /// Where it is registered.
    pub source: ClientSource,
    secrets: Vec<StoredSecret>,
}

/// Where a client is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientSource {
    /// In the configuration file, which alone changes it.
    Configuration,
    /// In the store.
    Store,
}

impl Client {
    pub(super) fn from_config(config: &ClientConfig, clusters: &Clusters) -> Result<Self, DirectoryError> {
        let hash = match (&config.secret_value, &config.secret_hash) {
            (Some(secret), _) => Some(SecretHash::of(secret.expose_secret())),
            (None, Some(hash)) => Some(SecretHash::from_bytes(*hash.digest())),
            (None, None) if config.certificate.is_some() => None,
            (None, None) => return Err(DirectoryError::NoSecret { id: config.id.clone() }),
        };
        let Grants { scopes, restrictions } = configured_grants(config, clusters)
            .map_err(|source| DirectoryError::Restricted { id: config.id.clone(), source: Box::new(source) })?;
        Ok(Self {
            id: config.id.clone(),
            name: config.name.clone().unwrap_or_default(),
            kind: match config.kind {
                oauth4os_config::ClientKind::Agent => ClientKind::Agent,
                oauth4os_config::ClientKind::Machine => ClientKind::Machine,
            },
            groups: config.groups.clone(),
            labels: config.labels.clone(),
            scopes,
            restrictions,
            enabled: true,
            token_lifetime: config.token_lifetime.map(oauth4os_config::Span::as_duration),
            token_format: config.access_token_format,
            rate_limit: config
                .rate_limit
                .map(|limit| RateLimit { per_second: limit.requests_per_second, burst: limit.burst }),
            basic: config.basic,
            introspect: config.introspect,
            token_exchange: config.token_exchange.clone(),
            backend_roles: (config.identity == IdentityKind::Own).then(|| config.backend_roles.clone()),
            backend_user: config.backend_user.clone(),
            certificate: config.certificate.clone(),
            addresses: config.addresses.clone(),
            within: config.within.clone(),
            source: ClientSource::Configuration,
            secrets: hash
                .map(|hash| StoredSecret {
                    id: "configuration".to_owned(),
                    hash,
                    hint: String::new(),
                    created_at: UnixTime::default(),
                    expires_at: None,
                })
                .into_iter()
                .collect(),
        })
    }

    pub(super) fn from_store(client: oauth4os_store::Client, clusters: &Clusters) -> Result<Self, DirectoryError> {
        let scopes = ScopeSet::parse(&client.scopes, clusters)
            .map_err(|source| DirectoryError::Scopes { id: client.id.clone(), source })?;
        Ok(Self {
            id: client.id,
            name: client.name,
            kind: client.kind,
            groups: client.groups,
            labels: client.labels,
            scopes,
            restrictions: Restrictions::default(),
            enabled: client.enabled,
            token_lifetime: None,
            token_format: TokenFormat::Jwt,
            rate_limit: client.rate_limit,
            basic: false,
            introspect: false,
            token_exchange: None,
            backend_roles: None,
            backend_user: None,
            certificate: None,
            addresses: AddressRules::default(),
            within: Vec::new(),
            source: ClientSource::Store,
            secrets: client.secrets,
        })
    }

    /// Whether it may be used from there. An address nobody knows is within no rule.
    pub(crate) fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        let mut rules =
            std::iter::once(&self.addresses).chain(self.within.iter().map(|namespace| &namespace.addresses));
        match address {
            Some(address) => rules.all(|rules| rules.check(address).is_ok()),
            None => rules.all(|rules| *rules == AddressRules::default()),
        }
    }

    pub(super) fn secrets(&self) -> &[StoredSecret] {
        &self.secrets
    }
}

/// What a client of the configuration may ask for, and what some of it is held to.
///
/// # Errors
/// When its scopes and grants mean nothing, or not together.
pub fn configured_grants(config: &ClientConfig, clusters: &Clusters) -> Result<Grants, RestrictionError> {
    let values = |reference: &Reference| match reference {
        Reference::ClientId => Some(config.id.as_str().into()),
        Reference::Label(name) => config.labels.get(name).map(|label| label.as_str().into()),
        Reference::Claim(_) => None,
    };
    let mut restricted = Vec::with_capacity(config.grants.len());
    for grant in &config.grants {
        restricted.push((grant.scope.as_str(), Restriction::new(grant, &values)?));
    }
    Grants::new(config.scopes.iter().map(String::as_str), restricted, clusters)
}

/// Whether a live one of `secrets` has this hash. Does the same work whether one fits or not, and no less than for a
/// client with all the secrets it may have: neither the number of secrets nor their absence shows in the time taken.
pub(super) fn is_live_secret(presented: &SecretHash, secrets: &[StoredSecret], now: UnixTime) -> bool {
    let nobodys = StoredSecret {
        id: String::new(),
        hash: SecretHash::from_bytes([0; 32]),
        hint: String::new(),
        created_at: UnixTime::default(),
        expires_at: Some(UnixTime::from_millis(i64::MIN)),
    };
    let padding = MAX_LIVE_SECRETS.saturating_sub(secrets.len());
    secrets
        .iter()
        .chain(std::iter::repeat_n(&nobodys, padding))
        .fold(false, |found, stored| found | (presented.matches(&stored.hash) & stored.is_live(now)))
}
