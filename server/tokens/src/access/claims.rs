//! What an access token says.

use serde_json::{Map, Value};

use super::{Actor, Invalid, read_actors, write_actors};
use crate::clock::UnixTime;

/// The claims of an access token (RFC 9068 section 2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The issuer that signed it.
    pub iss: String,
    /// Whom it is about: the user, or the client itself when no user is involved.
    pub sub: String,
    /// The resources it is for; written as one string when there is one.
    pub aud: Vec<String>,
    /// The client it was issued to.
    pub client_id: String,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// When it was issued.
    pub iat: UnixTime,
    /// Before this it is not valid.
    pub nbf: Option<UnixTime>,
    /// From this on it is not valid.
    pub exp: UnixTime,
    /// The token's id, by which it is listed and revoked.
    pub jti: String,
    /// Who acts for the subject, the present one first; none when the client has the token in its own right.
    pub act: Vec<Actor>,
}

impl AccessClaims {
    /// Whether the token has expired. A verified token that is kept must be asked this on every use.
    #[must_use]
    pub fn is_expired(&self, now: UnixTime) -> bool {
        now >= self.exp
    }

    /// What must hold of the claims whoever reads them.
    pub(super) fn check(&self) -> Result<(), Invalid> {
        for (name, value) in
            [("iss", &self.iss), ("sub", &self.sub), ("client_id", &self.client_id), ("jti", &self.jti)]
        {
            if value.is_empty() {
                return Err(Invalid::Missing(name));
            }
        }
        if self.aud.is_empty() || self.aud.iter().any(String::is_empty) {
            return Err(Invalid::Missing("aud"));
        }
        for (name, time) in [("iat", Some(self.iat)), ("nbf", self.nbf), ("exp", Some(self.exp))] {
            if time.is_some_and(|time| time < UnixTime::default() || time > UnixTime::MAX) {
                return Err(Invalid::Malformed(name));
            }
        }
        if self.exp.whole_second() <= self.iat.whole_second() {
            return Err(Invalid::Lifetime);
        }
        Ok(())
    }

    pub(super) fn to_object(&self) -> Map<String, Value> {
        let aud = match self.aud.as_slice() {
            [one] => Value::from(one.as_str()),
            several => Value::from(several),
        };
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", Value::from(self.iss.as_str()));
        put("sub", Value::from(self.sub.as_str()));
        put("aud", aud);
        put("client_id", Value::from(self.client_id.as_str()));
        put("scope", Value::from(self.scope.as_str()));
        put("iat", Value::from(self.iat.as_secs()));
        if let Some(nbf) = self.nbf {
            put("nbf", Value::from(nbf.as_secs()));
        }
        put("exp", Value::from(self.exp.as_secs()));
        put("jti", Value::from(self.jti.as_str()));
        if let Some(act) = write_actors(&self.act) {
            put("act", act);
        }
        claims
    }

    /// Reads verified claims. Claims that are not known here do not matter (RFC 7519 section 4).
    pub(super) fn from_object(mut claims: Map<String, Value>) -> Result<Self, Invalid> {
        let read = Self {
            iss: text(&mut claims, "iss")?,
            sub: text(&mut claims, "sub")?,
            aud: audience(&mut claims)?,
            client_id: text(&mut claims, "client_id")?,
            scope: text(&mut claims, "scope")?,
            iat: time(&mut claims, "iat")?.ok_or(Invalid::Missing("iat"))?,
            nbf: time(&mut claims, "nbf")?,
            exp: time(&mut claims, "exp")?.ok_or(Invalid::Missing("exp"))?,
            jti: text(&mut claims, "jti")?,
            act: match claims.remove("act") {
                None => Vec::new(),
                Some(act) => read_actors(act).ok_or(Invalid::Malformed("act"))?,
            },
        };
        read.check()?;
        Ok(read)
    }
}

fn text(claims: &mut Map<String, Value>, name: &'static str) -> Result<String, Invalid> {
    match claims.remove(name) {
        Some(Value::String(value)) => Ok(value),
        Some(_) => Err(Invalid::Malformed(name)),
        None => Err(Invalid::Missing(name)),
    }
}

fn audience(claims: &mut Map<String, Value>) -> Result<Vec<String>, Invalid> {
    let entries = match claims.remove("aud") {
        Some(Value::String(one)) => return Ok(vec![one]),
        Some(Value::Array(several)) => several,
        Some(_) => return Err(Invalid::Malformed("aud")),
        None => return Err(Invalid::Missing("aud")),
    };
    entries
        .into_iter()
        .map(|entry| match entry {
            Value::String(one) => Ok(one),
            _ => Err(Invalid::Malformed("aud")),
        })
        .collect()
}

/// A `NumericDate` (RFC 7519 section 2), of which only whole seconds are taken: a fraction, an exponent or a string
/// is what one library rounds and another one overlooks.
fn time(claims: &mut Map<String, Value>, name: &'static str) -> Result<Option<UnixTime>, Invalid> {
    let Some(value) = claims.remove(name) else {
        return Ok(None);
    };
    value
        .as_u64()
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(UnixTime::from_secs)
        .map(Some)
        .ok_or(Invalid::Malformed(name))
}
