//! The tokens the gateway issues.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;
use crate::units::Span;

/// Lifetimes and audience of tokens.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// The `aud` of access tokens (RFC 9068 section 2.2). Default: the issuer.
    pub audience: Option<String>,
    /// How long an access token is valid when the client does not ask for less.
    pub lifetime: Span,
    /// How long the gateway's own token for the engine is valid. It is made once for each grant and renewed before it ends.
    pub internal_lifetime: Span,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { audience: None, lifetime: Span::seconds(3_600), internal_lifetime: Span::seconds(600) }
    }
}

impl Tokens {
    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.audience.as_deref().is_some_and(str::is_empty) {
            problems.add("tokens.audience", "is empty; name the audience, or leave the key out");
        }
        if self.lifetime < Span::seconds(60) || self.lifetime > Span::seconds(86_400) {
            problems.add("tokens.lifetime", "give a time from `60s` to `24h`");
        }
        if self.internal_lifetime < Span::seconds(60) || self.internal_lifetime > Span::seconds(3_600) {
            problems.add("tokens.internal_lifetime", "give a time from `60s` to `1h`");
        }
    }
}
