//! What the control plane publishes and the data plane reads: immutable, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;

use oauth4os_config::RateLimit;
use oauth4os_policy::{Policies, Principal, PrincipalPolicies};
use oauth4os_tokens::access::Verifier;

use crate::limit::Limiter;

/// Everything a decision depends on beside the request and its token.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) verifier: Verifier,
    pub(crate) clients: HashMap<String, Arc<GatewayClient>>,
}

/// A client as the data plane sees it.
#[derive(Debug)]
pub struct GatewayClient {
    pub(crate) principal: Principal,
    pub(crate) policies: PrincipalPolicies,
    pub(crate) limiter: Limiter,
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
                    limiter: Limiter::new(limit),
                    principal,
                };
                (client.principal.id.clone(), Arc::new(client))
            })
            .collect();
        Self { generation, verifier, clients }
    }
}
