//! A whole gateway's control side in a temporary folder: real store, real audit file, a clock that tests move.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use oauth4os_config::ClientConfig;
use oauth4os_federation::TrustedIssuers;
use oauth4os_policy::Clusters;
use oauth4os_store::seal::{MasterKey, Sealer};
use oauth4os_store::{
    ClientKind, IssuedToken, KeyUse, RevokedToken, SecretHash, SqliteStore, Store, StoredSecret, signing_keys,
};
use oauth4os_telemetry::audit::{Audit, AuditWriter};
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, ManualClock, UnixTime};
use oauth4os_tokens::id::{Secret, SecretKind};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::engine_keys::Pretended;
use crate::{
    Authority, ClientAddress, ClientCertificate, ClientDirectory, LoggedInPerson, LoginSink, OpaqueSink, Parts,
    Readiness, RequestId, RevocationSink, Settings, router,
};

pub(crate) const ISSUER: &str = "https://gateway.example.com";
/// The issuer that vouches for workloads.
pub(crate) const WORKLOADS: &str = "https://ci.example.com";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(crate) const AUDIENCE: &str = "opensearch-gateway";
/// A secret that means something else when decoded as a form.
pub(crate) const TRICKY_SECRET: &str = "a+b%2Bc%zz/=:&4f1d0c9b8a7e6f5d4c3b2a19";

pub(crate) struct Gateway {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: ManualClock,
    pub(crate) sink: Arc<Sink>,
    pub(crate) readiness: Arc<Switch>,
    pub(crate) secrets: HashMap<String, String>,
    /// The key of the client `signer`, and of the issuer that vouches for workloads.
    pub(crate) key: Arc<SigningKey>,
    configured: Vec<ClientConfig>,
    router: Router,
    writer: AuditWriter,
    folder: TempDir,
}

/// Remembers the revocations it was told of.
#[derive(Debug)]
pub(crate) struct Sink(watch::Sender<Vec<String>>);

