//! The process itself: listener, audit, metrics, log.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::certificates::ClientCertificates;
use crate::problem::Problems;

/// What the listener shows (PEM), and whose certificates it takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,

    /// Take certificates of clients. Without it none is asked for.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificates>,
}

impl Tls {
    pub(crate) fn resolve(&mut self, base: &Path) {
        self.certificate = base.join(&self.certificate);
        self.key = base.join(&self.key);
        if let Some(of_clients) = &mut self.client_certificates {
            of_clients.resolve(base);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        check_pair("tls", &self.certificate, &self.key, problems);
        if let Some(of_clients) = &self.client_certificates {
            of_clients.check(problems);
        }
    }
}

/// A certificate and its key (PEM).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

impl KeyPair {
    pub(crate) fn resolve(&mut self, base: &Path) {
        self.certificate = base.join(&self.certificate);
        self.key = base.join(&self.key);
    }

    /// `key` is where it stands in the configuration.
    pub(crate) fn check(&self, key: &str, problems: &mut Problems) {
        check_pair(key, &self.certificate, &self.key, problems);
    }
}

fn check_pair(at: &str, certificate: &Path, key: &Path, problems: &mut Problems) {
    for (name, path) in [("certificate", certificate), ("key", key)] {
        if !path.is_file() {
            problems.add(format!("{at}.{name}"), format!("there is no file `{}`", path.display()));
        }
    }
}

/// Where audit events go: to a file or to standard output.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// A file that lines are appended to; it is made with mode 0600 when missing.
    #[serde(default)]
    pub file: Option<PathBuf>,

    /// Standard output, and nothing else is written there: `stdout: {}`.
    #[serde(default)]
    pub stdout: Option<Stdout>,

    /// What to do while lines cannot be written, because the disk is full for instance.
    #[serde(default)]
    pub on_failure: AuditFailure,
}

/// Nothing more needs to be said.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stdout {}

/// What to do while audit lines cannot be written. In any case they are kept and tried again, as far as memory is set aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditFailure {
    /// Go on; lines that find no room are lost and counted.
    #[default]
    Continue,
    /// Serve nothing and issue no token, with 503, until they can be written again.
    Refuse,
}

impl Audit {
    pub(crate) fn resolve(&mut self, base: &Path) {
        if let Some(path) = &mut self.file {
            *path = base.join(&*path);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.file.is_some() == self.stdout.is_some() {
            problems.add("audit", "give one of `file: <path>` and `stdout: {}`");
        }
    }
}

/// Prometheus metrics, `/healthz` and `/readyz` over plain HTTP, for the machine's own monitoring.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address and port, for example `127.0.0.1:9464`. Without it there is no such listener.
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
    /// Allow an address other machines can reach: metrics tell names of clients and need no credential.
    pub allow_remote: bool,
}

impl Metrics {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if let Some(address) = self.listen
            && !address.ip().is_loopback()
            && !self.allow_remote
        {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
            problems.add(
                "metrics.listen",
                format!(
                    "other machines can reach `{address}`, and metrics need no credential; use `{loopback}`, or say `allow_remote: true`"
                ),
            );
        }
    }
}

/// The gateway's own log, on standard error.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,oauth4os_proxy=debug`.
    pub level: String,
    /// `text` for people, `json` for collectors.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// For people.
    #[default]
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

pub(crate) fn check_issuer(issuer: &str, problems: &mut Problems) {
    let sentence = match issuer.strip_prefix("https://") {
        None => "give an `https` URL; clients refuse tokens and metadata of any other",
        Some(rest) if rest.ends_with('/') => "leave out the final slash",
        Some(rest) if rest.is_empty() || rest.starts_with('/') => "name the host clients know the gateway by",
        Some(rest) if rest.contains(['?', '#', '@', ' ', '\\']) => {
            "give scheme, host and port only, for example `https://gateway.example.com`"
        }
        Some(rest) if rest.contains('/') => "leave out the path: the gateway's endpoints start at the root of its host",
        Some(_) => return,
    };
    problems.add("issuer", format!("`{issuer}`: {sentence}"));
}
