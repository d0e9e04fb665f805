//! What the control plane has of each cluster, and how the parts of the data plane for it are made.

use std::sync::Arc;

use oauth4os_config::{Cluster, Config, Driver, KeySource};
use oauth4os_engine::api_keys::HeldError;
use oauth4os_engine::backend_users::NewPasswords;
use oauth4os_engine::check::ClientScopes;
use oauth4os_engine::{
    BackendUsers, CatalogReader, ClientError, EngineClient, GuardError, HandOver, IdentityError, guard,
};
use oauth4os_policy::Policies;
use oauth4os_proxy::{ClusterSetup, Names};
use oauth4os_store::Keyring;
use oauth4os_tokens::clock::Clock;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::parts::{self, PartsError};
use crate::rotation::{self, Rotating};
use crate::tls::{EngineTls, OwnCertificate, TlsError};
use crate::{Failure, hand_over, keys, names, tls};

/// A cluster as the control plane knows it.
pub(crate) struct Running {
    pub(crate) name: Option<String>,
    pub(crate) engine_tls: EngineTls,
    /// The control plane's way to the engine, all clones of it.
    pub(crate) engine: EngineClient,
    pub(crate) names: Arc<Names>,
    /// As whom requests go where the engine is told nothing of grants.
    pub(crate) own_users: Option<HandOver>,
}

/// Another certificate for an engine, found to be no administrator's, and a client that shows it.
pub(crate) struct NewCertificate(OwnCertificate, EngineClient);

/// The certificate for an engine cannot be replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplaceError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the certificate for the engine cannot be replaced: {0}")]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Engine(#[from] ClientError),
}

/// What requests go with cannot be read again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordsError {
    #[error(transparent)]
    Password(#[from] IdentityError),
    #[error(transparent)]
    ApiKey(#[from] HeldError),
}

impl Running {
    pub(crate) fn new(cluster: &Cluster) -> Result<Self, Failure> {
        let engine = &cluster.upstream.engine;
        Ok(Self {
            name: cluster.name.clone(),
            engine_tls: EngineTls::load(engine)?,
            engine: EngineClient::plain(engine)?,
            names: names::at_first(cluster),
            own_users: hand_over::own_users(engine)?,
        })
    }

    /// What the data plane is told.
    pub(crate) fn setup(&self, config: &Config, cluster: &Cluster, keys: &Keyring) -> Result<ClusterSetup, Failure> {
        let key = keys.of_cluster(rotation::key(self.name.as_deref()))?.signing;
        Ok(ClusterSetup {
            config: cluster.clone(),
            engine_tls: Arc::clone(&self.engine_tls.config),
            dashboards_tls: cluster.upstream.dashboards.as_ref().map(tls::dashboards).transpose()?,
            identities: match &self.own_users {
                Some(own) => own.clone(),
                None => hand_over::identities(config, cluster, || key)
                    .map(HandOver::Told)
                    .ok_or("the engine's driver makes no identities")?,
            },
            names: Arc::clone(&self.names),
        })
    }

    /// What the rotation of keys has to do with it; nothing, where the engine goes by no key.
    pub(crate) fn rotating(&self, cluster: &Cluster, setup: &ClusterSetup) -> Option<Rotating> {
        let engine = &cluster.upstream.engine;
        let HandOver::Told(identities) = &setup.identities else { return None };
        (engine.driver == Driver::Jwt).then(|| Rotating {
            name: self.name.clone(),
            engine: self.engine.clone(),
            identities: identities.clone(),
            fetches: fetches_keys(cluster),
            state: rotation::State::default(),
        })
    }

    /// Keeps its names up to date. What is returned ends after the first look.
    pub(crate) fn watch_names(
        &self,
        cluster: &Cluster,
        setup: &ClusterSetup,
        clients: Vec<ClientScopes>,
        clock: Arc<dyn Clock>,
        control: &Runtime,
    ) -> oneshot::Receiver<()> {
        let reader = CatalogReader::new(self.engine.clone(), setup.identities.clone());
        let guarded = cluster.upstream.engine.client_certificate.is_some().then(|| self.engine.clone());
        names::watch(&self.names, cluster, reader, guarded, clients, clock, control)
    }

    /// Looks every second whether the keys that sign have changed.
    pub(crate) fn watch_keys(&self, control: &Runtime) {
        let Some(HandOver::Signed(signer)) = self.own_users.clone() else { return };
        let cluster = self.name.clone();
        control.spawn(keys::watch(cluster, signer));
    }

    /// The passwords or keys of the users as whom requests go, as they are now.
    pub(crate) fn passwords(&self, cluster: &Cluster) -> Result<Option<NewPasswords>, PasswordsError> {
        let engine = &cluster.upstream.engine;
        Ok(match (&self.own_users, &engine.basic, &engine.api_key) {
            (Some(HandOver::Users(_)), Some(basic), _) => Some(BackendUsers::read_again(basic)?),
            (Some(HandOver::Users(_)), _, Some(keys)) => Some(BackendUsers::read_api_keys(keys)?),
            _ => None,
        })
    }

    /// Sends these from the next request on.
    pub(crate) fn go_on_with(&self, passwords: NewPasswords) {
        if let Some(HandOver::Users(users)) = &self.own_users {
            users.go_on_with(passwords);
        }
    }

    /// Reads the certificate for the engine again; `None` when it is the same.
    pub(crate) async fn read_again(&self, cluster: &Cluster) -> Result<Option<NewCertificate>, ReplaceError> {
        let Some(certificate) = self.engine_tls.read_again(&cluster.upstream.engine)? else { return Ok(None) };
        let engine = EngineClient::plain(&cluster.upstream.engine)?;
        guard::is_no_administrator(&engine).await?;
        Ok(Some(NewCertificate(certificate, engine)))
    }

    /// Shows this one from the next connection on.
    pub(crate) fn show(&self, NewCertificate(certificate, engine): NewCertificate) {
        self.engine_tls.show(certificate);
        self.engine.go_on_as(&engine);
    }
}

/// What the configured clients may ask for in each cluster.
pub(crate) fn client_scopes(config: &Config, policies: &Policies) -> Result<Vec<Vec<ClientScopes>>, PartsError> {
    config.clusters().iter().map(|cluster| parts::client_scopes(config, cluster, policies)).collect()
}

/// Whether the engine fetches the gateway's keys from the gateway.
pub(crate) fn fetches_keys(cluster: &Cluster) -> bool {
    let engine = &cluster.upstream.engine;
    engine.driver == Driver::Jwt && engine.jwt.as_ref().is_some_and(|jwt| jwt.keys == KeySource::Jwks)
}
