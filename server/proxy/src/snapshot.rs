//! What the control plane publishes and the data plane reads: immutable, replaced as a whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use oauth4os_config::RateLimit;
use oauth4os_federation::{Outsider, Provider, Providers};
use oauth4os_policy::{Policies, Principal, PrincipalPolicies};
use oauth4os_tokens::access::Verifier;
use quick_cache::sync::Cache;

use crate::basic::BasicClients;
use crate::limit::Limiter;

/// Principals of providers whose limits are kept, and principals with their groups whose policies are. Whoever is
/// forgotten, because so many others came after, begins with a full bucket at the next token.
const OUTSIDERS: usize = 65_536;
const SLICES: usize = 16_384;

/// Everything a decision depends on beside the request and its token.
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) verifier: Verifier,
    pub(crate) clients: HashMap<String, Arc<GatewayClient>>,
    pub(crate) providers: Arc<Providers>,
    pub(crate) basic: Option<Arc<dyn BasicClients>>,
    outsiders: Outsiders,
}

/// Who asks, as the data plane sees it: a client of ours, or a principal of a provider.
#[derive(Debug)]
pub struct GatewayClient {
    pub(crate) principal: Principal,
    /// What the engine is told the principal is called. No two principals share one.
    pub(crate) engine_name: String,
    pub(crate) policies: PrincipalPolicies,
    pub(crate) limiter: Arc<Limiter>,
}

/// What is kept of the principals of providers, of which nobody knows beforehand how many there are.
struct Outsiders {
    policies: Policies,
    limit: RateLimit,
    /// One limit for each principal, over all its tokens and all workers.
    limiters: Cache<String, Arc<Limiter>>,
    /// By name and groups, which may change from token to token.
    known: Cache<(String, Vec<String>), Arc<GatewayClient>>,
}

impl Snapshot {
    /// A snapshot of these clients, each with its limit. `generation` must differ from that of every snapshot before.
    #[must_use]
    pub fn new(
        generation: u64,
        verifier: Verifier,
        clients: impl IntoIterator<Item = (Principal, RateLimit)>,
        policies: &Policies,
    ) -> Self {
        let clients = clients
            .into_iter()
            .map(|(principal, limit)| {
                let client = GatewayClient {
                    policies: policies.for_principal(&principal),
                    limiter: Arc::new(Limiter::new(limit)),
                    engine_name: principal.id.clone(),
                    principal,
                };
                (client.principal.id.clone(), Arc::new(client))
            })
            .collect();
        let outsiders = Outsiders {
            policies: policies.clone(),
            limit: RateLimit { requests_per_second: 1, burst: 1 },
            limiters: Cache::new(1),
            known: Cache::new(1),
        };
        Self { generation, verifier, clients, providers: Arc::default(), basic: None, outsiders }
    }

    /// Also takes tokens of these providers. `limit` is for the principals of those that have none of their own.
    #[must_use]
    pub fn with_providers(mut self, providers: Arc<Providers>, limit: RateLimit) -> Self {
        if !providers.is_empty() {
            self.outsiders.limiters = Cache::new(OUTSIDERS);
            self.outsiders.known = Cache::new(SLICES);
        }
        self.outsiders.limit = limit;
        self.providers = providers;
        self
    }

    /// Also takes HTTP Basic from the clients that may use it.
    #[must_use]
    pub fn with_basic(mut self, basic: Arc<dyn BasicClients>) -> Self {
        self.basic = Some(basic);
        self
    }

    /// The principal a provider's token speaks for, with the policies that concern it and its limit.
    pub(crate) fn outsider(&self, provider: &Provider, outsider: &Outsider) -> Arc<GatewayClient> {
        let Outsiders { policies, limit, limiters, known } = &self.outsiders;
        let key = (outsider.engine_name.clone(), outsider.principal.groups.clone());
        if let Some(client) = known.get(&key) {
            return client;
        }
        let limit = provider.rate_limit().unwrap_or(*limit);
        let made: Result<_, std::convert::Infallible> =
            limiters.get_or_insert_with(&outsider.engine_name, || Ok(Arc::new(Limiter::new(limit))));
        let Ok(limiter) = made;
        let client = Arc::new(GatewayClient {
            policies: policies.for_principal(&outsider.principal),
            limiter,
            engine_name: outsider.engine_name.clone(),
            principal: outsider.principal.clone(),
        });
        known.insert(key, Arc::clone(&client));
        client
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
