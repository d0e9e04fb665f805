//! What must hold of a provider's token beside its signature.

use std::collections::BTreeSet;
use std::time::Duration;

use oauth4os_config::TokenType;
use oauth4os_policy::RestrictionError;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::jose::Malformed;
use serde_json::{Map, Value};

/// A guard against an `exp` beyond reason.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 86_400);

/// Why a provider's token is refused. No variant carries text out of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a token that can be looked at.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// `alg` is not one that is taken from this provider, or not one the key is for.
    #[error("the token is not signed with an algorithm that is taken from its provider")]
    Algorithm,
    /// `typ` of the header says that it is something else.
    #[error("the token is not an access token of a type that is taken from its provider")]
    Type,
    /// No key of this id.
    #[error("the token is signed with a key that its provider does not publish")]
    UnknownKey,
    /// No id, and several keys that could be meant.
    #[error("the token does not say which of its provider's keys it is signed with")]
    NoKeyNamed,
    /// No keys yet.
    #[error("the keys of the token's provider could not be fetched yet; try again later")]
    NoKeys,
    /// The signature is not of that key over this content.
    #[error("the token's signature is wrong")]
    Signature,
    /// `iss` is not, character for character, the provider.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    Audience,
    /// Several audiences, and no party it was issued to.
    #[error("the token is for several audiences and does not say to whom it was issued")]
    NoParty,
    /// Issued to a client that is not listed.
    #[error("the token was issued to a client whose tokens are not taken here")]
    Party,
    /// An ID, refresh or logout token, or a token bound to a key that was not shown.
    #[error("the token is not an access token that anybody may present: {0}")]
    NotForBearers(&'static str),
    /// A claim that must be there is not.
    #[error("the token lacks the claim `{0}`")]
    Missing(String),
    /// A claim is of the wrong type. The name is the configured path.
    #[error("the token's claim `{0}` is malformed")]
    Claim(String),
    /// The token's groups are kept elsewhere.
    #[error("the token does not carry its groups, since they are too many; have the provider limit them")]
    GroupsElsewhere,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// `exp` is reached.
    #[error("the token has expired; get a new one")]
    Expired,
    /// `exp` is not after `iat`, or beyond reason.
    #[error("the token's lifetime is not one that is taken")]
    Lifetime,
    /// Not the answer to the question that was asked.
    #[error("the ID token is not the answer to this login")]
    Nonce,
    /// Not the same person in both tokens.
    #[error("the provider's tokens are about two different persons")]
    TwoPersons,
    /// The mapped scopes are too many.
    #[error("what the token's roles, groups and scopes give cannot be held by one token: {0}")]
    Scopes(Box<RestrictionError>),
}

/// What one provider's tokens are held to.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: Vec<String>,
    pub(crate) types: BTreeSet<TokenType>,
    pub(crate) leeway: Duration,
    pub(crate) authorized_parties: Option<BTreeSet<String>>,
}

impl Rules {
    /// Looks at `typ` of the header (RFC 7515 section 4.1.9: without regard to case, `application/` may be left out).
    pub(crate) fn check_type(&self, typ: Option<&str>) -> Result<(), Refused> {
        let found = match typ.map(str::to_ascii_lowercase).as_deref() {
            None => TokenType::Absent,
            Some("jwt" | "application/jwt") => TokenType::Jwt,
            Some("at+jwt" | "application/at+jwt") => TokenType::AtJwt,
            Some(_) => return Err(Refused::Type),
        };
        if self.types.contains(&found) { Ok(()) } else { Err(Refused::Type) }
    }

    /// Looks at the claims of a token whose signature is verified, and gives the time from which on it is dead here.
    /// `party` is the client it was issued to.
    pub(crate) fn check(
        &self,
        claims: &Map<String, Value>,
        party: Option<&str>,
        now: UnixTime,
    ) -> Result<UnixTime, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(Refused::Issuer);
        }
        let audiences = audiences(claims)?;
        if !audiences.iter().any(|audience| self.audience.iter().any(|ours| ours == audience)) {
            return Err(Refused::Audience);
        }
        // OpenID Connect Core section 3.1.3.7: with several audiences the party is what tells a token apart.
        if audiences.len() > 1 && party.is_none() {
            return Err(Refused::NoParty);
        }
        if let Some(parties) = &self.authorized_parties
            && !party.is_some_and(|party| parties.contains(party))
        {
            return Err(Refused::Party);
        }
        is_for_bearers(claims)?;
        self.check_times(claims, now)
    }

    pub(crate) fn check_times(&self, claims: &Map<String, Value>, now: UnixTime) -> Result<UnixTime, Refused> {
        let exp = time(claims, "exp")?.ok_or_else(|| Refused::Missing("exp".to_owned()))?;
        let (iat, nbf) = (time(claims, "iat")?, time(claims, "nbf")?);
        let end = exp + self.leeway;
        if now >= end {
            return Err(Refused::Expired);
        }
        let soon = now + self.leeway;
        if iat.is_some_and(|iat| iat > soon) || nbf.is_some_and(|nbf| nbf > soon) {
            return Err(Refused::NotYetValid);
        }
        if iat.is_some_and(|iat| exp <= iat) || exp.since(now) > MAX_LIFETIME {
            return Err(Refused::Lifetime);
        }
        Ok(end)
    }
}

/// What tells other tokens of a provider from access tokens that whoever holds them may present.
fn is_for_bearers(claims: &Map<String, Value>) -> Result<(), Refused> {
    let refuse = |why| Err(Refused::NotForBearers(why));
    // Keycloak writes `Bearer` into access tokens, and `ID`, `Refresh`, `Offline`, `Logout` and others into the others.
    if let Some(typ) = claims.get("typ") {
        let typ = typ.as_str().unwrap_or_default().to_ascii_lowercase();
        if !matches!(typ.as_str(), "bearer" | "jwt" | "at+jwt") {
            return refuse("its claim `typ` says that it is something else");
        }
    }
    // Amazon Cognito: `access` or `id`.
    if claims.get("token_use").is_some_and(|usage| usage != "access") {
        return refuse("its claim `token_use` says that it is something else");
    }
    // OpenID Connect Core section 3.3.2.11: ID tokens only.
    if claims.contains_key("at_hash") || claims.contains_key("c_hash") {
        return refuse("it is an ID token");
    }
    // RFC 8417: security events, logout tokens.
    if claims.contains_key("events") {
        return refuse("it tells of an event");
    }
    // RFC 7800: the sender has to prove a key.
    if claims.contains_key("cnf") {
        return refuse("it is bound to a key of its sender, which is not looked at here");
    }
    Ok(())
}

/// RFC 7519 section 4.1.3.
pub(crate) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Refused> {
    let malformed = || Refused::Claim("aud".to_owned());
    match claims.get("aud") {
        None => Err(Refused::Missing("aud".to_owned())),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => several.iter().map(|entry| entry.as_str().ok_or_else(malformed)).collect(),
        Some(_) => Err(malformed()),
    }
}

/// A `NumericDate` (RFC 7519 section 2), of which only whole seconds from 1970 to 9999 are taken.
pub(crate) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = value.as_u64().and_then(|seconds| i64::try_from(seconds).ok()).map(UnixTime::from_secs);
    match seconds {
        Some(time) if time <= UnixTime::MAX => Ok(Some(time)),
        _ => Err(Refused::Claim(name.to_owned())),
    }
}
