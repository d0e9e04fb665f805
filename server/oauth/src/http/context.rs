//! What the listener tells of a request.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use oauth4os_config::CertificateName;
use oauth4os_telemetry::audit::Event;
use oauth4os_tokens::clock::UnixTime;

/// The address the connection came from; a request extension, set by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The id that joins answer, log and audit event; a request extension, set by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// The names in the certificate of the connection, verified for this request; a request extension, set by the listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(pub Vec<CertificateName>);

/// Where a request comes from, for limits and the audit record.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) address: Option<IpAddr>,
    pub(crate) certificate: Vec<CertificateName>,
    pub(crate) request_id: String,
    pub(crate) method: http::Method,
    pub(crate) path: String,
}

impl Caller {
    /// An audit event of this request.
    pub(crate) fn event(&self, time: UnixTime, event: &'static str, decision: &'static str) -> Event<'_> {
        let mut event = Event::new(time, event, &self.request_id, decision);
        event.address = self.address;
        event.method = Some(self.method.as_str());
        event.path = Some(&self.path);
        event
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            address: parts.extensions.get::<ClientAddress>().map(|address| address.0),
            certificate: parts.extensions.get::<ClientCertificate>().map(|shown| shown.0.clone()).unwrap_or_default(),
            // Always there: `finish` adds one to a request that came without.
            request_id: parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone()),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
        })
    }
}
