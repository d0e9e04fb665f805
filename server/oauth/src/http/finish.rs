//! The last step of every answer: refusals get their body, all answers their headers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

use super::{Challenge, Refusal, RequestId};
use crate::{Authority, paths};

/// The protection space of every endpoint (RFC 9110 section 11.5).
pub(super) const REALM: &str = "oauth4os";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id when it came without one, and completes the answer.
pub(crate) async fn finish(State(authority): State<Arc<Authority>>, mut request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestId>() {
        Some(id) => id.clone(),
        None => {
            let id = RequestId(oauth4os_tokens::id::request_id().unwrap_or_default());
            request.extensions_mut().insert(id.clone());
            id
        }
    };
    let bodiless = request.method() == http::Method::HEAD;
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        render(&mut response, &refusal, &id, &authority, bodiless);
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.entry(REQUEST_ID).or_insert(id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What does not say that it may be kept must not be (RFC 6749 section 5.1).
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    }
    response
}

fn render(response: &mut Response, refusal: &Refusal, id: &RequestId, authority: &Authority, bodiless: bool) {
    let body = json!({
        "error": refusal.code.as_str(),
        "error_description": refusal.description,
        "request_id": id.0,
    })
    .to_string();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Some(wait) = refusal.retry_after {
        // Rounded up: who comes back then is not refused again.
        headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64));
    }
    challenge(headers, refusal, authority);
    *response.body_mut() = if bodiless { Body::empty() } else { Body::from(body) };
}

fn challenge(headers: &mut HeaderMap, refusal: &Refusal, authority: &Authority) {
    let Some(challenge) = refusal.challenge else { return };
    if matches!(challenge, Challenge::Bearer | Challenge::BearerOrBasic) {
        let value = refusal.bearer_challenge(&authority.url(paths::RESOURCE_METADATA));
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if matches!(challenge, Challenge::Basic | Challenge::BearerOrBasic)
        && let Ok(value) = HeaderValue::from_str(&format!("Basic realm=\"{REALM}\", charset=\"UTF-8\""))
    {
        headers.append(WWW_AUTHENTICATE, value);
    }
}
