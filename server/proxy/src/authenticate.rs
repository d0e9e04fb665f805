//! From a credential to a session.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use oauth4os_config::RateMode;
use oauth4os_policy::{Clusters, ScopeSet};
use oauth4os_tokens::access::MAX_TOKEN_BYTES;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::sha256;

use crate::refusal::Refusal;
use crate::session::Session;
use crate::wire::request::Field;
use crate::worker::Worker;

/// A request without a credential that is valid now.
pub(crate) struct Unauthenticated {
    pub(crate) refusal: Refusal,
    /// Whose token it was, when it was one of ours: revoked or expired.
    pub(crate) session: Option<Rc<Session>>,
}

impl From<Refusal> for Unauthenticated {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, session: None }
    }
}

/// The session of the request's credential.
///
/// A token is verified once and then found by the SHA-256 of all its bytes; its expiry, the revocations and the
/// snapshot are looked at on every request.
pub(crate) fn authenticate(
    worker: &Worker,
    fields: &[Field<'_>],
    address: IpAddr,
    now: UnixTime,
) -> Result<Rc<Session>, Unauthenticated> {
    let token = bearer_token(fields)?;
    let key = sha256(token);
    let shared = &worker.shared;
    let snapshot = shared.snapshot.load();
    // Read before the revocations themselves: one that comes in between is then seen at the next request.
    let revocation_generation = shared.revocations.generation();

    let cached = worker.sessions.borrow_mut().get(&key).map(Rc::clone);
    if let Some(session) = cached
        && session.snapshot_generation == snapshot.generation
    {
        shared.metrics.token_cache_hits.inc();
        return check(worker, session, revocation_generation, now).inspect_err(|_| {
            worker.sessions.borrow_mut().remove(&key);
        });
    }

    // What is found by its hash was looked at when it came for the first time.
    let token = token_text(token)?;
    let (rate, mode) = snapshot.unauthenticated;
    if mode == RateMode::Enforce
        && let Some(standing) = shared.strangers.over(address, rate, now)
    {
        return Err(Refusal::limited_address(standing).into());
    }
    shared.metrics.token_cache_misses.inc();
    let claims = snapshot.verifier.verify(token, now).map_err(|invalid| Refusal::invalid_token(invalid.to_string()))?;
    let Some(client) = snapshot.clients.get(&claims.client_id) else {
        return Err(Refusal::invalid_token("the client this token was issued to does not exist any more").into());
    };
    let scopes = ScopeSet::parse(&claims.scope, &Clusters::default())
        .map_err(|error| Refusal::invalid_token(format!("the scopes of the token cannot be read: {error}")))?;
    // The client may have been given less since.
    if !may_still_have(&client.scopes, &scopes) {
        return Err(Refusal::invalid_token(
            "the client of this token may not have all of its scopes any more; get a new one",
        )
        .into());
    }
    let session = Session::new(
        Arc::clone(client),
        claims.jti,
        scopes,
        claims.scope,
        claims.exp,
        snapshot.generation,
        // Not looked at yet: any generation but the present one.
        revocation_generation.wrapping_sub(1),
    );
    let session = check(worker, Rc::new(session), revocation_generation, now)?;
    worker.sessions.borrow_mut().insert(key, Rc::clone(&session));
    Ok(session)
}

/// Whether scopes that were given out are within those the client may have now. The same scope is, however complex.
fn may_still_have(allowed: &ScopeSet, given: &ScopeSet) -> bool {
    given.iter().all(|scope| allowed.iter().any(|other| other.as_str() == scope.as_str())) || given.is_within(allowed)
}

/// What must hold on every request.
fn check(
    worker: &Worker,
    session: Rc<Session>,
    revocation_generation: u64,
    now: UnixTime,
) -> Result<Rc<Session>, Unauthenticated> {
    let refused = |session, reason| {
        let refusal = Refusal::invalid_token(reason);
        Err(Unauthenticated { refusal, session: Some(session) })
    };
    if now >= session.expires_at {
        return refused(session, "the token has expired; get a new one");
    }
    if session.revocation_generation.get() != revocation_generation {
        if worker.shared.revocations.contains(&session.token_id) {
            return refused(session, "the token was revoked; get a new one");
        }
        session.revocation_generation.set(revocation_generation);
    }
    Ok(session)
}

/// The token of the one `Authorization` field, `Bearer` and one space before it (RFC 6750 section 2.1). Its characters are
/// looked at by [`token_text`].
fn bearer_token<'a>(fields: &[Field<'a>]) -> Result<&'a [u8], Refusal> {
    let mut values =
        fields.iter().filter(|field| field.name.eq_ignore_ascii_case("authorization")).map(|field| field.value);
    let Some(value) = values.next() else {
        return Err(Refusal::no_credential(
            "this request needs a token; get one at `/oauth/token` and send it as `Authorization: Bearer`",
        ));
    };
    if values.next().is_some() {
        return Err(Refusal::unreadable("more than one credential; send one `Authorization` field"));
    }
    let Some((scheme, token)) = value.split_at_checked(7) else {
        return Err(not_a_token());
    };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Refusal::no_credential(
            "only `Authorization: Bearer` is accepted here; get a token at `/oauth/token`",
        ));
    }
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return Err(not_a_token());
    }
    Ok(token)
}

/// A token as text, if it has the characters of one.
fn token_text(token: &[u8]) -> Result<&str, Refusal> {
    if !token.iter().all(|byte| is_token_byte(*byte)) {
        return Err(not_a_token());
    }
    std::str::from_utf8(token).map_err(|_| not_a_token())
}

fn not_a_token() -> Refusal {
    Refusal::invalid_token("the `Authorization` field is not `Bearer`, one space and a token")
}

/// A byte of `b64token` (RFC 6750 section 2.1).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(values: &[&'static str]) -> Result<&'static str, u16> {
        let fields: Vec<Field<'_>> =
            values.iter().map(|value| httparse::Header { name: "Authorization", value: value.as_bytes() }).collect();
        bearer_token(&fields).and_then(token_text).map_err(|refusal| refusal.status)
    }

    #[test]
    fn there_is_one_way_to_send_a_token() {
        assert_eq!(token(&["Bearer a.b-c_d"]), Ok("a.b-c_d"));
        assert_eq!(token(&["bearer abc="]), Ok("abc="));
        for values in [
            &[][..],
            &["Basic YTpi"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer  abc"],
            &["Bearer\tabc"],
            &["Bearer abc def"],
            &["Bearer abc, Bearer def"],
            &["Bearer abc,def"],
            &["BearerX abc"],
            &["abc"],
        ] {
            assert_eq!(token(values), Err(401), "{values:?}");
        }
        assert_eq!(token(&["Bearer abc", "Bearer abc"]), Err(400));
        assert_eq!(token(&["Bearer abc", "Basic YTpi"]), Err(400));
    }
}
