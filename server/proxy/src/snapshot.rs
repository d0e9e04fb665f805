//! What the control plane publishes and the data plane reads: immutable, replaced as a whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use oauth4os_config::{
    AddressRules, BackendUser, CertificateName, Limits, Namespace, RateHeaders, RateLimit, RateMode,
};
use oauth4os_federation::{Outsider, Provider, Providers};
use oauth4os_policy::{Grants, Policies, Principal, PrincipalPolicies};
use oauth4os_tokens::access::Verifier;
use quick_cache::sync::Cache;

use crate::basic::BasicClients;
use crate::certificate::Owner;
use crate::limit::{Limiter, Rate};
use crate::rates::Rates;

/// Principals of providers whose limits are kept, and principals with their groups whose policies are. Whoever is
/// forgotten, because so many others came after, begins with a full bucket at the next token.
const OUTSIDERS: usize = 65_536;
const SLICES: usize = 16_384;

/// Everything a decision depends on beside the request and its token.
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) verifier: Verifier,
    pub(crate) clients: HashMap<String, Arc<GatewayClient>>,
    /// The id of the client whose certificates have this name.
    certificates: HashMap<CertificateName, String>,
    /// What the clients of a namespace may send together, by its name.
    pub(crate) namespaces: HashMap<String, Limiter>,
    /// Refusals for want of a valid credential, for each address, and what becomes of those over that.
    pub(crate) unauthenticated: (Rate, RateMode),
    pub(crate) providers: Arc<Providers>,
    pub(crate) basic: Option<Arc<dyn BasicClients>>,
    pub(crate) rates: Arc<Rates>,
    outsiders: Outsiders,
}

/// A client as the control plane knows it.
#[derive(Debug)]
pub struct SnapshotClient {
    /// Who it is to the policies.
    pub principal: Principal,
    /// What it may have at most; a token of more is not accepted any more.
    pub grants: Grants,
    /// The backend roles the engine is told in place of its scopes, if it is to be so.
    pub backend_roles: Option<Vec<String>>,
    /// As which user its requests are sent to clusters that have users of their own.
    pub backend_user: Option<BackendUser>,
    /// The name that makes a TLS certificate its own.
    pub certificate: Option<CertificateName>,
    /// Where it may be used from.
    pub addresses: AddressRules,
    /// The namespaces it is in, from the inside out.
    pub within: Vec<Namespace>,
    /// What it may send, when not what all others may.
    pub limit: Option<RateLimit>,
}

/// Who asks, as the data plane sees it: a client of ours, or a principal of a provider.
#[derive(Debug)]
pub struct GatewayClient {
    pub(crate) principal: Principal,
    /// What the engine is told the principal is called. No two principals share one.
    pub(crate) engine_name: String,
    /// What a client may have at most; empty for a principal of a provider, of whom every token says it anew.
    pub(crate) grants: Grants,
    /// The backend roles the engine is told in place of scopes; of a principal of a provider every token says it anew.
    pub(crate) backend_roles: Option<Arc<[String]>>,
    /// As which user requests are sent to clusters that have users of their own; of a principal of a provider every token says it
    /// anew.
    pub(crate) backend_user: Option<BackendUser>,
    /// Where it may be used from.
    pub(crate) addresses: AddressRules,
    /// The namespaces it is in, from the inside out.
    pub(crate) within: Vec<Namespace>,
    /// The client that acts for a person; it must be permitted whatever the person does through it.
    pub(crate) through: Option<Arc<GatewayClient>>,
    pub(crate) policies: PrincipalPolicies,
    pub(crate) limiter: Arc<Limiter>,
}

/// What is kept of the principals of providers, of which nobody knows beforehand how many there are.
struct Outsiders {
    policies: Policies,
    /// The limit of those whose provider has none of its own, and how limits are kept and told.
    limits: (RateLimit, RateMode, RateHeaders),
    /// One limit for each principal, over all its tokens, all workers and all snapshots with the same limits.
    limiters: Arc<Cache<String, Arc<Limiter>>>,
    /// By name and groups, which may change from token to token.
    known: Cache<(String, Vec<String>), Arc<GatewayClient>>,
    /// Persons for whom a client acts: the client besides.
    persons: Cache<(String, String, Vec<String>), Arc<GatewayClient>>,
}

impl Snapshot {
    /// A snapshot of these clients under these policies and rates.
    #[must_use]
    pub fn new(
        verifier: Verifier,
        clients: impl IntoIterator<Item = SnapshotClient>,
        policies: &Policies,
        limits: &Limits,
    ) -> Self {
        let (mut certificates, mut namespaces) = (HashMap::new(), HashMap::new());
        let clients = clients
            .into_iter()
            .map(|client| {
                let SnapshotClient {
                    principal,
                    grants,
                    backend_roles,
                    backend_user,
                    certificate,
                    addresses,
                    within,
                    limit,
                } = client;
                for namespace in &within {
                    let limiter = |limit| Limiter::new(limit, limits.rate_mode, limits.rate_headers);
                    namespaces.extend(namespace.rate_limit.map(|limit| (namespace.name.clone(), limiter(limit))));
                }
                certificates.extend(certificate.map(|name| (name, principal.id.clone())));
                let client = GatewayClient {
                    policies: policies.for_principal(&principal),
                    limiter: Arc::new(Limiter::new(
                        limit.unwrap_or(limits.per_client),
                        limits.rate_mode,
                        limits.rate_headers,
                    )),
                    engine_name: principal.id.clone(),
                    grants,
                    backend_roles: backend_roles.map(Arc::from),
                    backend_user,
                    addresses,
                    within,
                    through: None,
                    principal,
                };
                (client.principal.id.clone(), Arc::new(client))
            })
            .collect();
        let outsiders = Outsiders {
            policies: policies.clone(),
            limits: (limits.per_client, limits.rate_mode, limits.rate_headers),
            limiters: Arc::new(Cache::new(1)),
            known: Cache::new(1),
            persons: Cache::new(1),
        };
        let unauthenticated = (Rate::new(limits.unauthenticated), limits.rate_mode);
        Self {
            generation: 0,
            verifier,
            clients,
            certificates,
            namespaces,
            unauthenticated,
            providers: Arc::default(),
            basic: None,
            rates: Arc::default(),
            outsiders,
        }
    }

