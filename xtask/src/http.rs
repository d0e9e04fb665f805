//! HTTP to the parts: loopback, no proxy, TLS verified against the part's own CA.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};

/// A client that trusts this CA and no other.
pub fn client_trusting(ca: &Path) -> Result<Client> {
    let pem = std::fs::read(ca).with_context(|| format!("{} cannot be read", ca.display()))?;
    let certificate = Certificate::from_pem(&pem).with_context(|| format!("{} is not a certificate", ca.display()))?;
    Ok(plain().tls_certs_only([certificate]).build()?)
}

/// A client for a part that listens without TLS.
pub fn client() -> Result<Client> {
    // No root is needed, and none is taken from the system.
    Ok(plain().tls_certs_only([]).build()?)
}

fn plain() -> ClientBuilder {
    Client::builder().no_proxy().connect_timeout(Duration::from_secs(2)).timeout(Duration::from_secs(60))
}
