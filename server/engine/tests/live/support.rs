//! A real engine, and a gateway's identity on it that every test has for itself.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_engine::{AdminCredentials, EngineClient, Identities, Naming, SecurityConfig, setup};
use oauth4os_policy::scope::Clusters;
use oauth4os_policy::{Catalog, EngineGrant, Forbids, Restrictions, ScopeSet};
use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

pub const ISSUER: &str = "https://gateway.example.com";

/// Held while auth domains are written: of two that take the same order number at the same time one is dead until the
/// other has moved, and a test meanwhile would see 401.
pub static CONFIGURING: Mutex<()> = Mutex::const_new(());

/// One gateway on the running engine, with its own names and key.
pub struct Gateway {
    pub state: Value,
    pub engine: oauth4os_config::Engine,
    pub naming: Naming,
    pub key: Arc<SigningKey>,
    pub desired: SecurityConfig,
    pub identities: Identities,
    pub admin: EngineClient,
    pub plain: EngineClient,
    pub http: reqwest::Client,
}

impl Gateway {
    /// Names for a gateway that is not set up.
    pub fn named(name: &str) -> Self {
        // Every test may be the first one of the process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path = std::env::var_os("OAUTH4OS_ENGINE_JSON").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/engine/3.4.0/engine.json"),
            PathBuf::from,
        );
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("no engine to test with: {} cannot be read ({error}); run `cargo xtask engine up`", path.display())
        });
        let state: Value = serde_json::from_str(&text).expect("the engine's state is JSON");
        let engine: oauth4os_config::Engine =
            serde_json::from_value(json!({"url": state["url"], "ca": state["ca"]})).expect("a URL and a CA");
        let naming = Naming::of(name).unwrap();
        let key = Arc::new(SigningKey::generate(Algorithm::Rs256).unwrap());
        let desired = SecurityConfig::new(naming.clone(), ISSUER, [key.public().as_ref()]).unwrap();
        let credentials =
            AdminCredentials::Certificate { certificate: file(&state, "admin_cert"), key: file(&state, "admin_key") };
        let ca = std::fs::read(file(&state, "ca")).unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(reqwest::Certificate::from_pem_bundle(&ca).unwrap())
            .build()
            .unwrap();
        Self {
            identities: Identities::jwt(naming.clone(), ISSUER.to_owned(), Arc::clone(&key), Duration::from_secs(600)),
            admin: EngineClient::admin(&engine, &credentials).unwrap(),
            plain: EngineClient::plain(&engine).unwrap(),
            state,
            engine,
            naming,
            key,
            desired,
            http,
        }
    }

    pub async fn set_up(&self) {
        let _alone = CONFIGURING.lock().await;
        setup::apply(&self.admin, &setup::plan(&self.admin, &self.desired).await.unwrap()).await.unwrap();
    }

    pub async fn take_away(&self) {
        let _alone = CONFIGURING.lock().await;
        setup::apply(&self.admin, &setup::plan_removal(&self.admin, &self.desired).await.unwrap()).await.unwrap();
    }

    /// The `Authorization` of a token with these scopes.
    pub fn token(&self, scopes: &str) -> String {
        let scopes = ScopeSet::parse(scopes, &Clusters::default()).unwrap();
        self.token_of(&EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::new(), Catalog::none()))
    }

    /// The `Authorization` of a token with these rights.
    pub fn token_of(&self, grant: &EngineGrant) -> String {
        let identity = self.identities.hand_over("tester", grant, None, SystemClock.now()).unwrap();
        identity.fields().trim_end().strip_prefix("authorization: ").unwrap().to_owned()
    }

    /// Status and body, sent with this `Authorization`. A body that begins a line of its own is NDJSON.
    pub async fn call(&self, authorization: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.state["url"].as_str().unwrap());
        let mut request = self.http.request(method.parse().unwrap(), url).header("authorization", authorization);
        if !body.is_empty() {
            let kind = if body.ends_with('\n') { "application/x-ndjson" } else { "application/json" };
            request = request.header("content-type", kind).body(body.to_owned());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// As the engine's administrator; must succeed. The security configuration is written by other tests too, and of
    /// two writers at a time the engine tells one to come again.
    pub async fn as_admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        loop {
            let answer = self.admin.send(method.clone(), path, body.as_ref()).await.unwrap();
            if answer.status.as_u16() != 409 {
                return answer.success().unwrap().body;
            }
        }
    }

    /// As the engine's administrator; gone already is as good.
    async fn delete(&self, path: &str) {
        loop {
            let answer = self.admin.send(Method::DELETE, path, None).await.unwrap();
            match answer.status.as_u16() {
                409 => {}
                200 | 404 => return,
                status => panic!("{path}: {status}: {}", answer.reason()),
            }
        }
    }

    /// Takes away what a test left: its indices, data streams, templates and the gateway itself.
    pub async fn sweep(&self) {
        let name = &self.naming.domain;
        for path in [format!("/_data_stream/{name}-*"), format!("/_index_template/{name}-*"), format!("/{name}-*")] {
            self.delete(&path).await;
        }
        for kind in ["rolesmapping", "roles"] {
            self.delete(&format!("/_plugins/_security/api/{kind}/{name}-foreign")).await;
        }
        self.take_away().await;
    }
}

fn file(state: &Value, name: &str) -> PathBuf {
    PathBuf::from(state[name].as_str().unwrap())
}

/// Runs a test on a gateway of its own and leaves the cluster as it was, however the test ends.
pub async fn on_gateway<F, T>(name: &str, test: T)
where
    T: FnOnce(Arc<Gateway>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let gateway = Arc::new(Gateway::named(name));
    gateway.sweep().await;
    let outcome = tokio::spawn(test(Arc::clone(&gateway))).await;
    gateway.sweep().await;
    if let Err(failed) = outcome {
        std::panic::resume_unwind(failed.into_panic());
    }
}

/// Sends each request and compares the status; every difference is shown, not the first alone.
pub async fn expect(gateway: &Gateway, scopes: &str, requests: &[(u16, &str, &str, &str)]) {
    let token = gateway.token(&filled(gateway, scopes));
    let mut wrong = Vec::new();
    for (expected, method, path, body) in requests {
        let (path, body) = (filled(gateway, path), filled(gateway, body));
        let (status, answer) = gateway.call(&token, method, &path, &body).await;
        if status != *expected {
            wrong.push(format!("{method} {path}: {status} instead of {expected}: {answer:.300}"));
        }
    }
    assert!(wrong.is_empty(), "with `{scopes}`:\n{}", wrong.join("\n"));
}

/// `T-` stands for the test's own prefix.
pub fn filled(gateway: &Gateway, text: &str) -> String {
    text.replace("T-", &format!("{}-", gateway.naming.domain))
}