    /// Also takes tokens of these providers. Principals of those that say nothing else have the limit of a client.
    #[must_use]
    pub fn with_providers(mut self, providers: Arc<Providers>) -> Self {
        if !providers.is_empty() {
            self.outsiders.limiters = Arc::new(Cache::new(OUTSIDERS));
            self.outsiders.known = Cache::new(SLICES);
            self.outsiders.persons = Cache::new(SLICES);
        }
        self.providers = providers;
        self
    }

    /// Also takes HTTP Basic from the clients that may use it.
    #[must_use]
    pub fn with_basic(mut self, basic: Arc<dyn BasicClients>) -> Self {
        self.basic = Some(basic);
        self
    }

    /// Also counts requests by these rules.
    #[must_use]
    pub fn with_rates(mut self, rates: Rates) -> Self {
        self.rates = Arc::new(rates);
        self
    }

    /// Whose a certificate with these names is.
    pub(crate) fn owner_of(&self, names: &[CertificateName]) -> Owner {
        let mut found = names.iter().filter_map(|name| self.certificates.get(name));
        match found.next() {
            None => Owner::Nobody,
            Some(id) if found.all(|other| other == id) => {
                self.clients.get(id).map_or(Owner::Nobody, |client| Owner::Client(Arc::clone(client)))
            }
            Some(_) => Owner::Several,
        }
    }

    /// The principal a provider's token speaks for, with the policies that concern it and its limit.
    pub(crate) fn outsider(&self, provider: &Provider, outsider: &Outsider) -> Arc<GatewayClient> {
        let Outsiders { policies, limits, limiters, known, .. } = &self.outsiders;
        let key = (outsider.engine_name.clone(), outsider.principal.groups.clone());
        if let Some(client) = known.get(&key) {
            return client;
        }
        let (limit, mode, headers) = *limits;
        let limit = provider.rate_limit().unwrap_or(limit);
        let made: Result<_, std::convert::Infallible> =
            limiters.get_or_insert_with(&outsider.engine_name, || Ok(Arc::new(Limiter::new(limit, mode, headers))));
        let Ok(limiter) = made;
        let client = Arc::new(GatewayClient {
            policies: policies.for_principal(&outsider.principal),
            limiter,
            engine_name: outsider.engine_name.clone(),
            grants: Grants::default(),
            backend_roles: None,
            backend_user: None,
            addresses: AddressRules::default(),
            within: Vec::new(),
            through: None,
            principal: outsider.principal.clone(),
        });
        known.insert(key, Arc::clone(&client));
        client
    }

    /// A person for whom a client acts: the person's policies and limit, and the client's own beside them.
    pub(crate) fn person(
        &self,
        client: &Arc<GatewayClient>,
        provider: &Provider,
        outsider: &Outsider,
    ) -> Arc<GatewayClient> {
        let persons = &self.outsiders.persons;
        let key = (client.engine_name.clone(), outsider.engine_name.clone(), outsider.principal.groups.clone());
        if let Some(person) = persons.get(&key) {
            return person;
        }
        let of = self.outsider(provider, outsider);
        let person = Arc::new(GatewayClient {
            principal: of.principal.clone(),
            engine_name: of.engine_name.clone(),
            grants: Grants::default(),
            backend_roles: None,
            backend_user: None,
            addresses: client.addresses.clone(),
            within: client.within.clone(),
            through: Some(Arc::clone(client)),
            policies: of.policies.clone(),
            limiter: Arc::clone(&of.limiter),
        });
        persons.insert(key, Arc::clone(&person));
        person
    }

    /// Makes this the one after `earlier`: another generation, so that what was made from the earlier one is made anew,
    /// and the same counts of requests, so that nobody gets a whole burst by it.
    pub(crate) fn follow(&mut self, earlier: &Self) {
        self.generation = earlier.generation.wrapping_add(1);
        for (id, client) in &mut self.clients {
            if let (Some(client), Some(known)) = (Arc::get_mut(client), earlier.clients.get(id))
                && let Some(limiter) = Arc::get_mut(&mut client.limiter)
            {
                limiter.go_on_from(&known.limiter);
            }
        }
        for (name, limiter) in &mut self.namespaces {
            if let Some(known) = earlier.namespaces.get(name) {
                limiter.go_on_from(known);
            }
        }
        if let Some(rates) = Arc::get_mut(&mut self.rates) {
            rates.follow(&earlier.rates);
        }
        if self.outsiders.limits == earlier.outsiders.limits {
            self.outsiders.limiters = Arc::clone(&earlier.outsiders.limiters);
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("generation", &self.generation)
            .field("clients", &self.clients.len())
            .field("providers", &self.providers)
            .finish_non_exhaustive()
    }
}
