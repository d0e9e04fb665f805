//! Answers the gateway gives instead of the engine. To an OpenSearch client they look like the engine's own.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use oauth4os_engine::{IdentityError, SigningError};
use oauth4os_telemetry::metrics::Outcome;

use crate::body::BodyError;
use crate::identity::NoIdentity;
use crate::limit::{Standing, whole_seconds};
use crate::rates::{Rule, Told};
use crate::wire::Malformed;

/// A request that is not forwarded, or whose answer cannot be had, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Status code.
    pub(crate) status: u16,
    /// The engine's word for the kind of error.
    kind: &'static str,
    /// What happened and what to do, in a sentence.
    pub(crate) reason: Cow<'static, str>,
    /// What becomes of the request in metrics.
    pub(crate) outcome: Outcome,
    challenge: Option<Challenge>,
    /// The rates the answer tells of.
    pub(crate) told: Option<Box<Told>>,
    retry_after: Option<Duration>,
    /// The methods that would do.
    allow: Option<String>,
    /// Whether it tells the version of WebSockets that would do.
    tells_websocket_version: bool,
    /// Whether the connection cannot be used any more.
    pub(crate) close: bool,
}

/// What `WWW-Authenticate` says beside the realm (RFC 6750 section 3).
#[derive(Debug)]
enum Challenge {
    /// There was no credential.
    Missing,
    /// The token is not valid.
    InvalidToken,
    /// The token is valid, but not for this; the scope that would do, when one would.
    InsufficientScope(Option<String>),
}

/// The names of the rates in the `RateLimit` fields.
pub(crate) const CLIENT_RATE: &str = "client";
pub(crate) const ADDRESS_RATE: &str = "address";
pub(crate) const NAMESPACE_RATE: &str = "namespace";

const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH";

