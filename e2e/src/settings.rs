//! What a test's gateway is started with.

use oauth4os_tokens::id;
use serde_json::{Map, Value, json};

/// The configuration of a gateway, as far as a test decides it.
#[derive(Clone, Default)]
pub struct Settings {
    pub(crate) clients: Vec<ClientSettings>,
    pub(crate) providers: Vec<Value>,
    pub(crate) policies: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) clusters: Vec<ClusterSettings>,
    pub(crate) engine_options: Map<String, Value>,
    pub(crate) dashboards: Option<Value>,
    pub(crate) limits: Map<String, Value>,
    pub(crate) tokens: Map<String, Value>,
    pub(crate) log_level: Option<String>,
    pub(crate) top: Map<String, Value>,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) engine_decides: bool,
    pub(crate) driver: Option<Driver>,
    pub(crate) environment: Vec<(String, String)>,
}

/// How the engine learns who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    Jwt,
    ExtendedProxy,
}

/// One of several clusters.
#[derive(Clone)]
pub(crate) struct ClusterSettings {
    /// What stands beside its `upstream`.
    pub(crate) fields: Value,
    /// Another engine than the real one.
    pub(crate) url: Option<String>,
    /// Its OpenSearch Dashboards.
    pub(crate) dashboards: Option<Value>,
}

/// A client of the gateway. Its secret is made at random when the gateway starts.
#[derive(Clone)]
pub struct ClientSettings {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) fields: Map<String, Value>,
}

impl ClientSettings {
    /// A machine that may ask for these scopes.
    ///
    /// # Panics
    /// When the operating system gives no random bytes.
    #[must_use]
    pub fn new(id: &str, scopes: &[&str]) -> Self {
        let mut fields = Map::new();
        fields.insert("scopes".to_owned(), json!(scopes));
        Self { id: id.to_owned(), secret: id::random_id("secret-of-the-client-").expect("random bytes"), fields }
    }

    /// The secret it proves itself with.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Sets a key of the client's configuration.
    #[must_use]
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// The same with no secret in the configuration.
    #[must_use]
    pub fn without_secret(mut self) -> Self {
        self.secret = String::new();
        self
    }

    /// The client as the configuration file has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut client = self.fields.clone();
        client.insert("id".to_owned(), json!(self.id));
        if !self.secret.is_empty() {
            client.insert("secret_hash".to_owned(), json!(format!("sha256:{}", sha256_hex(self.secret.as_bytes()))));
        }
        Value::Object(client)
    }
}

impl Settings {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A machine with these scopes.
    #[must_use]
    pub fn client(self, id: &str, scopes: &[&str]) -> Self {
        self.client_with(ClientSettings::new(id, scopes))
    }

    #[must_use]
    pub fn client_with(mut self, client: ClientSettings) -> Self {
        self.clients.push(client);
        self
    }

    /// A provider, as an entry of `providers`.
    #[must_use]
    pub fn provider(mut self, provider: Value) -> Self {
        self.providers.push(provider);
        self
    }

    /// Cedar policies, as the text of a file.
    #[must_use]
    pub fn policies(mut self, text: &str) -> Self {
        self.policies = Some(text.to_owned());
        self
    }

    /// Another engine than the real one.
    #[must_use]
    pub fn upstream(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    /// Several nodes instead of the real engine.
    #[must_use]
    pub fn nodes(self, urls: &[String]) -> Self {
        self.upstream(&urls[0]).engine_option("url", json!(urls))
    }

    /// The real engine as one of several clusters: name and which requests are meant for it.
    #[must_use]
    pub fn cluster(mut self, fields: Value) -> Self {
        self.clusters.push(ClusterSettings { fields, url: None, dashboards: None });
        self
    }

    /// Another engine as one of several clusters.
    #[must_use]
    pub fn cluster_at(mut self, fields: Value, url: &str) -> Self {
        self.clusters.push(ClusterSettings { fields, url: Some(url.to_owned()), dashboards: None });
        self
    }

    /// OpenSearch Dashboards of the cluster that was added last, as `upstream.dashboards`.
    ///
    /// # Panics
    /// When there is no cluster yet.
    #[must_use]
    pub fn dashboards_of_cluster(mut self, dashboards: Value) -> Self {
        self.clusters.last_mut().expect("a cluster").dashboards = Some(dashboards);
        self
    }

    /// Sets a key of `upstream.engine`.
    #[must_use]
    pub fn engine_option(mut self, key: &str, value: Value) -> Self {
        self.engine_options.insert(key.to_owned(), value);
        self
    }

    /// OpenSearch Dashboards, as `upstream.dashboards`.
    #[must_use]
    pub fn dashboards(mut self, dashboards: Value) -> Self {
        self.dashboards = Some(dashboards);
        self
    }

    /// Sets a key of `limits`.
    #[must_use]
    pub fn limit(mut self, key: &str, value: Value) -> Self {
        self.limits.insert(key.to_owned(), value);
        self
    }

    /// Sets a key of `tokens`.
    #[must_use]
    pub fn tokens(mut self, key: &str, value: Value) -> Self {
        self.tokens.insert(key.to_owned(), value);
        self
    }

    /// Sets a key of the configuration as a whole.
    #[must_use]
    pub fn top(mut self, key: &str, value: Value) -> Self {
        self.top.insert(key.to_owned(), value);
        self
    }

    /// A file in the folder of the configuration.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    #[must_use]
    pub fn log_level(mut self, level: &str) -> Self {
        self.log_level = Some(level.to_owned());
        self
    }

    /// An environment variable of the process.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How the engine learns who is asking, whatever the whole run says.
    #[must_use]
    pub const fn driver(mut self, driver: Driver) -> Self {
        self.driver = Some(driver);
        self
    }

    /// The build whose own decision is switched off: authentication and identity stay, the engine alone decides.
    #[must_use]
    pub fn engine_decides(mut self) -> Self {
        self.engine_decides = true;
        self
    }
}

impl Settings {
    /// Whether the real engine is behind the gateway.
    pub(crate) fn reaches_the_engine(&self) -> bool {
        match self.clusters.as_slice() {
            [] => self.upstream.is_none(),
            clusters => clusters.iter().any(|cluster| cluster.url.is_none()),
        }
    }

    /// The driver the test asks for, or the one of the run.
    pub(crate) fn driver_in_use(&self) -> Driver {
        self.driver.unwrap_or_else(Driver::of_run)
    }
}

impl Driver {
    /// What `OAUTH4OS_TEST_DRIVER` says.
    fn of_run() -> Self {
        match std::env::var("OAUTH4OS_TEST_DRIVER").as_deref() {
            Ok("extended_proxy") => Self::ExtendedProxy,
            Ok("jwt") | Err(_) => Self::Jwt,
            Ok(other) => panic!("`{other}` is no driver: set OAUTH4OS_TEST_DRIVER to `jwt` or `extended_proxy`"),
        }
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    id::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
