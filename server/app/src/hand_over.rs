//! How a cluster learns who is asking, by its driver.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use oauth4os_config::{Cluster, Config, Driver, Engine};
use oauth4os_engine::{BackendUsers, HandOver, Identities, Naming, Signer};
use oauth4os_tokens::keys::SigningKey;

use crate::Failure;

/// Makes the identities the engine is handed; `key` is asked for where one vouches for them.
///
/// `None` where the engine is told nothing of grants.
pub(crate) fn identities(
    config: &Config,
    cluster: &Cluster,
    key: impl FnOnce() -> Arc<SigningKey>,
) -> Option<Identities> {
    let (engine, naming) = (&cluster.upstream.engine, naming(cluster));
    let lifetime = config.tokens.internal_lifetime.as_duration();
    match engine.driver {
        Driver::Jwt => Some(Identities::jwt(naming, config.issuer.clone(), key(), lifetime)),
        Driver::ExtendedProxy => {
            // One of them: to the engine a request comes from the gateway, whoever the client is. A configuration without
            // any is refused when it is read.
            let address = engine.gateway_addresses().first().copied();
            Some(Identities::extended_proxy(naming, address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), lifetime))
        }
        Driver::Basic | Driver::ApiKey | Driver::Sigv4 => None,
    }
}

/// As whom requests go to an engine that is told nothing of grants.
pub(crate) fn own_users(engine: &Engine) -> Result<Option<HandOver>, Failure> {
    if let (Driver::ApiKey, Some(keys)) = (engine.driver, &engine.api_key) {
        return Ok(Some(HandOver::Users(Arc::new(BackendUsers::of_api_keys(keys)?))));
    }
    Ok(match (engine.driver, &engine.basic, &engine.sigv4) {
        (Driver::Basic, Some(basic), _) => Some(HandOver::Users(Arc::new(BackendUsers::new(basic)?))),
        (Driver::Sigv4, _, Some(sigv4)) => Some(HandOver::Signed(Arc::new(Signer::load(sigv4)?))),
        _ => None,
    })
}

/// The names the gateway uses in the cluster.
pub(crate) fn naming(cluster: &Cluster) -> Naming {
    let naming = match &cluster.name {
        Some(name) => Naming::default().of_cluster(name),
        None => Naming::default(),
    };
    match cluster.upstream.engine.driver {
        Driver::ExtendedProxy => naming.for_extended_proxy(),
        Driver::Jwt | Driver::Basic | Driver::ApiKey | Driver::Sigv4 => naming,
    }
}
