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
use oauth4os_engine::{EngineClient, HandOver};
use oauth4os_oauth::Readiness;
use oauth4os_proxy::Names;
use oauth4os_telemetry::audit::Audit;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock as _, SystemClock};

use crate::cluster::Running;

/// How often the engine is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// What was last seen of the engines.
#[derive(Debug)]
pub(crate) struct EngineWatch {
    engines: Vec<Watched>,
    audit: Audit,
}

#[derive(Debug)]
struct Watched {
    /// The cluster's name, where there are several.
    cluster: Option<String>,
    problem: RwLock<Option<&'static str>>,
    names: Arc<Names>,
    /// As whom requests go where the engine is told nothing of grants.
    own_users: Option<HandOver>,
}

impl EngineWatch {
    /// Looks at these clusters.
    pub(crate) fn new(clusters: &[Running], audit: Audit) -> Self {
        let watched = |running: &Running| Watched {
            cluster: running.name.clone(),
            problem: RwLock::new(Some("the engine has not been looked at yet")),
            names: Arc::clone(&running.names),
            own_users: running.own_users.clone(),
        };
        Self { engines: clusters.iter().map(watched).collect(), audit }
    }

    /// Looks at the engine of one of the clusters again and again.
    pub(crate) async fn run(&self, number: usize, engine: EngineClient) {
        if let Some(watched) = self.engines.get(number) {
            watched.run(engine).await;
        }
    }
}

impl Watched {
    async fn run(&self, engine: EngineClient) {
        loop {
            let problem = engine.send(Method::GET, "/", None).await.err().map(|error| {
                tracing::debug!(cluster = self.cluster, %error, "the engine gives no answer");
                "the engine gives no answer"
            });
            *self.problem.write().unwrap_or_else(PoisonError::into_inner) = problem;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn problems(&self) -> Vec<String> {
        let unknown =
            (!self.names.are_known()).then_some("the names of the engine's indices and aliases are not known");
        let problem = *self.problem.read().unwrap_or_else(PoisonError::into_inner);
        let expired = match &self.own_users {
            Some(HandOver::Signed(signer)) if signer.check(SystemClock.now()).is_err() => {
                Some("the keys that requests to the engine are signed with have expired")
            }
            _ => None,
        };
        let of_cluster = |problem: &str| match &self.cluster {
            Some(name) => format!("cluster `{name}`: {problem}"),
            None => problem.to_owned(),
        };
        problem.into_iter().chain(unknown).chain(expired).map(of_cluster).collect()
    }
}

impl Readiness for EngineWatch {
    fn problems(&self) -> Vec<String> {
        // A gateway that serves one cluster is worth asking, whatever has become of another.
        let of_engines: Vec<Vec<String>> = self.engines.iter().map(Watched::problems).collect();
        let mut problems = Vec::new();
        if of_engines.iter().all(|problems| !problems.is_empty()) {
            problems = of_engines.concat();
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
