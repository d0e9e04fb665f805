//! The gateway's own endpoints, served on the same port by the control plane's runtime.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Limited};
use oauth4os_config::CertificateName;
use tokio::runtime::Handle;
use tower::ServiceExt;

use crate::wire::request::RequestHead;

/// Largest body of a request to the gateway itself.
pub(crate) const MAX_BODY: u64 = 1024 * 1024;

/// Largest answer of the gateway itself.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// What the control plane is told about a request beside HTTP.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address the connection came from.
    pub address: IpAddr,
    /// The id the answer will carry.
    pub request_id: String,
    /// The names in the certificate of the connection, which was verified and still holds; none when none was shown.
    pub certificate: Vec<CertificateName>,
}

/// Tags a request with its [`Origin`] in the way the router expects.
pub type Tag = dyn Fn(&mut http::Extensions, Origin) + Send + Sync;

/// The control plane: a router, and the runtime it runs on, so that nothing it waits for holds up a worker.
pub struct ControlPlane {
    router: Router,
    runtime: Handle,
    owns: fn(&str) -> bool,
    tag: Box<Tag>,
}

/// The answer of the control plane.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

/// The control plane could not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error("the request cannot be read: {0}")]
    Request(#[from] http::Error),
    #[error("the gateway's own endpoint failed; its log says more")]
    Failed,
}

impl ControlPlane {
    /// A control plane that answers with `router` on `runtime` the paths that `owns` says are its.
    #[must_use]
    pub fn new(router: Router, runtime: Handle, owns: fn(&str) -> bool, tag: Box<Tag>) -> Self {
        Self { router, runtime, owns, tag }
    }

    /// Whether a request for this path, as sent, belongs to the gateway itself.
    pub(crate) fn owns(&self, path: &str) -> bool {
        (self.owns)(path)
    }

    /// Asks the router.
    pub(crate) async fn ask(
        &self,
        head: &RequestHead<'_>,
        body: Vec<u8>,
        origin: Origin,
    ) -> Result<Answer, ControlError> {
        let mut request = Request::builder().method(head.method).uri(head.target);
        for field in head.fields {
            request = request.header(field.name, field.value);
        }
        let mut request = request.body(Body::from(body))?;
        (self.tag)(request.extensions_mut(), origin);
        let router = self.router.clone();
        let task = self.runtime.spawn(async move {
            let Ok(response) = router.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|_| ControlError::Failed)?;
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
        });
        task.await.map_err(|_| ControlError::Failed)?
    }
}
