//! One bounded GET for a JSON document.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use crate::address::{self, Forbidden, GuardedResolver, Trust};

/// A connection, and a whole answer, may take so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest document that is read.
pub(crate) const MAX_BYTES: usize = 512 * 1024;

/// Fetches the documents of one provider. Redirects are not followed, proxies of the environment not used.
#[derive(Debug)]
pub(crate) struct Fetcher {
    configured: Client,
    discovered: Client,
}

/// A document, and how long it may be kept if it says so.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) body: Vec<u8>,
    pub(crate) max_age: Option<Duration>,
}

/// A document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The certificates cannot be read.
    #[error("cannot read certificates from `{}`: {reason}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The TLS library cannot be used.
    #[error("a connection cannot be prepared: {0}")]
    Prepare(String),
    /// A place that is not gone to.
    #[error("`{url}` is not fetched: {reason}")]
    Forbidden {
        /// The place.
        url: String,
        /// Why.
        reason: Forbidden,
    },
    /// No connection, no TLS, or no whole answer in time.
    #[error("`{url}` gives no answer: {reason}")]
    Unreachable {
        /// The place.
        url: String,
        /// The deepest cause.
        reason: String,
    },
    /// Not 200. Redirects are among these.
    #[error("`{url}` answers with status {status}, not 200; redirects are not followed")]
    Status {
        /// The place.
        url: String,
        /// The status.
        status: u16,
    },
    /// Not JSON, or encoded.
    #[error("`{url}` does not answer with plain JSON")]
    Type {
        /// The place.
        url: String,
    },
    /// Larger than is read.
    #[error("`{url}` answers with more than {} KiB", MAX_BYTES / 1024)]
    TooLarge {
        /// The place.
        url: String,
    },
    /// Not what the document should be.
    #[error("`{url}`: {problem}")]
    Content {
        /// The place.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Fetcher {
    /// A fetcher that trusts `ca`, or the authorities of the system.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, FetchError> {
        // Without it the library would end the process.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(FetchError::Prepare("no TLS provider is installed in this process".to_owned()));
        }
        let authorities = ca.map(certificates).transpose()?;
        let client = |trust| {
            let mut builder = Client::builder()
                .no_proxy()
                .redirect(Policy::none())
                .dns_resolver(GuardedResolver(trust))
                .pool_max_idle_per_host(0)
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TOTAL_TIMEOUT);
            if let Some(authorities) = &authorities {
                builder = builder.tls_certs_only(authorities.clone());
            }
            builder.build().map_err(|error| FetchError::Prepare(deepest(&error)))
        };
        Ok(Self { configured: client(Trust::Configured)?, discovered: client(Trust::Discovered)? })
    }

    /// Fetches one document.
    pub(crate) async fn get(&self, url: &Url, trust: Trust) -> Result<Fetched, FetchError> {
        let shown = || url.to_string();
        address::check(url, trust).map_err(|reason| FetchError::Forbidden { url: shown(), reason })?;
        let client = match trust {
            Trust::Configured => &self.configured,
            Trust::Discovered => &self.discovered,
        };
        let unreachable = |error: reqwest::Error| FetchError::Unreachable { url: shown(), reason: deepest(&error) };
        let mut response =
            client.get(url.clone()).header(ACCEPT, "application/json").send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(FetchError::Status { url: shown(), status });
        }
        if !is_plain_json(response.headers()) {
            return Err(FetchError::Type { url: shown() });
        }
        let max_age = max_age(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge { url: shown() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched { body, max_age })
    }
}

/// An answer to a form.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Fetcher {
    /// Sends a form, with HTTP Basic where there is a password. Any status is an answer, if JSON comes with it.
    pub(crate) async fn post(
        &self,
        url: &Url,
        trust: Trust,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<Answered, FetchError> {
        let shown = || url.to_string();
        address::check(url, trust).map_err(|reason| FetchError::Forbidden { url: shown(), reason })?;
        let client = match trust {
            Trust::Configured => &self.configured,
            Trust::Discovered => &self.discovered,
        };
        let unreachable = |error: reqwest::Error| FetchError::Unreachable { url: shown(), reason: deepest(&error) };
        let mut request = client.post(url.clone()).header(ACCEPT, "application/json").form(form);
        if let Some((user, password)) = basic {
            request = request.basic_auth(user, Some(password));
        }
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        if !is_plain_json(response.headers()) {
            return Err(FetchError::Type { url: shown() });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLarge { url: shown() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answered { status, body })
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let refused = |reason: String| FetchError::Authority { path: path.to_owned(), reason };
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| refused(deepest(&error)))?;
    if found.is_empty() { Err(refused("it holds no certificate in PEM form".to_owned())) } else { Ok(found) }
}

/// `application/json` or a kind of it (RFC 7517 section 8.5: `application/jwk-set+json`), not compressed.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let encoded =
        headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(one), None, false) = (types.next(), types.next(), encoded) else {
        return false;
    };
    let kind = one.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// RFC 9111 section 5.2.2.1.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(','));
    let seconds = directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"').parse().ok())?
    })?;
    Some(Duration::from_secs(seconds))
}

/// What lies at the bottom of an error, which says most.
fn deepest(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = cause.to_string();
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
