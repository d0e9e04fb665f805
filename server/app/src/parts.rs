//! What the gateway is made of, built from the configuration.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use oauth4os_config::{ClientConfig, Cluster, Config, RateLimit};
use oauth4os_engine::IdentityError;
use oauth4os_engine::check::ClientScopes;
use oauth4os_federation::{Keyring, KeysError, ProviderError, Providers, TrustedIssuerError, TrustedIssuers};
use oauth4os_oauth::{Authority, BridgeError, ClientDirectory, configured_grants, configured_keys};
use oauth4os_policy::cedar::PolicyErrors;
use oauth4os_policy::{
    Catalog, Clusters, EngineGrant, Grants, Policies, PolicyFile, Principal, PrincipalKind, RestrictionError,
    ScopeError, ScopeSet,
};
use oauth4os_proxy::{
    BasicClient, BasicClients, BasicRefusal, Listener, OwnListeners, Rates, Snapshot, SnapshotClient,
};
use oauth4os_store::ClientKind;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::{Algorithm, KeyError, SigningKey};

use crate::api_keys::ApiKeyError;
use crate::tls::ServerTls;
use crate::{api_keys, hand_over};

/// A part cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    #[error("cannot read the policy file `{}`: {source}", path.display())]
    PolicyFile { path: PathBuf, source: std::io::Error },
    #[error("the policies are refused:\n{0}")]
    Policies(#[from] PolicyErrors),
    #[error("the client `{client}` cannot be used: {source}")]
    Grants { client: String, source: Box<RestrictionError> },
    #[error("the client `{client}` cannot be used: {source}")]
    Identity { client: String, source: IdentityError },
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    #[error("the client `{client}` cannot be used: {source}")]
    Keys { client: String, source: KeysError },
    #[error(transparent)]
    TrustedIssuer(#[from] TrustedIssuerError),
    #[error("the rule {number} of the trusted issuer `{issuer}` cannot be used: {source}")]
    RuleScopes { issuer: String, number: usize, source: ScopeError },
    #[error(
        "the rule {number} of the trusted issuer `{issuer}` gives the scope `{scope}`, which goes beyond what its client `{client}` is registered for; give less, or have the client registered for it"
    )]
    BeyondClient { issuer: String, number: usize, scope: String, client: String },
    #[error("the rate `{name}` cannot be used: {source}")]
    Rate { name: String, source: ScopeError },
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Loads and checks the Cedar policies.
pub(crate) fn policies(config: &Config) -> Result<Policies, PartsError> {
    let mut files = Vec::new();
    for path in &config.policies.files {
        let text =
            std::fs::read_to_string(path).map_err(|source| PartsError::PolicyFile { path: path.clone(), source })?;
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
        files.push((name, text));
    }
    let files: Vec<PolicyFile<'_>> = files.iter().map(|(name, text)| PolicyFile { name, text }).collect();
    Ok(Policies::load(&files)?)
}

/// The names of the clusters, for scopes.
pub(crate) fn cluster_names(config: &Config) -> Clusters {
    config.clusters().iter().filter_map(|cluster| cluster.name.clone()).collect()
}

/// What each configured client may ask for in a cluster, and what its policies forbid whatever the action.
///
/// Row filters travel in a header: a client whose filters do not fit there is refused here, not at its first request.
pub(crate) fn client_scopes(
    config: &Config,
    cluster: &Cluster,
    policies: &Policies,
) -> Result<Vec<ClientScopes>, PartsError> {
    let clusters = cluster_names(config);
    let has_grants = config.clients.iter().any(|client| !client.grants.is_empty());
    // Any key of this kind signs as long a token.
    let any_key = has_grants.then(|| SigningKey::generate(Algorithm::Rs256)).transpose()?.map(Arc::new);
    let of = |client: &ClientConfig| {
        let grants = configured_grants(client, &clusters)
            .map_err(|source| PartsError::Grants { client: client.id.clone(), source: Box::new(source) })?;
        let grants = cluster.name.as_ref().map_or_else(|| grants.clone(), |name| grants.for_cluster(name));
        let ruled = policies.for_principal(&configured_principal(client));
        if let Some(key) = any_key.as_ref().filter(|_| !grants.restrictions.is_empty())
            && let Some(identities) = hand_over::identities(config, cluster, || Arc::clone(key))
        {
            let grant = EngineGrant::of(&grants.scopes, &grants.restrictions, ruled.forbids(), Catalog::none());
            let made = identities.hand_over(&client.id, &grant, None, SystemClock.now());
            made.map_err(|source| PartsError::Identity { client: client.id.clone(), source })?;
        }
        api_keys::is_enough(cluster, client, &grants.scopes)?;
        Ok(ClientScopes { client: client.id.clone(), scopes: grants.scopes, forbids: ruled.forbids().clone() })
    };
    config.clients.iter().map(of).collect()
}

/// Makes sure that the providers can be used, as far as that can be said without asking them.
pub(crate) fn check_providers(config: &Config) -> Result<(), ProviderError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Providers::new(&config.providers, &cluster_names(config), &clock, &Arc::new(Metrics::new())).map(drop)
}

/// Makes sure that the public keys of clients and issuers can be used, as far as that can be said without fetching any.
pub(crate) fn check_keys(config: &Config) -> Result<(), PartsError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keyring = Keyring::new(Arc::clone(&clock));
    for client in &config.clients {
        configured_keys(client, &keyring).map_err(|source| PartsError::Keys { client: client.id.clone(), source })?;
    }
    TrustedIssuers::new(&config.trusted_issuers, &clock, &Arc::new(Metrics::new()))?;
    Ok(())
}

