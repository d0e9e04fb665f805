//! The HTTP client of `engine setup` and `engine check`: few requests, patient, and every failure a sentence.

use std::error::Error as _;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth4os_config::Engine;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::hand_over::Sender;
use crate::identity::HandedIdentity;
use crate::sigv4::{Signable, SigningError, payload_hash};

/// How long one request may take. Creating an index waits for its shards.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes of an answer that are read. Only the list of all aliases of a large cluster comes near it.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// How an administrator of the engine is recognised.
#[derive(Clone, Debug)]
pub enum AdminCredentials {
    /// A client certificate of `plugins.security.authcz.admin_dn` and its key, both PEM.
    Certificate {
        /// The certificate, with its chain.
        certificate: PathBuf,
        /// The private key: PKCS#8, PKCS#1 or SEC 1.
        key: PathBuf,
    },
    /// A user with a role of `plugins.security.restapi.roles_enabled`.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: SecretString,
    },
}

/// Speaks to one engine under one identity. Clones are one and the same.
#[derive(Clone)]
pub struct EngineClient {
    http: Arc<RwLock<reqwest::Client>>,
    /// The nodes, in the order they are asked.
    urls: Box<[String]>,
    authorization: Option<HeaderValue>,
}

/// The engine could not be asked, or its answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is not one.
    #[error("the engine's URL `{url}` cannot be used: {hint}")]
    Url {
        /// As configured.
        url: String,
        /// What to write instead.
        hint: &'static str,
    },
    /// A file is missing or not what it should be.
    #[error("`{}` {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A user name or password that cannot be sent.
    #[error("the user name contains a colon or a control character, or the password a control character")]
    Credentials,
    /// The TLS library cannot be used.
    #[error("the connection to the engine cannot be prepared: {0}")]
    Prepare(String),
    /// No connection.
    #[error("the engine at {url} cannot be reached: {cause}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        cause: String,
    },
    /// No answer in time.
    #[error("the engine at {url} did not answer within {} seconds", REQUEST_TIMEOUT.as_secs())]
    Timeout {
        /// Where.
        url: String,
    },
    /// An answer longer than is read.
    #[error("the engine's answer to `{request}` is longer than {} MiB", MAX_ANSWER_BYTES / 1024 / 1024)]
    TooLong {
        /// Method and path.
        request: String,
    },
    /// The request was not signed.
    #[error(transparent)]
    Signing(SigningError),
    /// Not the answer that is needed.
    #[error("the engine answered `{request}` with {status}: {reason}")]
    Refused {
        /// Method and path.
        request: String,
        /// The status.
        status: u16,
        /// What the engine says.
        reason: String,
    },
}

/// An answer of the engine.
#[derive(Clone, Debug)]
pub struct Answer {
    request: String,
    /// The status.
    pub status: StatusCode,
    /// The body; `null` when it is not JSON.
    pub body: Value,
}

impl EngineClient {
    /// A client that shows only what each request brings along, and the gateway's certificate if it has one.
    ///
    /// # Errors
    /// When the URL, the CA or the certificate cannot be used.
    pub fn plain(engine: &Engine) -> Result<Self, ClientError> {
        Self::new(engine, own_certificate(engine)?, None)
    }

    /// The same without the gateway's certificate: as a stranger at the gateway's address.
    ///
    /// # Errors
    /// When the URL or the CA cannot be used.
    pub fn without_certificate(engine: &Engine) -> Result<Self, ClientError> {
        Self::new(engine, None, None)
    }

    /// A client of the engine's administrator. Not for trying tokens: a connection with the administrator's certificate
    /// may do everything, whatever else a request says.
    ///
    /// # Errors
    /// When the URL, the CA or the credentials cannot be used.
    pub fn admin(engine: &Engine, credentials: &AdminCredentials) -> Result<Self, ClientError> {
        match credentials {
            AdminCredentials::Certificate { certificate, key } => {
                Self::new(engine, Some(certificate_with_key(certificate, key)?), None)
            }
            AdminCredentials::Password { user, password } => {
                if user.contains(':') || user.chars().chain(password.expose_secret().chars()).any(char::is_control) {
                    return Err(ClientError::Credentials);
                }
                let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
                let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                let mut value = HeaderValue::from_str(&value).map_err(|_| ClientError::Credentials)?;
                value.set_sensitive(true);
                Self::new(engine, own_certificate(engine)?, Some(value))
            }
        }
    }

