//! What the machine's own monitoring sees: metrics, health and readiness, and whether the engine can be reached.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use oauth4os_engine::EngineClient;
use oauth4os_oauth::Readiness;
use oauth4os_proxy::Names;
use oauth4os_telemetry::audit::Audit;
use oauth4os_telemetry::metrics::Metrics;

/// How often the engine is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was last seen of the engine.
#[derive(Debug)]
pub(crate) struct EngineWatch {
    problem: RwLock<Option<String>>,
    names: Arc<Names>,
    audit: Audit,
}

impl EngineWatch {
    pub(crate) fn new(names: Arc<Names>, audit: Audit) -> Self {
        Self { problem: RwLock::new(Some("the engine has not been looked at yet".to_owned())), names, audit }
    }

    /// Looks at the engine again and again.
    pub(crate) async fn run(&self, engine: EngineClient) {
        loop {
            let problem = engine.send(Method::GET, "/", None).await.err().map(|error| {
                tracing::debug!(%error, "the engine gives no answer");
                "the engine gives no answer".to_owned()
            });
            *self.problem.write().unwrap_or_else(PoisonError::into_inner) = problem;
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Readiness for EngineWatch {
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.problem.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        if !self.names.are_known() {
            problems.push("the names of the engine's indices and aliases are not known".to_owned());
        }
        if self.audit.must_refuse() {
            problems.push("audit events cannot be written".to_owned());
        }
        problems
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz`.
pub(crate) async fn listen(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    audit: Audit,
    engine: Arc<EngineWatch>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/metrics", get(render))
        .with_state((metrics, audit))
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready).with_state(engine));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are not served any more");
        }
    });
    Ok(())
}

async fn render(State((metrics, audit)): State<(Arc<Metrics>, Audit)>) -> Response {
    metrics.audit_dropped.set(audit.dropped());
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(engine): State<Arc<EngineWatch>>) -> Response {
    let problems = engine.problems();
    if problems.is_empty() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n"))).into_response()
    }
}
