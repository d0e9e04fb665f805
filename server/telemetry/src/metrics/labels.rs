//! What metrics tell apart: a fixed set of words for each.

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Forwarded, and answered by the engine.
    Allowed,
    /// Refused by scope or policy.
    Denied,
    /// No credential, or none that is valid.
    Unauthenticated,
    /// Not readable in exactly one way.
    Malformed,
    /// Over a limit of its client.
    Limited,
    /// Allowed, but the engine could not be reached or did not answer.
    Failed,
}

/// Why the engine could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamFailure {
    /// No connection.
    Connect,
    /// A connection ended or said something that is not HTTP.
    Broken,
    /// No answer in time.
    Timeout,
    /// The engine does not accept the identity the gateway hands over.
    Identity,
    /// No node is left that can be asked.
    NoNode,
}

/// Why a node of the engine is left out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ejection {
    /// It cannot be connected to.
    Connect,
    /// Its answers break off, or never come.
    Broken,
}

impl Ejection {
    /// The word for it, in metrics and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
        }
    }
}

impl EncodeLabelValue for Ejection {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self.name())
    }
}

/// Why a connection was closed before TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionRefusal {
    /// There were too many already.
    Limit,
    /// Its address may not connect.
    Address,
    /// A trusted proxy did not say whose it is.
    ProxyHeader,
    /// Its certificate does not hold, or it has none and must.
    Certificate,
}

impl EncodeLabelValue for ConnectionRefusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Limit => "limit",
            Self::Address => "address",
            Self::ProxyHeader => "proxy_header",
            Self::Certificate => "certificate",
        })
    }
}

/// A rate that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverRate {
    /// A client's requests.
    Client,
    /// The requests of a namespace's clients together.
    Namespace,
    /// An address's requests without a valid credential.
    Address,
    /// What a rule of the configuration counts.
    Rule,
}

impl EncodeLabelValue for OverRate {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Client => "client",
            Self::Namespace => "namespace",
            Self::Address => "address",
            Self::Rule => "rule",
        })
    }
}

/// What became of a changed configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reload {
    /// It is in force.
    Applied,
    /// It cannot be read, is not valid, or contradicts the store.
    Invalid,
    /// It changes what is read at the start only.
    NeedsRestart,
}

impl EncodeLabelValue for Reload {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Applied => "applied",
            Self::Invalid => "invalid",
            Self::NeedsRestart => "needs_restart",
        })
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::Failed => "failed",
        })
    }
}

impl EncodeLabelValue for UpstreamFailure {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Identity => "identity",
            Self::NoNode => "no_node",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub(super) reason: UpstreamFailure,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderLabels {
    /// A name of the configuration.
    pub(super) provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CertificateLabels {
    /// Whom it is shown to: `listener` or `engine`.
    pub(super) certificate: &'static str,
    /// A name of the configuration, empty when there are none.
    pub(super) cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProviderFetchLabels {
    pub(super) provider: String,
    pub(super) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReloadLabels {
    pub(super) result: Reload,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OverRateLabels {
    pub(super) rate: OverRate,
    /// `enforce`, `observe` or `dry_run`.
    pub(super) mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EjectionLabels {
    pub(super) reason: Ejection,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ConnectionLabels {
    pub(super) reason: ConnectionRefusal,
}