impl Refusal {
    fn new(status: u16, kind: &'static str, outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            kind,
            reason: reason.into(),
            outcome,
            challenge: None,
            told: None,
            retry_after: None,
            allow: None,
            tells_websocket_version: false,
            close: false,
        }
    }

    /// Not readable in exactly one way; the connection is closed, since nobody knows where the next request begins.
    pub(crate) fn malformed(problem: Malformed) -> Self {
        let status = match problem {
            Malformed::TooManyHeaders => 431,
            _ => 400,
        };
        Self { close: true, ..Self::new(status, "illegal_argument_exception", Outcome::Malformed, problem.to_string()) }
    }

    /// The head is longer than permitted.
    pub(crate) fn head_too_large(target_is_the_reason: bool) -> Self {
        let (status, reason) = if target_is_the_reason {
            (414, "the request line is longer than the limit; put the query into the body")
        } else {
            (431, "the header fields are larger than the limit")
        };
        Self { close: true, ..Self::new(status, "illegal_argument_exception", Outcome::Malformed, reason) }
    }

    /// The request did not arrive in time.
    pub(crate) fn too_slow() -> Self {
        Self {
            close: true,
            ..Self::new(408, "timeout_exception", Outcome::Malformed, "the request did not arrive in time")
        }
    }

    /// A method the engine does not answer.
    pub(crate) fn method(method: &str) -> Self {
        let reason = format!("the method `{}` is not supported; use one of {METHODS}", method.escape_default());
        Self {
            close: true,
            allow: Some(METHODS.to_owned()),
            ..Self::new(405, "illegal_argument_exception", Outcome::Malformed, reason)
        }
    }

    /// A method this path does not have.
    pub(crate) fn method_of_path(reason: String, allowed: &[&str]) -> Self {
        Self {
            allow: Some(allowed.join(", ")),
            ..Self::new(405, "illegal_argument_exception", Outcome::Malformed, reason)
        }
    }

    /// A version of WebSockets that is not spoken (RFC 6455 section 4.4).
    pub(crate) fn websocket_version() -> Self {
        let reason = "only version 13 of WebSockets is spoken; send `Sec-WebSocket-Version: 13`, once";
        Self {
            tells_websocket_version: true,
            close: true,
            ..Self::new(426, "illegal_argument_exception", Outcome::Malformed, reason)
        }
    }

    /// An `Expect` the gateway cannot meet.
    pub(crate) fn expectation() -> Self {
        Self {
            close: true,
            ..Self::new(417, "illegal_argument_exception", Outcome::Malformed, "only `Expect: 100-continue` can be met")
        }
    }

    /// There is no credential that could be looked at.
    pub(crate) fn no_credential(reason: &'static str) -> Self {
        Self {
            challenge: Some(Challenge::Missing),
            ..Self::new(401, "security_exception", Outcome::Unauthenticated, reason)
        }
    }

    /// The connection is worth nothing any more, because of the client's certificate.
    pub(crate) fn certificate(reason: &'static str) -> Self {
        Self { close: true, ..Self::no_credential(reason) }
    }

    /// The token is not valid.
    pub(crate) fn invalid_token(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            challenge: Some(Challenge::InvalidToken),
            ..Self::new(401, "security_exception", Outcome::Unauthenticated, reason)
        }
    }

    /// Scope or policy say no.
    pub(crate) fn forbidden(reason: impl Into<Cow<'static, str>>, needed_scope: Option<String>) -> Self {
        Self {
            challenge: Some(Challenge::InsufficientScope(needed_scope)),
            ..Self::new(403, "security_exception", Outcome::Denied, reason)
        }
    }

    /// Not from this address.
    pub(crate) fn address(reason: &'static str) -> Self {
        Self::new(403, "security_exception", Outcome::Denied, reason)
    }

    /// The request is well-formed HTTP, but what it asks for can be read in more than one way, or not at all.
    pub(crate) fn unreadable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, "illegal_argument_exception", Outcome::Malformed, reason)
    }

    /// The body is in a form the gateway does not look into.
    pub(crate) fn content(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(415, "content_type_header_exception", Outcome::Malformed, reason)
    }

    /// The body is larger than permitted; the rest of it is not read.
    pub(crate) fn too_large(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { close: true, ..Self::new(413, "content_too_long_exception", Outcome::Malformed, reason) }
    }

    /// The client sends too many requests.
    pub(crate) fn limited(standing: Standing) -> Self {
        Self::over(CLIENT_RATE, standing, "this client has sent too many requests; wait as long as `Retry-After` says")
    }

    /// The clients of a namespace send too many requests together.
    pub(crate) fn limited_namespace(standing: Standing) -> Self {
        Self::over(
            NAMESPACE_RATE,
            standing,
            "the clients of a namespace have together sent too many requests; wait as long as `Retry-After` says",
        )
    }

    /// Too many requests without a valid credential have come from the address.
    pub(crate) fn limited_address(standing: Standing) -> Self {
        Self::over(
            ADDRESS_RATE,
            standing,
            "too many requests without a valid credential have come from this address; wait as long as `Retry-After` says",
        )
    }

    /// A rate of the configuration is exceeded.
    pub(crate) fn limited_by(rule: &Rule, standing: Standing) -> Self {
        Self::over(rule.name.to_string(), standing, rule.reason())
    }

    fn over(rate: impl Into<Cow<'static, str>>, standing: Standing, reason: impl Into<Cow<'static, str>>) -> Self {
        let mut told = Told::default();
        told.standing(rate, standing);
        Self {
            told: Some(Box::new(told)),
            retry_after: Some(standing.wait),
            ..Self::new(429, "rate_limit_exceeded_exception", Outcome::Limited, reason)
        }
    }

    /// Too many wrong secrets for one client from one address.
    pub(crate) fn too_many_guesses(retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(
                429,
                "rate_limit_exceeded_exception",
                Outcome::Limited,
                "there were too many wrong secrets for this client from this address; wait as long as `Retry-After` says",
            )
        }
    }

    /// The engine cannot be reached; nothing of the request got to it.
    pub(crate) fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, "gateway_exception", Outcome::Failed, reason)
    }

    /// The request cannot be signed, so nothing of it got to the engine.
    pub(crate) fn unsigned(error: SigningError) -> Self {
        match error {
            SigningError::Target(_) => Self::unreadable(error.to_string()),
            SigningError::Expired | SigningError::Keys(_) => Self::unavailable(error.to_string()),
        }
    }

    /// There is nothing the engine could be told, so nothing of the request got to it.
    pub(crate) fn no_identity(error: NoIdentity) -> Self {
        match error {
            NoIdentity::NamesUnknown | NoIdentity::Signing(_) | NoIdentity::Driver(IdentityError::KeyEnded(_)) => {
                Self::unavailable(error.to_string())
            }
            NoIdentity::Restricted
            | NoIdentity::Driver(IdentityError::NoRight | IdentityError::NoUser | IdentityError::TooLarge { .. }) => {
                Self::forbidden(error.to_string(), None)
            }
            _ => Self::internal(format!("no identity could be made for the engine: {error}")),
        }
    }

    /// What is done could not be recorded, and is to be recorded.
    pub(crate) fn unrecorded() -> Self {
        Self::unavailable(
            "requests are not served while their audit record cannot be written; nothing of this one was passed on",
        )
    }

    /// No node of the engine can be reached, and one may be again after this time.
    pub(crate) fn no_node(who: &str, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after.max(Duration::from_secs(1))),
            ..Self::unavailable(format!("{who} cannot be reached; nothing of this request got there"))
        }
    }

    /// There are several clusters, and the request is meant for none of them.
    pub(crate) fn no_cluster() -> Self {
        Self::new(
            404,
            "resource_not_found_exception",
            Outcome::Malformed,
            "no cluster behind this gateway is reached by this host and path; look at `clusters` in its configuration",
        )
    }

    /// Too many requests are under way. Clients send 502, 503 and 504 again at once, writes too; this they do not.
    pub(crate) fn overloaded() -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..Self::new(
                429,
                "rejected_execution_exception",
                Outcome::Limited,
                "too many requests are under way; wait as long as `Retry-After` says",
            )
        }
    }

    /// The engine did not give a usable answer.
    pub(crate) fn bad_gateway(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(502, "gateway_exception", Outcome::Failed, reason)
    }

    /// The engine did not answer in time.
    pub(crate) fn timeout(who: &str) -> Self {
        Self::new(504, "timeout_exception", Outcome::Failed, format!("{who} did not answer in time"))
    }

    /// The request was sent, and nobody knows what has become of it.
    pub(crate) fn unknown_outcome(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(500, "unknown_outcome_exception", Outcome::Failed, reason)
    }

    /// The gateway failed.
    pub(crate) fn internal(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(500, "gateway_exception", Outcome::Failed, reason)
    }

    /// Writes the whole answer. The reason is written to HEAD requests too, as a length only.
    pub(crate) fn write(&self, out: &mut Vec<u8>, issuer: &str, request_id: &str, to_head: bool, close: bool) {
        let body = serde_json::json!({
            "error": {
                "root_cause": [{"type": self.kind, "reason": self.reason}],
                "type": self.kind,
                "reason": self.reason,
                "request_id": request_id,
            },
            "status": self.status,
        })
        .to_string();
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "HTTP/1.1 {} {}\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n",
            self.status,
            reason_phrase(self.status),
            body.len(),
        );
        if let Some(challenge) = &self.challenge {
            let metadata = format!("resource_metadata=\"{issuer}/.well-known/oauth-protected-resource\"");
            let _ = match challenge {
                Challenge::Missing => write!(out, "www-authenticate: Bearer realm=\"oauth4os\", {metadata}\r\n"),
                Challenge::InvalidToken => {
                    write!(out, "www-authenticate: Bearer realm=\"oauth4os\", error=\"invalid_token\", {metadata}\r\n")
                }
                Challenge::InsufficientScope(scope) => {
                    let scope = scope.as_ref().map(|scope| format!("scope=\"{scope}\", ")).unwrap_or_default();
                    write!(
                        out,
                        "www-authenticate: Bearer realm=\"oauth4os\", error=\"insufficient_scope\", {scope}{metadata}\r\n"
                    )
                }
            };
        }
        if let Some(retry_after) = self.retry_after {
            let _ = write!(out, "retry-after: {}\r\n", whole_seconds(retry_after));
        }
        if let Some(told) = &self.told {
            told.write(out);
        }
        if let Some(allow) = &self.allow {
            let _ = write!(out, "allow: {allow}\r\n");
        }
        if self.tells_websocket_version {
            out.extend_from_slice(b"upgrade: websocket\r\nsec-websocket-version: 13\r\nconnection: upgrade, close\r\n");
        } else if close {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !to_head {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Malformed(problem) => Self::malformed(problem),
            BodyError::TooLarge { .. } => Self::too_large(error.to_string()),
        }
    }
}

