//! `oauth4os engine setup` and `oauth4os engine check`.

use std::process::ExitCode;
use std::sync::Arc;

use oauth4os_config::{Cluster, Config, Driver, Jwt, TrustedBy};
use oauth4os_engine::check::{Check, OtherKeys, OwnUsersCheck, Severity};
use oauth4os_engine::setup;
use oauth4os_engine::{EngineClient, HandOver, KeySource, SecurityConfig};
use oauth4os_store::ClusterKeys;
use oauth4os_tokens::clock::{Clock, SystemClock};

use crate::Failure;
use crate::arguments::{Admin, SetupAction};
use crate::hand_over::{identities, naming, own_users};
use crate::{admin, api_keys, parts, rotation, state, tls};

/// Shows, makes or takes away what the engine's security configuration needs.
pub(crate) fn setup(
    config: &Config,
    cluster: &Cluster,
    action: &SetupAction,
    admin: &Admin,
) -> Result<ExitCode, Failure> {
    if let Some(keys) = api_keys::configured(cluster) {
        return in_runtime(api_keys::setup(config, cluster, keys, action, admin));
    }
    if !cluster.upstream.engine.driver.tells_scopes() {
        println!("{NOTHING_TO_SET_UP}");
        return Ok(ExitCode::SUCCESS);
    }
    in_runtime(async {
        let keys = keys(config, cluster).await?;
        let desired = security_config(config, cluster, &keys)?;
        if action.print {
            print!("{}", setup::instructions(&desired));
            return Ok(ExitCode::SUCCESS);
        }
        let Some(engine) = admin::client(&cluster.upstream.engine, admin)? else {
            return Err(
                "give `--admin-cert` and `--admin-key`, or `--admin-user`; `--print` shows what to do without".into()
            );
        };
        let plan = if action.remove {
            setup::plan_removal(&engine, &desired).await?
        } else {
            setup::plan(&engine, &desired).await?
        };
        print!("{plan}");
        if plan.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if action.apply || action.remove {
            setup::apply(&engine, &plan).await?;
            println!("done");
        } else {
            println!("nothing was changed; `--apply` makes these changes");
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Proves that the engine enforces what tokens say.
pub(crate) fn check(config: &Config, cluster: &Cluster, admin: &Admin) -> Result<ExitCode, Failure> {
    if let Some(hand_over) = own_users(&cluster.upstream.engine)? {
        return check_own_users(config, cluster, &hand_over);
    }
    in_runtime(async {
        let keys = keys(config, cluster).await?;
        let desired = security_config(config, cluster, &keys)?;
        let settings = &cluster.upstream.engine;
        let engine = EngineClient::plain(settings)?;
        let admin = admin::client(settings, admin)?;
        let Some(identities) = identities(config, cluster, || Arc::clone(&keys.signing)) else {
            return Err("this cluster is told nothing of scopes".into());
        };
        let proxy = settings.extended_proxy.clone().unwrap_or_default();
        let stranger = (settings.driver == Driver::ExtendedProxy && proxy.trusted_by == TrustedBy::Certificate)
            .then(|| EngineClient::without_certificate(settings))
            .transpose()?;
        let policies = parts::policies(config)?;
        let clients = parts::client_scopes(config, cluster, &policies)?;
        let other_keys = match settings.driver {
            Driver::Jwt => other_keys(&keys),
            _ => OtherKeys::default(),
        };
        let check = Check {
            other_keys: &other_keys,
            engine: &engine,
            stranger: stranger.as_ref(),
            admin: admin.as_ref(),
            identities: &identities,
            desired: &desired,
            clients: &clients,
            strict_aliases: settings.strict_aliases,
            partial_access: settings.partial_access,
            clock: &SystemClock,
        };
        let report = check.run().await;
        print!("{report}");
        Ok(if report.worst() == Severity::Failure { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// Proves that the users as which requests go are there.
fn check_own_users(config: &Config, cluster: &Cluster, hand_over: &HandOver) -> Result<ExitCode, Failure> {
    in_runtime(async {
        let settings = &cluster.upstream.engine;
        let engine = EngineClient::plain(settings)?;
        let policies = parts::policies(config)?;
        let clients = parts::client_scopes(config, cluster, &policies)?;
        let check = OwnUsersCheck {
            engine: &engine,
            shows_certificate: settings.client_certificate.is_some(),
            hand_over,
            clients: &clients,
            strict_aliases: settings.strict_aliases,
            clock: &SystemClock,
        };
        let report = check.run().await;
        print!("{report}");
        Ok(if report.worst() == Severity::Failure { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// The cluster of this name, or the only one.
pub(crate) fn chosen<'c>(config: &'c Config, name: Option<&str>) -> Result<&'c Cluster, Failure> {
    let clusters = config.clusters();
    match (name, clusters) {
        (None, [only]) => return Ok(only),
        (Some(name), _) => {
            if let Some(cluster) = clusters.iter().find(|cluster| cluster.name.as_deref() == Some(name)) {
                return Ok(cluster);
            }
        }
        (None, _) => {}
    }
    let names: Vec<&str> = clusters.iter().filter_map(|cluster| cluster.name.as_deref()).collect();
    Err(if names.is_empty() {
        "there is one cluster and it has no name; leave out `--cluster`".into()
    } else {
        format!("say which cluster by `--cluster`: {}", names.join(", ")).into()
    })
}

/// What `engine setup` has to do where requests go as users the cluster already has.
const NOTHING_TO_SET_UP: &str = "\
nothing is to be set up in this cluster: requests go as users it already has, and it is told nothing of scopes
  driver: basic  each of `upstream.engine.basic.users` must be there, with the roles that all who go as it need together and no
                 others; `catalog_user` also with `indices:admin/resolve/index` on `*`
  driver: sigv4  the principal whose keys sign must be permitted `es:ESHttp*` (`aoss:APIAccessAll`) on the domain, and where the
                 domain has fine-grained access control, be mapped to a role with the rights that all clients need together
`oauth4os engine check` looks whether they are";

fn security_config(config: &Config, cluster: &Cluster, keys: &ClusterKeys) -> Result<SecurityConfig, Failure> {
    let naming = naming(cluster);
    let desired = match cluster.upstream.engine.driver {
        Driver::Jwt => {
            let keys = keys.public(SystemClock.now());
            SecurityConfig::new(naming, &config.issuer, keys.iter().map(AsRef::as_ref))?
                .with_keys_from(key_source(config, cluster)?)
        }
        Driver::ExtendedProxy => SecurityConfig::extended_proxy(naming, cluster.upstream.engine.gateway_addresses())?,
        Driver::Basic | Driver::ApiKey | Driver::Sigv4 => return Err("nothing is to be set up in this cluster".into()),
    };
    let tenants = cluster.upstream.dashboards.iter().flat_map(oauth4os_config::Dashboards::engine_tenants);
    Ok(desired.with_field_sets(&config.field_sets).with_tenants(tenants))
}

/// Where the engine is to have the gateway's keys from.
fn key_source(config: &Config, cluster: &Cluster) -> Result<KeySource, Failure> {
    let jwt = cluster.upstream.engine.jwt.clone().unwrap_or_default();
    if jwt.keys == oauth4os_config::KeySource::Static {
        return Ok(KeySource::Configuration);
    }
    let path = Jwt::jwks_path(cluster.name.as_deref());
    let jwks_uri = jwt.jwks_uri.unwrap_or_else(|| format!("{}{path}", config.issuer));
    let ca = jwt.jwks_ca.map(|path| tls::certificates_as_text(&path)).transpose()?;
    Ok(KeySource::Fetched { jwks_uri, ca })
}

async fn keys(config: &Config, cluster: &Cluster) -> Result<ClusterKeys, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let keyring = state::engine_keys(&config.state, clock).await?;
    Ok(keyring.of_cluster(rotation::key(cluster.name.as_deref()))?)
}

fn other_keys(keys: &ClusterKeys) -> OtherKeys {
    let now = SystemClock.now();
    let over = keys.retiring.iter().filter(|retiring| retiring.is_over(now));
    OtherKeys { waiting: keys.waiting.clone(), over: over.map(|retiring| Arc::clone(&retiring.key)).collect() }
}

pub(crate) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
