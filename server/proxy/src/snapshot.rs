//! What the control plane publishes and the data plane reads: immutable, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use oauth4os_config::{AddressRules, Limits, RateLimit, RateMode};
use oauth4os_policy::{Policies, Principal, PrincipalPolicies, ScopeSet};
use oauth4os_tokens::access::Verifier;

use crate::limit::{Limiter, Rate};

/// Everything a decision depends on beside the request and its token.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) verifier: Verifier,
    pub(crate) clients: HashMap<String, Arc<GatewayClient>>,
    /// Refusals for want of a valid credential, for each address, and what becomes of those over that.
    pub(crate) unauthenticated: (Rate, RateMode),
}

/// A client as the control plane knows it.
#[derive(Debug)]
pub struct SnapshotClient {
    /// Who it is to the policies.
    pub principal: Principal,
    /// What it may have at most; a token of more is not accepted any more.
    pub scopes: ScopeSet,
    /// Where it may be used from.
    pub addresses: AddressRules,
    /// What it may send, when not what all others may.
    pub limit: Option<RateLimit>,
}

/// A client as the data plane sees it.
#[derive(Debug)]
pub struct GatewayClient {
    pub(crate) principal: Principal,
    pub(crate) scopes: ScopeSet,
    pub(crate) addresses: AddressRules,
    pub(crate) policies: PrincipalPolicies,
    pub(crate) limiter: Limiter,
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
        let clients = clients
            .into_iter()
            .map(|SnapshotClient { principal, scopes, addresses, limit }| {
                let client = GatewayClient {
                    policies: policies.for_principal(&principal),
                    limiter: Limiter::new(limit.unwrap_or(limits.per_client), limits.rate_mode, limits.rate_headers),
                    scopes,
                    addresses,
                    principal,
                };
                (client.principal.id.clone(), Arc::new(client))
            })
            .collect();
        let unauthenticated = (Rate::new(limits.unauthenticated), limits.rate_mode);
        Self { generation: 0, verifier, clients, unauthenticated }
    }

    /// Makes this the one after `earlier`: another generation, so that what was made from the earlier one is made anew,
    /// and the same counts of requests, so that nobody gets a whole burst by it.
    pub(crate) fn follow(&mut self, earlier: &Self) {
        self.generation = earlier.generation.wrapping_add(1);
        for (id, client) in &mut self.clients {
            if let (Some(client), Some(known)) = (Arc::get_mut(client), earlier.clients.get(id)) {
                client.limiter.go_on_from(&known.limiter);
            }
        }
    }
}