/// The reason phrase of a status code (RFC 9110 section 15), for those the gateway answers itself.
pub(crate) const fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(refusal: &Refusal, to_head: bool) -> String {
        let mut out = Vec::new();
        refusal.write(&mut out, "https://g", "r1", to_head, refusal.close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_reads_like_the_engine_s_and_names_the_request() {
        let refusal = Refusal::forbidden("the token has no `write`", Some("write:logs-a".to_owned()));
        let text = written(&refusal, false);
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(head.contains("x-request-id: r1"));
        assert!(head.contains("error=\"insufficient_scope\", scope=\"write:logs-a\", resource_metadata=\"https://g/.well-known/oauth-protected-resource\""), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["root_cause"][0]["type"], "security_exception");
        assert_eq!(body["status"], 403);
        assert_eq!(body["error"]["request_id"], "r1");
    }

    #[test]
    fn head_gets_the_length_without_the_body() {
        let text = written(&Refusal::no_credential("send a token"), true);
        assert!(text.ends_with("\r\n\r\n"));
        assert!(!text.contains("content-length: 0"));
    }

    #[test]
    fn times_to_wait_are_rounded_up() {
        let limit = oauth4os_config::RateLimit { requests_per_second: 100, burst: 1 };
        let standing = crate::limit::Rate::new(limit).standing(i64::MAX, 0, false);
        let text = written(&Refusal::limited(standing), false);
        assert!(
            text.contains("retry-after: 1\r\n") && text.contains("\r\nratelimit: \"client\";r=0;t=1\r\n"),
            "{text}"
        );
    }

    #[test]
    fn what_a_stranger_sent_does_not_break_the_answer() {
        let refusal = Refusal::method("A\"B");
        let text = written(&refusal, false);
        let body = text.split_once("\r\n\r\n").unwrap().1;
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
    }
}
