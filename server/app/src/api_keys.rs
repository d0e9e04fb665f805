//! `oauth4os engine setup` where requests go as API keys of the engine's own.

use std::process::ExitCode;

use aws_lc_rs::digest::{SHA256, digest};
use oauth4os_config::{ApiKeys, ClientConfig, Cluster, Config, Driver, NAMES_KEY, StrictAliases};
use oauth4os_engine::api_keys::{ApiKeySetup, Permissions, WantedKey};
use oauth4os_policy::{Catalog, Clusters, EngineGrant, Forbids, Restrictions, ScopeError, ScopeSet};
use oauth4os_tokens::clock::{Clock, SystemClock};

use crate::Failure;
use crate::admin;
use crate::arguments::{Admin, SetupAction};

/// The keys do not fit what they are for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiKeyError {
    #[error("the API key `{key}` cannot be used: {source}")]
    Scopes { key: String, source: ScopeError },
    #[error(
        "the client `{client}` may do more than its API key `{key}` permits; give the key the scopes of all clients that use it"
    )]
    NotEnough { client: String, key: String },
}

/// The keys of a cluster, if requests go as such.
pub(crate) fn configured(cluster: &Cluster) -> Option<&ApiKeys> {
    let engine = &cluster.upstream.engine;
    engine.api_key.as_ref().filter(|_| engine.driver == Driver::ApiKey)
}

/// Makes sure that a client's key permits all that the client may do.
pub(crate) fn is_enough(cluster: &Cluster, client: &ClientConfig, scopes: &ScopeSet) -> Result<(), ApiKeyError> {
    let Some(keys) = configured(cluster).filter(|_| !scopes.is_empty()) else { return Ok(()) };
    let user = client.backend_user.as_ref().and_then(|user| user.of_cluster(cluster.name.as_deref()));
    // Whoever has none, or one that is not there, was refused when the configuration was read.
    let Some((name, key)) = user.and_then(|user| keys.keys.get_key_value(user)) else { return Ok(()) };
    if scopes.is_within(&scopes_of(name, &key.scopes)?) || scopes.administers_gateway() && scopes.len() == 1 {
        return Ok(());
    }
    Err(ApiKeyError::NotEnough { client: client.id.clone(), key: name.clone() })
}

/// Shows, makes or takes away the keys.
pub(crate) async fn setup(
    config: &Config,
    cluster: &Cluster,
    keys: &ApiKeys,
    action: &SetupAction,
    admin: &Admin,
) -> Result<ExitCode, Failure> {
    let setup = ApiKeySetup {
        mark: mark(config, cluster),
        directory: keys.directory.clone(),
        lifetime: keys.lifetime().as_duration(),
        keys: wanted(cluster, keys)?,
    };
    if action.print {
        print!("{}", setup.instructions());
        return Ok(ExitCode::SUCCESS);
    }
    let Some(engine) = admin::client(&cluster.upstream.engine, admin)? else {
        return Err(
            "give `--admin-cert` and `--admin-key`, or `--admin-user`; `--print` shows what would be made".into()
        );
    };
    let now = SystemClock.now();
    let plan = if action.remove { setup.plan_removal(&engine, now).await? } else { setup.plan(&engine, now).await? };
    print!("{plan}");
    if plan.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if action.apply || action.remove {
        setup.apply(&engine, &plan, now).await?;
        println!("done; a gateway that runs takes the keys into use by a reload (SIGHUP)");
    } else {
        println!("nothing was changed; `--apply` makes these changes");
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(cluster: &Cluster, keys: &ApiKeys) -> Result<Vec<WantedKey>, ApiKeyError> {
    let mut wanted = Vec::new();
    for (name, key) in &keys.keys {
        let scopes = scopes_of(name, &key.scopes)?;
        let grant = EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::default(), Catalog::none());
        wanted.push(WantedKey { name: name.clone(), permissions: Permissions::of(&grant) });
    }
    if cluster.upstream.engine.strict_aliases != StrictAliases::Off {
        wanted.push(WantedKey { name: NAMES_KEY.to_owned(), permissions: Permissions::of(&EngineGrant::catalog()) });
    }
    Ok(wanted)
}

fn scopes_of(key: &str, scopes: &[String]) -> Result<ScopeSet, ApiKeyError> {
    ScopeSet::collect(scopes, &Clusters::default())
        .map_err(|source| ApiKeyError::Scopes { key: key.to_owned(), source })
}

/// What the names of this gateway's keys have in common and no other gateway's have.
fn mark(config: &Config, cluster: &Cluster) -> String {
    let name = format!("{} {}", config.issuer, cluster.name.as_deref().unwrap_or_default());
    digest(&SHA256, name.as_bytes()).as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