/// Makes sure that no rule for workloads gives more than its client may have.
pub(crate) fn check_workloads(config: &Config) -> Result<(), PartsError> {
    let clusters = cluster_names(config);
    for issuer in &config.trusted_issuers {
        for (place, rule) in issuer.rules.iter().enumerate() {
            let (number, name) = (place + 1, || issuer.name.clone());
            let scopes = ScopeSet::collect(rule.scopes.iter().map(String::as_str), &clusters)
                .map_err(|source| PartsError::RuleScopes { issuer: name(), number, source })?;
            let Some(client) = config.clients.iter().find(|client| client.id == rule.client) else { continue };
            let grants = configured_grants(client, &clusters)
                .map_err(|source| PartsError::Grants { client: client.id.clone(), source: Box::new(source) })?;
            for scope in scopes.iter() {
                let alone = ScopeSet::parse(scope.as_str(), &clusters).map_err(|source| PartsError::RuleScopes {
                    issuer: name(),
                    number,
                    source,
                })?;
                if !alone.is_within(&grants.scopes) {
                    let (scope, client) = (scope.to_string(), client.id.clone());
                    return Err(PartsError::BeyondClient { issuer: name(), number, scope, client });
                }
            }
        }
    }
    Ok(())
}

/// The rules requests are counted by.
pub(crate) fn rates(config: &Config) -> Result<Rates, PartsError> {
    Rates::new(&config.rates, &cluster_names(config)).map_err(|(name, source)| PartsError::Rate { name, source })
}

/// What connections meet first.
pub(crate) fn listener(config: &Config, tls: &ServerTls) -> Listener {
    Listener {
        tls: Arc::clone(&tls.config),
        client_certificates: tls.client_certificates.clone(),
        addresses: config.addresses.clone(),
        of_clusters: config.clusters().iter().map(own_listeners).collect(),
        trusted_proxies: config.trusted_proxies.clone(),
    }
}

fn own_listeners(cluster: &Cluster) -> OwnListeners {
    let dashboards = cluster.upstream.dashboards.as_ref().map(|dashboards| dashboards.addresses.clone());
    OwnListeners { cluster: cluster.addresses.clone(), dashboards: dashboards.unwrap_or_default() }
}

/// What the data plane is told of clients, policies and providers.
pub(crate) fn snapshot(
    config: &Config,
    authority: &Arc<Authority>,
    providers: Arc<Providers>,
    policies: &Policies,
    rates: Rates,
) -> Snapshot {
    let directory = authority.clients();
    let enabled = directory.all().into_iter().filter(|client| client.enabled);
    let clients = enabled.map(|client| {
        let limit = client
            .rate_limit
            .as_ref()
            .map(|limit| RateLimit { requests_per_second: limit.per_second, burst: limit.burst });
        SnapshotClient {
            principal: principal(&client),
            grants: Grants { scopes: client.scopes.clone(), restrictions: client.restrictions.clone() },
            backend_roles: client.backend_roles.clone().map(|roles| roles.into_iter().collect()),
            backend_user: client.backend_user.clone(),
            certificate: client.certificate.clone(),
            addresses: client.addresses.clone(),
            within: client.within.clone(),
            limit,
        }
    });
    Snapshot::new(authority.verifier(), clients, policies, &config.limits)
        .with_providers(providers)
        .with_rates(rates)
        .with_basic(Arc::new(Bridge::new(Arc::clone(authority))))
}

/// Lets the data plane ask the authority for the clients that may send id and secret instead of a token.
struct Bridge {
    authority: Arc<Authority>,
    /// Such clients stand in the configuration; another one comes with another snapshot.
    is_offered: bool,
}

impl Bridge {
    fn new(authority: Arc<Authority>) -> Self {
        let is_offered = authority.clients().all().iter().any(|client| client.basic);
        Self { authority, is_offered }
    }

    fn directory(&self) -> &ClientDirectory {
        self.authority.clients()
    }
}

impl BasicClients for Bridge {
    fn is_offered(&self) -> bool {
        self.is_offered
    }

    fn generation(&self) -> u64 {
        self.directory().generation()
    }

    fn verify(&self, encoded: &str, address: IpAddr) -> Result<BasicClient, BasicRefusal> {
        match self.authority.bridge(encoded, address) {
            Ok(client) => Ok(BasicClient {
                id: client.id.clone(),
                grants: Grants { scopes: client.scopes.clone(), restrictions: client.restrictions.clone() },
            }),
            Err(BridgeError::Malformed) => Err(BasicRefusal::Malformed),
            Err(BridgeError::Wrong) => Err(BasicRefusal::Wrong),
            Err(BridgeError::NotPermitted) => Err(BasicRefusal::NotPermitted),
            Err(BridgeError::TooManyGuesses(wait)) => Err(BasicRefusal::TooManyGuesses(wait)),
        }
    }
}

fn principal(client: &Arc<oauth4os_oauth::Client>) -> Principal {
    Principal {
        id: client.id.clone(),
        kind: match client.kind {
            ClientKind::Agent => PrincipalKind::Agent,
            ClientKind::Machine => PrincipalKind::Client,
        },
        groups: client.groups.iter().cloned().collect(),
    }
}

/// Who a client of the configuration is to the policies.
fn configured_principal(client: &ClientConfig) -> Principal {
    Principal {
        id: client.id.clone(),
        kind: match client.kind {
            oauth4os_config::ClientKind::Agent => PrincipalKind::Agent,
            oauth4os_config::ClientKind::Machine => PrincipalKind::Client,
        },
        groups: client.groups.iter().cloned().collect(),
    }
}
