//! Prometheus metrics. Every label has a fixed set of values, so their number does not grow with use; names of
//! clients, indices and paths are in the audit record instead.

mod labels;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use self::labels::{
    CertificateLabels, ConnectionLabels, EjectionLabels, FailureLabels, OutcomeLabels, OverRateLabels,
    ProviderFetchLabels, ProviderLabels, ReloadLabels,
};
pub use self::labels::{ConnectionRefusal, Ejection, Outcome, OverRate, Reload, UpstreamFailure};

/// Handles to every metric; made once, shared by all.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: PerOutcome<Counter>,
    durations: PerOutcome<Histogram>,
    upstream_failures: Family<FailureLabels, Counter>,
    certificate_expires: Family<CertificateLabels, Gauge>,
    provider_keys_stale: Family<ProviderLabels, Gauge>,
    provider_key_fetches: Family<ProviderFetchLabels, Counter>,
    config_reloads: Family<ReloadLabels, Counter>,
    over_rate: Family<OverRateLabels, Counter>,
    connections_refused: Family<ConnectionLabels, Counter>,
    nodes_left_out: Family<EjectionLabels, Counter>,
    /// Requests whose token was found verified.
    pub token_cache_hits: Counter,
    /// Requests whose token had to be verified.
    pub token_cache_misses: Counter,
    /// Connections from clients that are open.
    pub connections: Gauge<i64, AtomicI64>,
    /// Connections on which clients chose HTTP/2.
    pub http2_connections: Counter,
    /// WebSockets that are open.
    pub websockets: Gauge<i64, AtomicI64>,
    /// Connections to the engine that were opened.
    pub upstream_connections: Counter,
    /// Nodes of the engine, and Dashboards.
    pub upstream_nodes: Gauge<i64, AtomicI64>,
    /// How many of them are left out now.
    pub upstream_nodes_out: Gauge<i64, AtomicI64>,
    /// Requests that went to another node, since the first could not be connected to.
    pub upstream_failovers: Counter,
    /// Requests refused since too many were under way.
    pub requests_shed: Counter,
    /// Access tokens issued.
    pub tokens_issued: Counter,
    /// Token requests refused.
    pub tokens_refused: Counter,
    /// Access tokens revoked.
    pub tokens_revoked: Counter,
    /// Audit events that could not be written.
    pub audit_dropped: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every metric.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("oauth4os");
        let requests = Family::<OutcomeLabels, Counter>::default();
        registry.register("requests", "Requests on the data plane by what became of them", requests.clone());
        // From 0.5 ms to 65 s, each bucket twice the last.
        let buckets = || Histogram::new((0..18).map(|power| 0.0005 * f64::from(1 << power)));
        let durations = Family::<OutcomeLabels, Histogram>::new_with_constructor(buckets);
        registry.register_with_unit(
            "request_duration",
            "From the end of a request's head to the end of the answer",
            Unit::Seconds,
            durations.clone(),
        );
        let upstream_failures = Family::default();
        registry.register(
            "upstream_failures",
            "Requests the engine did not answer, by reason",
            upstream_failures.clone(),
        );
        let certificate_expires = Family::<CertificateLabels, Gauge>::default();
        registry.register_with_unit(
            "certificate_expires_timestamp",
            "When a certificate that the gateway shows runs out, in Unix time; the first of its chain that does",
            Unit::Seconds,
            certificate_expires.clone(),
        );
        let provider_keys_stale = Family::<ProviderLabels, Gauge>::default();
        registry.register(
            "provider_keys_stale",
            "1 while a provider's keys are missing or older than they should be, since it cannot be reached",
            provider_keys_stale.clone(),
        );
        let provider_key_fetches = Family::<ProviderFetchLabels, Counter>::default();
        registry.register(
            "provider_key_fetches",
            "Fetches of a provider's keys by what became of them",
            provider_key_fetches.clone(),
        );
        let config_reloads = Family::default();
        registry.register("config_reloads", "Reloads of the configuration file, by result", config_reloads.clone());
        for result in [Reload::Applied, Reload::Invalid, Reload::NeedsRestart] {
            drop(config_reloads.get_or_create(&ReloadLabels { result }));
        }
        let over_rate = Family::default();
        registry.register("over_rate", "Requests over a rate, refused or only observed", over_rate.clone());
        for rate in [OverRate::Client, OverRate::Namespace, OverRate::Address, OverRate::Rule] {
            for mode in ["enforce", "observe", "dry_run"] {
                drop(over_rate.get_or_create(&OverRateLabels { rate, mode }));
            }
        }
        let connections_refused = Family::default();
        registry.register(
            "connections_refused",
            "Connections from clients that were closed before TLS, by reason",
            connections_refused.clone(),
        );
        for reason in [
            ConnectionRefusal::Limit,
            ConnectionRefusal::Address,
            ConnectionRefusal::ProxyHeader,
            ConnectionRefusal::Certificate,
        ] {
            drop(connections_refused.get_or_create(&ConnectionLabels { reason }));
        }
        let nodes_left_out = Family::default();
        registry.register(
            "upstream_nodes_left_out",
            "Times a node of the engine was left out for a while, by reason",
            nodes_left_out.clone(),
        );
        for reason in [Ejection::Connect, Ejection::Broken] {
            drop(nodes_left_out.get_or_create(&EjectionLabels { reason }));
        }
        let upstream_nodes = Gauge::default();
        registry.register("upstream_nodes", "Nodes of the engine, and Dashboards", upstream_nodes.clone());
        let upstream_nodes_out = Gauge::default();
        registry.register(
            "upstream_nodes_out",
            "Nodes of the engine that are left out at present",
            upstream_nodes_out.clone(),
        );
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let token_cache_hits = counter("token_cache_hits", "Requests whose token was found verified");
        let token_cache_misses = counter("token_cache_misses", "Requests whose token had to be verified");
        let http2_connections = counter("http2_connections", "Connections on which clients chose HTTP/2");
        let upstream_connections = counter("upstream_connections", "Connections to the engine that were opened");
        let upstream_failovers = counter(
            "upstream_failovers",
            "Requests that went to another node, since the first could not be connected to",
        );
        let requests_shed = counter("requests_shed", "Requests refused since too many were under way");
        let tokens_issued = counter("tokens_issued", "Access tokens issued");
        let tokens_refused = counter("tokens_refused", "Token requests refused");
        let tokens_revoked = counter("tokens_revoked", "Access tokens revoked");
        let connections = Gauge::default();
        registry.register("connections", "Connections from clients that are open", connections.clone());
        let websockets = Gauge::default();
        registry.register("websockets", "WebSockets to Dashboards that are open", websockets.clone());
        let audit_dropped = Gauge::default();
        registry.register(
            "audit_dropped",
            "Audit events that could not be written since the start",
            audit_dropped.clone(),
        );
        Self {
            requests: PerOutcome::new(|outcome| requests.get_or_create_owned(&OutcomeLabels { outcome })),
            durations: PerOutcome::new(|outcome| durations.get_or_create_owned(&OutcomeLabels { outcome })),
            registry,
            upstream_failures,
            certificate_expires,
            provider_keys_stale,
            provider_key_fetches,
            config_reloads,
            over_rate,
            connections_refused,
            nodes_left_out,
            token_cache_hits,
            token_cache_misses,
            connections,
            http2_connections,
            websockets,
            upstream_connections,
            upstream_nodes,
            upstream_nodes_out,
            upstream_failovers,
            requests_shed,
            tokens_issued,
            tokens_refused,
            tokens_revoked,
            audit_dropped,
        }
    }

    /// Counts a request.
    pub fn request(&self, outcome: Outcome, seconds: f64) {
        self.requests.get(outcome).inc();
        self.durations.get(outcome).observe(seconds);
    }

    /// Counts a request the engine did not answer.
    pub fn upstream_failed(&self, reason: UpstreamFailure) {
        self.upstream_failures.get_or_create(&FailureLabels { reason }).inc();
    }

    /// Says when a certificate that is shown to clients (`listener`) or to the engine of a cluster (`engine`) runs out, in Unix time.
    pub fn certificate_expires(&self, certificate: &'static str, cluster: &str, at: i64) {
        let labels = CertificateLabels { certificate, cluster: cluster.to_owned() };
        self.certificate_expires.get_or_create(&labels).set(at);
    }

    /// Says whether a provider's keys are missing or older than they should be. The name is one of the configuration.
    pub fn provider_keys_stale(&self, provider: &str, stale: bool) {
        let labels = ProviderLabels { provider: provider.to_owned() };
        self.provider_keys_stale.get_or_create(&labels).set(stale.into());
    }

    /// Counts a fetch of a provider's keys.
    pub fn provider_keys_fetched(&self, provider: &str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.provider_key_fetches.get_or_create(&ProviderFetchLabels { provider: provider.to_owned(), outcome }).inc();
    }

    /// Counts a connection that was closed before TLS.
    pub fn connection_refused(&self, reason: ConnectionRefusal) {
        self.connections_refused.get_or_create(&ConnectionLabels { reason }).inc();
    }

    /// Counts that a node of the engine is left out for a while.
    pub fn node_left_out(&self, reason: Ejection) {
        self.nodes_left_out.get_or_create(&EjectionLabels { reason }).inc();
    }

    /// Counts a request over a rate of this mode: `enforce`, `observe` or `dry_run`.
    pub fn over_rate(&self, rate: OverRate, mode: &'static str) {
        self.over_rate.get_or_create(&OverRateLabels { rate, mode }).inc();
    }

    /// Counts a reload of the configuration.
    pub fn config_reloaded(&self, result: Reload) {
        self.config_reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    /// All metrics in the text format of OpenMetrics 1.0.
    ///
    /// # Errors
    /// When a metric cannot be written as text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// One handle for each outcome, found without a lock.
#[derive(Debug)]
struct PerOutcome<M> {
    allowed: M,
    denied: M,
    unauthenticated: M,
    malformed: M,
    limited: M,
    failed: M,
}

impl<M> PerOutcome<M> {
    fn new(make: impl Fn(Outcome) -> M) -> Self {
        Self {
            allowed: make(Outcome::Allowed),
            denied: make(Outcome::Denied),
            unauthenticated: make(Outcome::Unauthenticated),
            malformed: make(Outcome::Malformed),
            limited: make(Outcome::Limited),
            failed: make(Outcome::Failed),
        }
    }

    const fn get(&self, outcome: Outcome) -> &M {
        match outcome {
            Outcome::Allowed => &self.allowed,
            Outcome::Denied => &self.denied,
            Outcome::Unauthenticated => &self.unauthenticated,
            Outcome::Malformed => &self.malformed,
            Outcome::Limited => &self.limited,
            Outcome::Failed => &self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        metrics.request(Outcome::Denied, 0.001);
        metrics.upstream_failed(UpstreamFailure::Timeout);
        metrics.tokens_issued.inc();
        metrics.provider_keys_stale("keycloak", true);
        metrics.provider_keys_fetched("keycloak", false);
        metrics.config_reloaded(Reload::NeedsRestart);
        metrics.certificate_expires("engine", "eu", 1_900_000_000);
        let text = metrics.render().unwrap();
        assert!(text.contains("oauth4os_provider_keys_stale{provider=\"keycloak\"} 1"), "{text}");
        assert!(
            text.contains("oauth4os_provider_key_fetches_total{provider=\"keycloak\",outcome=\"failed\"} 1"),
            "{text}"
        );
        let expires =
            "oauth4os_certificate_expires_timestamp_seconds{certificate=\"engine\",cluster=\"eu\"} 1900000000";
        assert!(text.contains(expires), "{text}");
        assert!(text.contains("oauth4os_requests_total{outcome=\"denied\"} 1"), "{text}");
        assert!(text.contains("oauth4os_upstream_failures_total{reason=\"timeout\"} 1"), "{text}");
        assert!(text.contains("oauth4os_tokens_issued_total 1"), "{text}");
        assert!(text.contains("oauth4os_config_reloads_total{result=\"needs_restart\"} 1"), "{text}");
        assert!(text.contains("oauth4os_config_reloads_total{result=\"applied\"} 0"), "{text}");
        assert!(text.contains("oauth4os_request_duration_seconds_count{outcome=\"denied\"} 1"), "{text}");
    }
}
