//! What one client, one connection, one request may take.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::clients::RateLimit;
use crate::problem::Problems;
use crate::units::{ByteSize, Span};

/// Limits; each has a default that fits the engine's own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests a client may send, over all its tokens. A client may have its own (`clients[].rate_limit`).
    pub per_client: RateLimit,
    /// Requests from one address (of IPv6: one network of 64 bits) that may be refused for want of a valid credential.
    /// Over that, tokens from there that are not known yet are not looked at.
    pub unauthenticated: RateLimit,
    /// What becomes of a request over one of these rates.
    pub rate_mode: RateMode,
    /// Which answers carry the `RateLimit` fields.
    pub rate_headers: RateHeaders,
    /// Request line and headers together. The engine itself takes 16 KiB.
    pub head: ByteSize,
    /// Header fields in one request.
    pub headers: usize,
    /// Longest request line. The engine itself takes 4096 bytes.
    pub request_line: ByteSize,
    /// Largest body; the engine's default is 100 MiB, so larger ones only help where `http.max_content_length` was raised.
    pub body: ByteSize,
    /// Largest body of a search that has to be read as a whole before it can be decided, and longest line of an `_msearch`.
    pub inspected_body: ByteSize,
    /// Largest body with gzip that is read line by line (`_bulk`, `_msearch`), as it is decompressed. The engine's default
    /// is 100 MiB, too. One that has to be read as a whole stays within `inspected_body`, sent and decompressed.
    pub decompressed_body: ByteSize,
    /// Connections at once, over all workers; more are closed at once.
    pub connections: usize,
    /// Requests for the engine at once, over all workers and clients; more are answered 429 at once. What a client may not do,
    /// and what the gateway answers itself, does not count.
    pub requests_in_flight: usize,
    /// Requests at once on one connection of HTTP/2; 0 switches HTTP/2 off.
    pub http2_streams: u32,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Span,
    /// From one piece of a body to the next, both ways.
    pub body_timeout: Span,
    /// How long a connection may be kept open without a request.
    pub idle_timeout: Span,
    /// How long requests that are under way may go on when the gateway is told to stop.
    pub drain_timeout: Span,
    /// Verified tokens each worker keeps ready.
    pub token_cache: usize,
}

/// What becomes of a request over a rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateMode {
    /// It is refused with 429.
    #[default]
    Enforce,
    /// It goes on; metrics and audit events say what would have been refused.
    Observe,
    /// As `observe`, and the client is told, too: the answer has the `RateLimit` fields, and `X-OAuth4OS-Would-Limit` when
    /// the request would have been refused.
    DryRun,
}

impl RateMode {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::DryRun => "dry_run",
        }
    }
}

/// Which answers carry the fields `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateHeaders {
    /// Answers with status 429.
    #[default]
    Refusals,
    /// All answers to requests with a valid credential, too.
    All,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_client: RateLimit { requests_per_second: 10_000, burst: 20_000 },
            unauthenticated: RateLimit { requests_per_second: 50, burst: 500 },
            rate_mode: RateMode::default(),
            rate_headers: RateHeaders::default(),
            head: ByteSize::kib(16),
            headers: 100,
            request_line: ByteSize::kib(4),
            body: ByteSize::mib(1024),
            inspected_body: ByteSize::mib(8),
            decompressed_body: ByteSize::mib(100),
            connections: 20_000,
            requests_in_flight: 10_000,
            http2_streams: 128,
            head_timeout: Span::seconds(10),
            body_timeout: Span::seconds(60),
            idle_timeout: Span::seconds(90),
            drain_timeout: Span::seconds(30),
            token_cache: 16_384,
        }
    }
}

impl Limits {
    pub(crate) fn check(&self, problems: &mut Problems) {
        self.per_client.check("limits.per_client", problems);
        self.unauthenticated.check("limits.unauthenticated", problems);
        let head = ByteSize::kib(1)..=ByteSize::kib(64);
        if !head.contains(&self.head) {
            problems.add("limits.head", "give a size from `1KiB` to `64KiB`");
        }
        if self.request_line > self.head {
            problems.add("limits.request_line", "is larger than `limits.head`, which it is a part of");
        }
        if !(8..=256).contains(&self.headers) {
            problems.add("limits.headers", "give a number from 8 to 256");
        }
        if self.inspected_body > ByteSize::mib(64) {
            problems.add("limits.inspected_body", "is held in memory for each request; give at most `64MiB`");
        }
        if self.connections == 0 || self.requests_in_flight == 0 || self.token_cache == 0 {
            problems.add("limits", "`connections`, `requests_in_flight` and `token_cache` are at least 1");
        }
        if self.http2_streams > 10_000 {
            problems.add("limits.http2_streams", "give a number from 0 to 10000");
        }
        for (key, span) in [
            ("limits.head_timeout", self.head_timeout),
            ("limits.body_timeout", self.body_timeout),
            ("limits.idle_timeout", self.idle_timeout),
        ] {
            if span < Span::seconds(1) {
                problems.add(key, "give at least `1s`");
            }
        }
    }
}
