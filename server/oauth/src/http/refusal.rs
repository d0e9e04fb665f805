//! Every error the endpoints answer with: its code, its status, its sentence.

use std::fmt::Display;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::finish::REALM;

/// The codes of RFC 6749 section 5.2 and its extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// RFC 6749 section 5.2, RFC 6750 section 3.1.
    InvalidRequest,
    /// RFC 6749 section 5.2, with the status of RFC 9110 section 15.5.14.
    TooLarge,
    /// RFC 6749 section 5.2.
    InvalidClient,
    /// RFC 6749 section 5.2.
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    InvalidGrant,
    /// RFC 6749 section 5.2.
    InvalidScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 7009 section 2.2.1.
    UnsupportedTokenType,
    /// RFC 6750 section 3.1.
    InvalidToken,
    /// No credential at all: RFC 6750 section 3.1 wants a challenge without code.
    Unauthenticated,
    /// RFC 6750 section 3.1.
    InsufficientScope,
    /// Nothing here, or nothing the caller may know of.
    NotFound,
    /// RFC 9110 section 15.5.6.
    MethodNotAllowed,
    /// Too many wrong secrets.
    TooManyGuesses,
    /// The store does not answer.
    TemporarilyUnavailable,
    /// A fault of ours.
    ServerError,
}

impl ErrorCode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::TooLarge => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InvalidToken => "invalid_token",
            Self::Unauthenticated => "unauthenticated",
            Self::InsufficientScope => "insufficient_scope",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooManyGuesses => "rate_limit_exceeded",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidGrant
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnsupportedTokenType => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidClient | Self::InvalidToken | Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyGuesses => StatusCode::TOO_MANY_REQUESTS,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The credentials an endpoint takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Client credentials.
    Basic,
    /// An access token.
    Bearer,
    /// Either.
    BearerOrBasic,
}

/// A refused request. Becomes the answer on its way out, where the request id and the issuer are known ([`finish`](super::finish)).
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) description: String,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) needed_scope: Option<&'static str>,
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, description: impl Display) -> Self {
        Self {
            code,
            description: printable(&description.to_string()),
            challenge: None,
            needed_scope: None,
            retry_after: None,
        }
    }

    pub(crate) const fn challenging(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    pub(crate) const fn needing(mut self, scope: &'static str) -> Self {
        self.needed_scope = Some(scope);
        self
    }

    pub(crate) const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// For a failure of the store: the caller is told to come back, the log is told why.
    pub(crate) fn store(error: &oauth4os_store::StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(
            ErrorCode::TemporarilyUnavailable,
            "the gateway cannot reach its store; nothing was changed that was not confirmed, try again",
        )
        .after(Duration::from_secs(1))
    }

    /// The value of `WWW-Authenticate` for a scheme.
    pub(crate) fn bearer_challenge(&self, resource_metadata: &str) -> String {
        let mut value = format!("Bearer realm=\"{REALM}\"");
        if self.code != ErrorCode::Unauthenticated {
            value.push_str(&format!(", error=\"{}\", error_description=\"{}\"", self.code.as_str(), self.description));
        }
        if let Some(scope) = self.needed_scope {
            value.push_str(&format!(", scope=\"{scope}\""));
        }
        value.push_str(&format!(", resource_metadata=\"{resource_metadata}\""));
        value
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The characters RFC 6749 section 5.2 allows in `error_description`, which also fit into a header's quoted string.
fn printable(text: &str) -> String {
    const MOST: usize = 400;
    text.chars()
        .take(MOST)
        .map(|character| match character {
            '"' => '\'',
            ' ' | '!' | '#'..='[' | ']'..='~' => character,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_fits_rfc_6749_whatever_it_names() {
        let refusal = Refusal::new(ErrorCode::InvalidScope, "the \"scope\"\r\n\\ `é\u{0}` \u{7f}");
        assert_eq!(refusal.description, "the 'scope'??? `??` ?");
        assert_eq!(Refusal::new(ErrorCode::InvalidScope, "x".repeat(10_000)).description.len(), 400);
    }
}