    fn new(
        engine: &Engine,
        identity: Option<Identity>,
        authorization: Option<HeaderValue>,
    ) -> Result<Self, ClientError> {
        let urls = engine.url.values().to_vec();
        let origins = engine.origins().map_err(|hint| ClientError::Url { url: urls.join(", "), hint })?;
        // Without it the library would end the process.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(ClientError::Prepare("no TLS provider is installed in this process".to_owned()));
        }
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .https_only(origins.iter().all(|origin| origin.tls))
            .connect_timeout(engine.connect_timeout.as_duration())
            .timeout(REQUEST_TIMEOUT);
        if let Some(ca) = &engine.ca {
            let certificates = Certificate::from_pem_bundle(&read(ca)?)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| ClientError::File {
                    path: ca.clone(),
                    problem: "holds no certificate in PEM form".to_owned(),
                })?;
            builder = builder.tls_certs_only(certificates);
        }
        if let Some(identity) = identity {
            builder = builder.identity(identity);
        }
        let http = builder.build().map_err(|error| ClientError::Prepare(deepest(&error)))?;
        Ok(Self { http: Arc::new(RwLock::new(http)), urls: urls.into(), authorization })
    }

    /// Makes connections as `other` does from here on, with all clones: the gateway's certificate was replaced.
    pub fn go_on_as(&self, other: &Self) {
        let http = other.connections();
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http;
    }

    /// A client of each node alone, with its address.
    pub(crate) fn each_node(&self) -> impl Iterator<Item = (&str, Self)> {
        self.urls.iter().map(|url| {
            let authorization = self.authorization.clone();
            (url.as_str(), Self { http: Arc::clone(&self.http), urls: Box::new([url.clone()]), authorization })
        })
    }

    fn connections(&self) -> reqwest::Client {
        self.http.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request under the client's own identity.
    ///
    /// # Errors
    /// When no answer comes. Any status is an answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, ClientError> {
        let own = self.authorization.clone().map(|value| (AUTHORIZATION, value));
        let own: HeaderMap = own.into_iter().collect();
        self.exchange(method, path, body, &|_| Ok(own.clone())).await
    }

    /// Sends a request of the gateway's own as whoever the cluster takes it for.
    pub(crate) async fn send_by(&self, sender: Sender<'_>, method: Method, path: &str) -> Result<Answer, ClientError> {
        match sender {
            Sender::Fields(identity) => self.send_as(identity, method, path, None).await,
            Sender::Signed(signer, now) => {
                let (name, payload) = (method.to_string(), payload_hash(&[]));
                let sign = |authority: &str| {
                    let request = Signable { method: &name, target: path, authority, payload: &payload };
                    let mut fields = fields(signer.sign(&request, now)?.fields())?;
                    let host = HeaderValue::from_str(authority).map_err(|_| ClientError::Credentials)?;
                    fields.insert(HOST, host);
                    Ok(fields)
                };
                self.exchange(method, path, None, &sign).await
            }
        }
    }

    /// Sends a request under an identity of the gateway.
    pub(crate) async fn send_as(
        &self,
        identity: &HandedIdentity,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ClientError> {
        let fields = fields(identity.fields())?;
        self.exchange(method, path, body, &|_| Ok(fields.clone())).await
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        identity: &IdentityFor<'_>,
    ) -> Result<Answer, ClientError> {
        let name = format!("{method} {path}");
        let (url, mut response) = self.first_answer(&method, path, body, identity).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(url, &error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::TooLong { request: name });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer {
            request: name,
            status: response.status(),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    /// Asks one node after the other until a connection is made: whoever could not be connected to has got nothing.
    async fn first_answer(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        identity: &IdentityFor<'_>,
    ) -> Result<(&str, reqwest::Response), ClientError> {
        let mut last = ClientError::Prepare("there is no node to ask".to_owned());
        let http = self.connections();
        for url in self.urls.iter() {
            let authority = url.split_once("://").map_or(url.as_str(), |(_, authority)| authority);
            let mut request = http.request(method.clone(), format!("{url}{path}")).headers(identity(authority)?);
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
            }
            match request.send().await {
                Ok(response) => return Ok((url, response)),
                Err(error) if error.is_connect() => last = failure(url, &error),
                Err(error) => return Err(failure(url, &error)),
            }
        }
        Err(last)
    }
}

/// The fields that say who asks, for a node by its host and port.
type IdentityFor<'a> = dyn Fn(&str) -> Result<HeaderMap, ClientError> + Sync + 'a;

fn failure(url: &str, error: &reqwest::Error) -> ClientError {
    if error.is_timeout() {
        return ClientError::Timeout { url: url.to_owned() };
    }
    ClientError::Unreachable { url: url.to_owned(), cause: deepest(error) }
}

impl fmt::Debug for EngineClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineClient").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Answer {
    /// The answer, if its status is a success.
    ///
    /// # Errors
    /// [`ClientError::Refused`].
    pub fn success(self) -> Result<Self, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(self.refused()) }
    }

    /// The answer as an error.
    #[must_use]
    pub fn refused(&self) -> ClientError {
        ClientError::Refused { request: self.request.clone(), status: self.status.as_u16(), reason: self.reason() }
    }

    /// What the engine says about a failure, in the forms its REST layer and the security plugin use.
    #[must_use]
    pub fn reason(&self) -> String {
        let found =
            ["/error/reason", "/message", "/reason", "/error"].iter().find_map(|at| self.body.pointer(at)?.as_str());
        let text = found.or_else(|| self.status.canonical_reason()).unwrap_or("no reason given");
        text.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }
}

/// The gateway's own certificate, as the engine is shown it.
fn own_certificate(engine: &Engine) -> Result<Option<Identity>, ClientError> {
    engine.client_certificate.as_ref().map(|pair| certificate_with_key(&pair.certificate, &pair.key)).transpose()
}

fn certificate_with_key(certificate: &Path, key: &Path) -> Result<Identity, ClientError> {
    let mut pem = Zeroizing::new(read(key)?);
    pem.push(b'\n');
    pem.extend(read(certificate)?);
    Identity::from_pem(&pem).map_err(|_| ClientError::File {
        path: certificate.to_owned(),
        problem: format!("and `{}` are not a certificate and its private key in PEM form", key.display()),
    })
}

/// The fields of an identity, none of which is shown anywhere.
fn fields(text: &str) -> Result<HeaderMap, ClientError> {
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
    };
    text.lines().map(|line| field(line).ok_or(ClientError::Credentials)).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, ClientError> {
    std::fs::read(path)
        .map_err(|error| ClientError::File { path: path.to_owned(), problem: format!("cannot be read: {error}") })
}

/// The cause at the bottom: the layers above only say that a request was sent.
fn deepest(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
        if matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return format!("{text}; give the authority of its certificate in `upstream.engine.ca`");
        }
        // Inside an I/O error the source is skipped unless asked for.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    text
}

#[cfg(test)]
mod tests;
