//! Verification of access tokens.

use std::sync::Arc;
use std::time::Duration;

use super::{AccessClaims, Invalid, MAX_TOKEN_BYTES};
use crate::clock::UnixTime;
use crate::json::NotAnObject;
use crate::jws::{Compact, Malformed};
use crate::keys::{Algorithm, KeySet, PublicKey};

/// Tells this issuer's access tokens for this audience from everything else. Immutable; made anew when keys change.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: String,
    /// Any, when `None`.
    audience: Option<String>,
    keys: Vec<Arc<PublicKey>>,
    skew: Duration,
    max_lifetime: Duration,
}

/// How far ahead of ours the clock of the replica that issued the token may be. Our own tokens come from this process
/// or from a replica kept in time by the same operator, so seconds are enough; it applies to the beginning of a token
/// only. Its end is never moved: an access token is dead at `exp`, whoever's clock is late.
const SKEW: Duration = Duration::from_secs(5);

/// A guard against a `exp` beyond reason, far above what the issuer grants.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

impl Verifier {
    /// A verifier for tokens whose `iss` is exactly `issuer`, whose `aud` contains exactly `audience`, and that are
    /// signed by an ES256 key of `keys`. Keys of another algorithm are left out: they verify nothing here.
    #[must_use]
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: &KeySet) -> Self {
        Self {
            issuer: issuer.into(),
            audience: Some(audience.into()),
            keys: keys.verifying().iter().filter(|key| key.algorithm() == Algorithm::Es256).cloned().collect(),
            skew: SKEW,
            max_lifetime: MAX_LIFETIME,
        }
    }

    /// Sets how far in the future `iat` and `nbf` may lie (5 seconds unless set). `exp` has no leeway.
    #[must_use]
    pub const fn with_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Sets the longest lifetime a token may claim (366 days unless set).
    #[must_use]
    pub const fn with_max_lifetime(mut self, max_lifetime: Duration) -> Self {
        self.max_lifetime = max_lifetime;
        self
    }

    /// Takes tokens for any audience: for telling what they are, not for letting anybody in.
    #[must_use]
    pub fn for_any_audience(mut self) -> Self {
        self.audience = None;
        self
    }

    /// The claims of a token that is ours and in force at `now`.
    ///
    /// # Errors
    /// [`Invalid`]. Nothing of the claims is read before the signature is verified.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<AccessClaims, Invalid> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Invalid::TooLong);
        }
        let token = Compact::parse(token).map_err(|error| match error {
            Malformed::NotThreeParts => Invalid::NotThreeParts,
            Malformed::Encoding => Invalid::Encoding,
            Malformed::Header => Invalid::Header,
            Malformed::DuplicateHeader => Invalid::DuplicateHeader,
            Malformed::UnexpectedHeader => Invalid::UnexpectedHeader,
        })?;
        if !token.typ.as_deref().is_some_and(is_access_token_type) {
            return Err(Invalid::Type);
        }
        if token.alg != Algorithm::Es256.as_str() {
            return Err(Invalid::Algorithm);
        }
        let kid = token.kid.as_deref().ok_or(Invalid::UnknownKey)?;
        let key = self.keys.iter().find(|key| key.kid() == kid).ok_or(Invalid::UnknownKey)?;
        if !key.verify(token.signed.as_bytes(), &token.signature) {
            return Err(Invalid::Signature);
        }
        let claims = token.claims().map_err(|error| match error {
            NotAnObject::Malformed => Invalid::Claims,
            NotAnObject::DuplicateName => Invalid::DuplicateClaim,
        })?;
        let claims = AccessClaims::from_object(claims)?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn check(&self, claims: &AccessClaims, now: UnixTime) -> Result<(), Invalid> {
        if claims.iss != self.issuer {
            return Err(Invalid::Issuer);
        }
        if self.audience.as_ref().is_some_and(|audience| !claims.aud.contains(audience)) {
            return Err(Invalid::Audience);
        }
        if claims.is_expired(now) {
            return Err(Invalid::Expired);
        }
        let soon = now + self.skew;
        if claims.iat > soon || claims.nbf.is_some_and(|nbf| nbf > soon) {
            return Err(Invalid::NotYetValid);
        }
        if claims.exp.since(claims.iat) > self.max_lifetime {
            return Err(Invalid::Lifetime);
        }
        Ok(())
    }
}

/// RFC 9068 section 4; the `application/` prefix may be left out and case does not matter (RFC 7515 section 4.1.9).
fn is_access_token_type(typ: &str) -> bool {
    ["at+jwt", "application/at+jwt"].iter().any(|accepted| typ.eq_ignore_ascii_case(accepted))
}