#[derive(Debug, Default)]
pub(crate) struct Switch(Mutex<Vec<String>>);

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Gateway {
    /// With the configured clients `agent`, `brief`, `tricky`, `api` and `opaque`, those of token exchanges, `signer` (by a key) and `deploy` (vouched for), and `shipper`, `other`, `admin` in the store.
    pub(crate) async fn start() -> Self {
        let folder = folder();
        let clock = ManualClock::default();
        let mut secrets = HashMap::new();
        let mut secret_hash = |id: &str, secret: String| {
            let hex: String =
                oauth4os_tokens::id::sha256(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            secrets.insert(id.to_owned(), secret);
            format!("sha256:{hex}")
        };
        let key = Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
        let mut configured: Vec<ClientConfig> = serde_json::from_value(json!([
            {
                "id": "agent", "name": "Log agent", "kind": "agent", "groups": ["agents", "eu"],
                "secret_hash": secret_hash("agent", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*", "search:metrics-*"],
            },
            {
                "id": "brief", "token_lifetime": "60s",
                "secret_hash": secret_hash("brief", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*"],
            },
            {
                "id": "tricky", "basic": true,
                "secret_hash": secret_hash("tricky", TRICKY_SECRET.to_owned()),
                "scopes": ["read:logs-*"],
            },
            {
                "id": "api", "introspect": true,
                "secret_hash": secret_hash("api", new_secret().expose().to_owned()),
                "scopes": ["monitor:cluster"],
            },
            {
                "id": "runner",
                "secret_hash": secret_hash("runner", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*", "read:orders-*", "write:app-*"],
                "token_exchange": {
                    "subjects": ["agent", "runner", "second", "other", "opaque", "brief", "held", "held-too", "own", "admin"],
                    "actors": ["agent"],
                    "audiences": ["billing"],
                },
            },
            {
                "id": "second", "access_token_format": "opaque",
                "secret_hash": secret_hash("second", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*", "read:orders-*"],
                "token_exchange": {"subjects": ["runner", "agent", "second"], "audiences": ["billing"]},
            },
            {
                "id": "held",
                "secret_hash": secret_hash("held", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*"],
                "grants": [{"scope": "read:orders-*", "rows": {"term": {"tenant": "${client.id}"}}}],
            },
            {
                "id": "held-too",
                "secret_hash": secret_hash("held-too", new_secret().expose().to_owned()),
                "grants": [{"scope": "read:orders-*", "rows": {"term": {"tenant": "${client.id}"}}}],
                "token_exchange": {"subjects": ["held", "held-too"]},
            },
            {
                "id": "own", "identity": "own", "backend_roles": ["analysts"],
                "secret_hash": secret_hash("own", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*", "read:orders-*"],
                "token_exchange": {"subjects": ["held", "own"]},
            },
            {
                "id": "opaque", "access_token_format": "opaque",
                "secret_hash": secret_hash("opaque", new_secret().expose().to_owned()),
                "scopes": ["read:logs-*"],
            },
            {"id": "signer", "jwks": {"keys": [key.public().jwk()]}, "scopes": ["read:logs-*"]},
            {"id": "mesh", "certificate": {"dns": "mesh.example.com"}, "scopes": ["read:logs-*"]},
            {"id": "mesh2", "certificate": {"dns": "mesh2.example.com"}, "scopes": ["read:logs-*"]},
            {"id": "deploy", "scopes": ["write:app-logs-*", "read:logs-*"], "token_lifetime": "1h"},
        ]))
        .unwrap();
        configured.last_mut().unwrap().is_vouched_for = true;
        let store = open(folder.path(), &clock).await;
        let admin = crate::ensure_first_admin(&*store, &clock, &configured, |_| Ok(())).await.unwrap().unwrap();
        secrets.insert(admin.client_id, admin.client_secret.expose().to_owned());
        for (id, scopes) in [("shipper", "write:app-logs-*"), ("other", "read:logs-*")] {
            let secret = new_secret();
            use oauth4os_store::Clients as _;
            store.create_client(stored_client(id, scopes, &secret, clock.now())).await.unwrap();
            secrets.insert(id.to_owned(), secret.expose().to_owned());
        }
        Self::assemble(folder, clock, secrets, key, configured, store).await
    }

    /// Ends the process and starts it again on the same files.
    pub(crate) async fn restart(self) -> Self {
        self.store.close().await.unwrap();
        self.writer.close();
        let Self { authority, store, clock, secrets, key, configured, router, folder, .. } = self;
        drop((router, authority, store));
        let store = open(folder.path(), &clock).await;
        Self::assemble(folder, clock, secrets, key, configured, store).await
    }

    async fn assemble(
        folder: TempDir,
        clock: ManualClock,
        secrets: HashMap<String, String>,
        key: Arc<SigningKey>,
        configured: Vec<ClientConfig>,
        store: Arc<SqliteStore>,
    ) -> Self {
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let (audit, writer) = Audit::to_file(&folder.path().join("audit.jsonl")).unwrap();
        let clients =
            ClientDirectory::load(&configured, Clusters::default(), store.clone(), shared.clone()).await.unwrap();
        let sink = Arc::new(Sink(watch::channel(Vec::new()).0));
        let readiness = Arc::new(Switch::default());
        let authority = Authority::new(Parts {
            settings: Settings {
                issuer: ISSUER.to_owned(),
                audience: AUDIENCE.to_owned(),
                token_lifetime: Duration::from_secs(3600),
                clusters: Clusters::default(),
                session_lifetime: Duration::from_secs(12 * 3600),
                session_idle: Duration::from_secs(3600),
                refresh_idle: Duration::from_secs(3600),
            },
            keys: signing_keys(&*store, KeyUse::Access, clock.now()).await.unwrap(),
            store: store.clone(),
            clients: Arc::new(clients),
            trusted_issuers: trusted_issuers(&key, &shared),
            clock: shared,
            audit,
            metrics: Arc::new(Metrics::new()),
            revocations: sink.clone(),
            opaque: sink.clone(),
            providers: Arc::default(),
            logins: sink.clone(),
            readiness: readiness.clone(),
            engine_keys: Arc::new(Pretended::default()),
        })
        .unwrap();
        let authority = Arc::new(authority);
        let router = router(authority.clone());
        Self { authority, store, clock, sink, readiness, secrets, key, configured, router, writer, folder }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.clock.now()
    }

    pub(crate) fn secret(&self, client_id: &str) -> String {
        self.secrets[client_id].clone()
    }

    /// Every audit event so far; the gateway is over then.
    pub(crate) fn into_audit(self) -> Vec<Value> {
        self.writer.close();
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> Request<Body> {
        self.request_from("192.0.2.7", method, path)
    }

    pub(crate) fn request_from(&self, address: &str, method: Method, path: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .extension(ClientAddress(address.parse::<IpAddr>().unwrap()))
            .extension(RequestId("req_test".to_owned()))
            .body(Body::empty())
            .unwrap()
    }

    pub(crate) fn form(&self, path: &str, form: &str) -> Request<Body> {
        let mut request = self.request(Method::POST, path);
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *request.body_mut() = Body::from(form.to_owned());
        request
    }

    pub(crate) fn form_as(&self, path: &str, form: &str, id: &str, secret: &str) -> Request<Body> {
        with_basic(self.form(path, form), id, secret)
    }

    /// On a connection with a certificate that has these names.
    pub(crate) fn form_by_certificate(&self, path: &str, form: &str, names: &[&str]) -> Request<Body> {
        let mut request = self.form(path, form);
        let names = names.iter().map(|name| serde_json::from_value(json!({"dns": name})).unwrap()).collect();
        request.extensions_mut().insert(ClientCertificate(names));
        request
    }

    /// A token request of `client_id`, with HTTP Basic.
    pub(crate) fn token_request(&self, client_id: &str, more: &str) -> Request<Body> {
        let form = format!("grant_type=client_credentials{more}");
        self.form_as("/oauth/token", &form, client_id, &self.secret(client_id))
    }

    /// An assertion, signed with the key of `signer` and of the issuer.
    pub(crate) fn signed(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a good assertion of the client `signer`.
    pub(crate) fn client_claims(&self, jti: &str) -> Value {
        let now = self.now().as_secs();
        json!({"iss": "signer", "sub": "signer", "aud": ISSUER, "jti": jti, "iat": now, "exp": now + 60})
    }

    /// The claims of what the issuer says of a workload.
    pub(crate) fn workload_claims(&self, jti: &str) -> Value {
        let now = self.now().as_secs();
        json!({
            "iss": WORKLOADS, "sub": "repo:acme/app:ref:refs/heads/main", "aud": ISSUER, "jti": jti,
            "repository": "acme/app", "ref": "refs/heads/main", "iat": now, "exp": now + 300,
        })
    }

    /// The form of an assertion of `signer`, for any endpoint that takes clients.
    pub(crate) fn client_assertion(&self, jti: &str) -> String {
        let assertion = self.signed(&json!({"alg": "ES256", "typ": "JWT"}), &self.client_claims(jti));
        format!("client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) fn service(&self) -> Router {
        self.router.clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn bearer(&self, path: &str, token: &str) -> Answer {
        self.send(with_bearer(self.request(Method::GET, path), token)).await
    }

    /// An access token of a client, with all its scopes.
    pub(crate) async fn token(&self, client_id: &str) -> String {
        let answer = self.send(self.token_request(client_id, "")).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id_of(&self, token: &str) -> String {
        self.decoded_part(token, 1)["jti"].as_str().unwrap().to_owned()
    }

    pub(crate) fn decoded_part(&self, token: &str, part: usize) -> Value {
        let part = token.split('.').nth(part).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.authority.metrics.render().unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Sink {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) async fn wait_for(&self, id: &str) {
        let mut receiver = self.0.subscribe();
        let told = receiver.wait_for(|ids| ids.iter().any(|other| other == id));
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("the data plane was not told").unwrap();
    }
}

impl OpaqueSink for Sink {
    fn has_room(&self, client_id: &str) -> bool {
        self.ids().iter().filter(|id| *id == client_id).count() < 3
    }

    fn issued(&self, _: &SecretHash, token: &IssuedToken) {
        self.0.send_modify(|ids| ids.push(token.client_id.clone()));
    }
}

impl LoginSink for Sink {
    fn logged_in(&self, id: &str, _: LoggedInPerson) {
        self.0.send_modify(|ids| ids.push(format!("in {id}")));
    }

    fn logged_out(&self, id: &str) {
        self.0.send_modify(|ids| ids.push(format!("out {id}")));
    }
}

impl RevocationSink for Sink {
    fn revoked(&self, tokens: &[RevokedToken]) {
        self.0.send_modify(|ids| ids.extend(tokens.iter().map(|token| token.id.clone())));
    }
}

impl Switch {
    pub(crate) fn set(&self, problems: &[&str]) {
        *self.0.lock().unwrap() = problems.iter().map(|problem| (*problem).to_owned()).collect();
    }
}

impl Readiness for Switch {
    fn problems(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Everything that was answered, for finding what must not be there.
    pub(crate) fn text(&self) -> String {
        format!("{:?} {}", self.headers, String::from_utf8_lossy(&self.body))
    }

    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["error"], code, "{body}");
        assert!(body["error_description"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        assert_eq!(body["request_id"], "req_test");
        assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
        assert_eq!(self.header("content-type"), "application/json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(status == 401, self.headers.contains_key("www-authenticate"), "{}", self.text());
    }
}

/// One issuer: the repository `acme/app` is `deploy` with a part of its scopes on the branch `main`, and with all of them on tags.
fn trusted_issuers(key: &SigningKey, clock: &Arc<dyn Clock>) -> TrustedIssuers {
    let config = json!({
        "name": "ci", "issuer": WORKLOADS, "audience": ISSUER, "jwks": {"keys": [key.public().jwk()]},
        "rules": [
            {"claims": {"repository": "acme/app", "ref": "refs/heads/main"}, "client": "deploy", "scopes": ["write:app-logs-*"]},
            {"claims": {"repository": "acme/app", "ref": "refs/tags/v*"}, "client": "deploy"},
            {"claims": {"repository": "acme/app"}, "client": "agent", "scopes": ["read:logs-web-*"]},
            {"claims": {"repository": "acme/gone"}, "client": "gone"},
        ],
    });
    TrustedIssuers::new(&[serde_json::from_value(config).unwrap()], clock, &Arc::new(Metrics::new())).unwrap()
}

pub(crate) fn with_basic(mut request: Request<Body>, id: &str, secret: &str) -> Request<Body> {
    let credentials = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    request.headers_mut().insert("authorization", credentials.parse().unwrap());
    request
}

pub(crate) fn with_bearer(mut request: Request<Body>, token: &str) -> Request<Body> {
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub(crate) fn new_secret() -> Secret {
    Secret::generate(SecretKind::Client).unwrap()
}

pub(crate) fn stored_client(id: &str, scopes: &str, secret: &Secret, now: UnixTime) -> oauth4os_store::Client {
    oauth4os_store::Client {
        id: id.to_owned(),
        name: String::new(),
        kind: ClientKind::Machine,
        groups: BTreeSet::new(),
        labels: BTreeMap::new(),
        scopes: scopes.to_owned(),
        secrets: vec![StoredSecret::of(secret, "sec_1", now)],
        enabled: true,
        created_at: now,
        rate_limit: None,
    }
}

/// A folder that only its owner can look into, which is what the store wants.
pub(crate) fn folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

pub(crate) async fn open(folder: &Path, clock: &ManualClock) -> Arc<SqliteStore> {
    let master = MasterKey::load_or_create(&folder.join("master.key")).unwrap();
    let store = SqliteStore::open(folder.join("oauth4os.db"), Sealer::new(master), Arc::new(clock.clone())).await;
    Arc::new(store.unwrap())
}
