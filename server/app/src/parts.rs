//! What the gateway is made of, built from the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use oauth4os_config::{ClientConfig, Config, RateLimit};
use oauth4os_oauth::ClientDirectory;
use oauth4os_policy::cedar::PolicyErrors;
use oauth4os_policy::{Clusters, Policies, PolicyFile, Principal, PrincipalKind, ScopeError, ScopeSet};
use oauth4os_store::ClientKind;
use oauth4os_tokens::access::Verifier;

use oauth4os_proxy::{Listener, Snapshot, SnapshotClient};

use crate::tls::ServerTls;

/// A part cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartsError {
    #[error("cannot read the policy file `{}`: {source}", path.display())]
    PolicyFile { path: PathBuf, source: std::io::Error },
    #[error("the policies are refused:\n{0}")]
    Policies(#[from] PolicyErrors),
    #[error("the client `{client}` cannot be used: {source}")]
    Scopes { client: String, source: ScopeError },
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

/// Makes sure that the scopes of all configured clients can be read.
pub(crate) fn check_clients(config: &Config) -> Result<(), PartsError> {
    for client in &config.clients {
        ScopeSet::collect(&client.scopes, &Clusters::default())
            .map_err(|source| PartsError::Scopes { client: client.id.clone(), source })?;
    }
    Ok(())
}

/// What connections meet first.
pub(crate) fn listener(config: &Config, tls: &ServerTls) -> Listener {
    Listener {
        tls: Arc::clone(&tls.config),
        addresses: config.addresses.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
    }
}

/// What the data plane is told of clients and policies.
pub(crate) fn snapshot(
    config: &Config,
    directory: &ClientDirectory,
    verifier: Verifier,
    policies: &Policies,
) -> Snapshot {
    let enabled = directory.all().into_iter().filter(|client| client.enabled);
    let clients = enabled.map(|client| {
        let limit = client
            .rate_limit
            .as_ref()
            .map(|limit| RateLimit { requests_per_second: limit.per_second, burst: limit.burst });
        SnapshotClient {
            principal: principal(&client),
            scopes: client.scopes.clone(),
            addresses: client.addresses.clone(),
            limit,
        }
    });
    Snapshot::new(verifier, clients, policies, &config.limits)
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
pub(crate) fn configured_principal(client: &ClientConfig) -> Principal {
    Principal {
        id: client.id.clone(),
        kind: match client.kind {
            oauth4os_config::ClientKind::Agent => PrincipalKind::Agent,
            oauth4os_config::ClientKind::Machine => PrincipalKind::Client,
        },
        groups: client.groups.iter().cloned().collect(),
    }
}
