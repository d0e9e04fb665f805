//! A changed configuration file is taken into use while the gateway serves, or changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use oauth4os_config::{Config, ConfigError};
use oauth4os_federation::Providers;
use oauth4os_oauth::{Authority, ClientDirectory, DirectoryError};
use oauth4os_proxy::Gateway;
use oauth4os_telemetry::audit::{Audit, Event};
use oauth4os_telemetry::metrics::{Metrics, Reload};
use oauth4os_tokens::clock::Clock;
use oauth4os_tokens::id;

use crate::cluster::{self, PasswordsError, ReplaceError, Running};
use crate::expiry::Expiry;
use crate::parts::{self, PartsError};
use crate::tls::{ServerTls, TlsError};

/// What runs, and what it was made from.
pub(crate) struct Reloader {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) server_tls: ServerTls,
    /// In the order of the configuration.
    pub(crate) clusters: Vec<Running>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) providers: Arc<Providers>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) expiry: Arc<Expiry>,
    pub(crate) audit: Audit,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why the configuration that runs stays in force.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(ConfigError),
    #[error(transparent)]
    NeedsRestart(ConfigError),
    #[error(transparent)]
    Parts(#[from] PartsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Clients(#[from] DirectoryError),
    #[error(transparent)]
    Certificate(#[from] ReplaceError),
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
}

impl Reloader {
    /// Reads the file again and puts it in force as a whole; whatever is wrong with it, nothing has changed. What came
    /// of it is in the log, in the metrics and in the audit record.
    pub(crate) async fn reload(&mut self, gateway: &Gateway) {
        let result = self.apply(gateway).await;
        let outcome = match &result {
            Ok(()) => Reload::Applied,
            Err(ReloadError::NeedsRestart(_)) => Reload::NeedsRestart,
            Err(_) => Reload::Invalid,
        };
        let refusal = result.err().map(|error| error.to_string());
        match &refusal {
            None => tracing::info!(clients = self.config.clients.len(), "the configuration was reloaded"),
            Some(reason) => {
                tracing::error!(reason, "the configuration was not reloaded; the one before stays in force");
            }
        }
        // The record of it is not worth more than the reload itself.
        let request_id = id::request_id().unwrap_or_default();
        let decision = if refusal.is_none() { "allow" } else { "deny" };
        let mut event = Event::new(self.clock.now(), "config.reloaded", &request_id, decision);
        event.reason = refusal.as_deref();
        self.audit.record(&event);
        // Last: who sees it counted finds the rest.
        self.metrics.config_reloaded(outcome);
    }

    async fn apply(&mut self, gateway: &Gateway) -> Result<(), ReloadError> {
        let config = Config::load(&self.path).map_err(ReloadError::Config)?;
        self.config.check_reload(&config).map_err(ReloadError::NeedsRestart)?;
        let policies = parts::policies(&config)?;
        cluster::client_scopes(&config, &policies)?;
        parts::check_workloads(&config)?;
        let rates = parts::rates(&config)?;
        let server_tls = self.server_tls.reload(&config.tls)?;
        let mut new_certificates = Vec::new();
        for (running, cluster) in self.clusters.iter().zip(config.clusters()) {
            if let Some(certificate) = running.read_again(cluster).await? {
                new_certificates.push((running, certificate));
            }
        }
        let mut new_passwords = Vec::new();
        for (running, cluster) in self.clusters.iter().zip(config.clusters()) {
            new_passwords.extend(running.passwords(cluster)?.map(|passwords| (running, passwords)));
        }
        // The last step that can fail. No token is issued to a new client before the data plane knows it.
        let publish = |_: &ClientDirectory| {
            let providers = Arc::clone(&self.providers);
            gateway.publish(parts::snapshot(&config, &self.authority, providers, &policies, rates));
            gateway.replace_listener(parts::listener(&config, &server_tls));
        };
        self.authority.clients().reconfigure(&config.clients, publish).await?;
        for (running, certificate) in new_certificates {
            running.show(certificate);
        }
        for (running, passwords) in new_passwords {
            running.go_on_with(passwords);
        }
        self.config = config;
        self.server_tls = server_tls;
        self.expiry.note(&self.server_tls, &self.clusters);
        Ok(())
    }
}
