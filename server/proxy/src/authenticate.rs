//! From a credential to a session.
//!
//! One rule says whose a bearer token is. It is ours when our verifier takes it. When it does not, and the token names
//! exactly the issuer of a configured provider in `iss`, that provider's rules and keys alone decide. Else it is refused
//! for what our verifier said. What a token claims thus never makes it ours, and never chooses between two verifiers.
//!
//! What begins with `o4s_` is an opaque token of ours or nothing: it is looked up in memory, by its hash.
//!
//! A certificate that was shown in TLS is a credential when a request has no other. Beside an `Authorization` field it must be
//! the same client's, or nobody's; the field then decides, and nothing falls back from it to the certificate.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_config::RateMode;
use oauth4os_federation::{Provider, Refused};
use oauth4os_policy::{Grants, ScopeSet};
use oauth4os_tokens::access::{AccessClaims, Invalid, MAX_TOKEN_BYTES};
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{SecretKind, sha256, verify_checksum};
use oauth4os_tokens::jose::ForeignToken;

use crate::basic::BasicRefusal;
use crate::certificate::{Owner, PeerCertificate, SEVERAL};
use crate::cluster::Cluster;
use crate::delegation::Delegation;
use crate::opaque::OpaqueToken;
use crate::refusal::Refusal;
use crate::session::{Credential, Session};
use crate::snapshot::Snapshot;
use crate::wire::request::Field;
use crate::worker::Worker;

/// How long Basic credentials are taken as proven: a secret that has ended since is noticed after this.
const BASIC_LIFETIME: Duration = Duration::from_secs(60);

/// What secrets of the gateway's own begin with; no token with claims does.
const SECRETS: &str = "o4s_";

/// A request without a credential that is valid now.
pub(crate) struct Unauthenticated {
    pub(crate) refusal: Box<Refusal>,
    /// Whose token it was, when it was one that had been valid: revoked or expired.
    pub(crate) session: Option<Rc<Session>>,
}

impl From<Refusal> for Unauthenticated {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), session: None }
    }
}

/// The session of the request's credential, which came from `peer` on a connection with this certificate.
///
/// A credential is verified once and then found by the SHA-256 of all its bytes; its expiry, the revocations, the
/// provider's keys and the snapshot are looked at on every request. This waits only for a key a provider has not shown
/// before, and holds up nobody else meanwhile; `now` is then the time after waiting.
pub(crate) async fn authenticate(
    worker: &Worker,
    place: (usize, &Cluster),
    fields: &[Field<'_>],
    certificate: Option<&PeerCertificate>,
    peer: IpAddr,
    now: &mut UnixTime,
) -> Result<Rc<Session>, Unauthenticated> {
    let presented = Presented::of(fields, certificate)?;
    let attempted = match attempt(worker, place, presented, peer, *now) {
        Err(Failure::Keys { provider, .. }) => {
            // Rare, so it takes its room when it happens and not in every connection.
            Box::pin(provider.wait_for_keys()).await;
            // A token may have expired meanwhile, and to a limit a late request would be one of a clock set back.
            *now = worker.shared.clock.now();
            attempt(worker, place, presented, peer, *now).map_err(Failure::into_unauthenticated)
        }
        result => result.map_err(Failure::into_unauthenticated),
    };
    let session = attempted?;
    if let Some(certificate) = certificate {
        let agreed = certificate.agree_with(&session, &worker.shared.snapshot.load());
        agreed.map_err(|refusal| Unauthenticated { refusal: Box::new(refusal), session: Some(Rc::clone(&session)) })?;
    }
    Ok(session)
}

/// The one credential of a request.
#[derive(Clone, Copy)]
enum Presented<'a> {
    /// What follows `Bearer `. Its characters are looked at when it comes for the first time.
    Bearer(&'a [u8]),
    /// What follows `Basic `.
    Basic(&'a [u8]),
    /// No field, but a certificate.
    Certificate(&'a PeerCertificate),
}

/// Why there is no session.
enum Failure {
    Refused(Unauthenticated),
    /// A key is missing that the provider may have; `refusal` is the answer if it has not.
    Keys {
        provider: Arc<Provider>,
        refusal: Box<Refusal>,
    },
}

impl Failure {
    fn into_unauthenticated(self) -> Unauthenticated {
        match self {
            Self::Refused(unauthenticated) => unauthenticated,
            Self::Keys { refusal, .. } => Unauthenticated { refusal, session: None },
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.into())
    }
}

fn attempt(
    worker: &Worker,
    (number, cluster): (usize, &Cluster),
    presented: Presented<'_>,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Rc<Session>, Failure> {
    let hash = presented.key();
    let key = (number, hash);
    let shared = &worker.shared;
    let snapshot = shared.snapshot.load();
    // Read before the revocations themselves: one that comes in between is then seen at the next request.
    let revocation_generation = shared.revocations.generation();

    let cached = worker.sessions.borrow_mut().get(&key).map(Rc::clone);
    if let Some(session) = cached
        && is_current(&session, &snapshot, now)
    {
        shared.metrics.token_cache_hits.inc();
        return check(worker, cluster, session, revocation_generation, now).map_err(|unauthenticated| {
            worker.sessions.borrow_mut().remove(&key);
            Failure::Refused(unauthenticated)
        });
    }

    let (rate, mode) = snapshot.unauthenticated;
    if mode == RateMode::Enforce
        && let Some(standing) = shared.strangers.over(peer, rate, now)
    {
        return Err(Refusal::limited_address(standing).into());
    }
    shared.metrics.token_cache_misses.inc();
    let session = match presented {
        Presented::Bearer(token) => {
            let token = token_text(token)?;
            if token.starts_with(SECRETS) {
                opaque(worker, &snapshot, token, &hash, revocation_generation)?
            } else {
                bearer(worker, &snapshot, token, revocation_generation, now)?
            }
        }
        Presented::Basic(encoded) => basic(&snapshot, encoded, peer, now)?,
        Presented::Certificate(certificate) => of_certificate(&snapshot, certificate)?,
    };
    let session = Rc::new(session.within(cluster, &snapshot.rates));
    let session = check(worker, cluster, session, revocation_generation, now).map_err(Failure::Refused)?;
    worker.sessions.borrow_mut().insert(key, Rc::clone(&session));
    Ok(session)
}

/// Whether what the session was made from is still in force.
fn is_current(session: &Session, snapshot: &Snapshot, now: UnixTime) -> bool {
    session.snapshot_generation == snapshot.generation
        && match &session.credential {
            // Whether a certificate still holds is looked at before.
            Credential::Own { .. } | Credential::Certificate { .. } => true,
            Credential::Provider { provider, outsider } => outsider.keys_generation == provider.generation(),
            Credential::Basic { generation } => {
                now < session.expires_at
                    && snapshot.basic.as_ref().is_some_and(|clients| clients.generation() == *generation)
            }
        }
}

/// Whether scopes that were given out are within those the client may have now. The same scope is, however complex.
pub(crate) fn may_still_have(allowed: &ScopeSet, given: &ScopeSet) -> bool {
    given.iter().all(|scope| allowed.iter().any(|other| other.as_str() == scope.as_str())) || given.is_within(allowed)
}

/// What must hold on every request.
fn check(
    worker: &Worker,
    cluster: &Cluster,
    session: Rc<Session>,
    revocation_generation: u64,
    now: UnixTime,
) -> Result<Rc<Session>, Unauthenticated> {
    let refused = |session, reason| {
        let refusal = Box::new(Refusal::invalid_token(reason));
        Err(Unauthenticated { refusal, session: Some(session) })
    };
    if now >= session.expires_at {
        return refused(session, "the token has expired; get a new one");
    }
    if let Credential::Own { token_id, revocation_generation: seen } = &session.credential
        && seen.get() != revocation_generation
    {
        if worker.shared.revocations.contains(token_id) {
            return refused(session, "the token was revoked; get a new one");
        }
        seen.set(revocation_generation);
    }
    session.go_by(&cluster.names.load());
    Ok(session)
}

/// A bearer token with claims of its own that comes for the first time, or again after something has changed.
fn bearer(
    worker: &Worker,
    snapshot: &Snapshot,
    token: &str,
    revocation_generation: u64,
    now: UnixTime,
) -> Result<Session, Failure> {
    match snapshot.verifier.verify(token, now) {
        Ok(AccessClaims { jti: id, client_id, sub: subject, act, scope, exp: expires_at, .. }) => {
            let token = OpaqueToken { id, client_id, subject, act, scope, expires_at };
            issued(worker, snapshot, token, revocation_generation)
        }
        Err(invalid) => of_provider(snapshot, token, &invalid, now),
    }
}

/// An opaque token: looked up by its SHA-256, when it has the form of one.
fn opaque(
    worker: &Worker,
    snapshot: &Snapshot,
    token: &str,
    hash: &[u8; 32],
    revocation_generation: u64,
) -> Result<Session, Failure> {
    if verify_checksum(token) != Some(SecretKind::AccessToken) {
        return Err(Refusal::invalid_token("this is not an access token, or not the whole of one").into());
    }
    let found = worker.shared.opaque.find(hash);
    let token = found.ok_or_else(|| Refusal::invalid_token("the token is not in force; get a new one"))?;
    issued(worker, snapshot, token, revocation_generation)
}

/// The session of a token of ours that allows this.
fn issued(
    worker: &Worker,
    snapshot: &Snapshot,
    token: OpaqueToken,
    revocation_generation: u64,
) -> Result<Session, Failure> {
    let Some(client) = snapshot.clients.get(&token.client_id) else {
        return Err(Refusal::invalid_token("the client this token was issued to does not exist any more").into());
    };
    let scopes = ScopeSet::parse(&token.scope, &worker.shared.cluster_names)
        .map_err(|error| Refusal::invalid_token(format!("the scopes of the token cannot be read: {error}")))?;
    // The client may have been given less since.
    if !may_still_have(&client.grants.scopes, &scopes) {
        return Err(Refusal::invalid_token(
            "the client of this token may not have all of its scopes any more; get a new one",
        )
        .into());
    }
    let delegation = Delegation::of(snapshot, client, &token)?;
    let grants = match &delegation {
        None => client.grants.restrictions.of(&scopes).map(|restrictions| Grants { scopes, restrictions }),
        Some(delegation) => {
            delegation.check(client, &scopes)?;
            delegation.grants(client, scopes)
        }
    };
    let grants = grants.map_err(|error| Refusal::invalid_token(error.to_string()))?;
    if delegation.is_some() && client.backend_roles.is_some() && !grants.restrictions.is_empty() {
        return Err(Refusal::invalid_token(
            "the client of this token reaches the engine under its own backend roles, which know nothing of the rows and fields it is held to",
        )
        .into());
    }
    // Not looked at yet: any generation but the present one.
    let credential = Credential::own(token.id, revocation_generation.wrapping_sub(1));
    let session =
        Session::new(Arc::clone(client), credential, grants, token.scope, token.expires_at, snapshot.generation);
    Ok(session.for_another(delegation))
}

/// A token that is not ours: a provider's, or nobody's.
fn of_provider(snapshot: &Snapshot, token: &str, invalid: &Invalid, now: UnixTime) -> Result<Session, Failure> {
    let claimed = if snapshot.providers.is_empty() { None } else { ForeignToken::claimed_issuer(token) };
    let Some(provider) = claimed.and_then(|issuer| snapshot.providers.find(&issuer)) else {
        return Err(Refusal::invalid_token(invalid.to_string()).into());
    };
    let outsider = provider.verify(token, now).map_err(|refused| {
        let keys = |refusal| Failure::Keys { provider: Arc::clone(provider), refusal: Box::new(refusal) };
        match refused {
            // Not the token's fault; nothing has reached the engine.
            Refused::NoKeys => keys(Refusal::unavailable(refused.to_string())),
            Refused::UnknownKey => keys(Refusal::invalid_token(refused.to_string())),
            _ => Refusal::invalid_token(refused.to_string()).into(),
        }
    })?;
    let client = snapshot.outsider(provider, &outsider);
    let (grants, scope_text) = (outsider.grants.clone(), outsider.grants.scopes.to_string());
    let expires_at = outsider.expires_at;
    let credential = Credential::Provider { provider: Arc::clone(provider), outsider: Box::new(outsider) };
    Ok(Session::new(client, credential, grants, scope_text, expires_at, snapshot.generation))
}

/// Id and secret of a client that may send them with every request.
fn basic(snapshot: &Snapshot, encoded: &[u8], peer: IpAddr, now: UnixTime) -> Result<Session, Failure> {
    let Some(clients) = snapshot.basic.as_ref().filter(|clients| clients.is_offered()) else {
        return Err(not_bearer().into());
    };
    // Before the client itself: a change that comes in between is then seen at the next request.
    let generation = clients.generation();
    let encoded = std::str::from_utf8(encoded).map_err(|_| malformed_basic())?;
    let proven = clients.verify(encoded, peer).map_err(|refusal| match refusal {
        BasicRefusal::Malformed => malformed_basic(),
        BasicRefusal::Wrong => Refusal::no_credential("the client is not known, or its secret is wrong"),
        BasicRefusal::NotPermitted => Refusal::no_credential(
            "this client may not use HTTP Basic here; get a token at `/oauth/token`, or have `basic: true` set for it",
        ),
        BasicRefusal::TooManyGuesses(wait) => Refusal::too_many_guesses(wait),
    })?;
    let Some(client) = snapshot.clients.get(&proven.id) else {
        return Err(Refusal::no_credential("the client is not known, or its secret is wrong").into());
    };
    let scope_text = proven.grants.scopes.to_string();
    let credential = Credential::Basic { generation };
    let expires_at = now + BASIC_LIFETIME;
    Ok(Session::new(Arc::clone(client), credential, proven.grants, scope_text, expires_at, snapshot.generation))
}

/// The client whose certificate this is, with everything it is registered for.
fn of_certificate(snapshot: &Snapshot, certificate: &PeerCertificate) -> Result<Session, Failure> {
    let client = match certificate.owner(snapshot) {
        Owner::Client(client) => client,
        Owner::Nobody => {
            return Err(Refusal::no_credential(
                "the client certificate is no client's; send a token as `Authorization: Bearer`, or name it in `clients[].certificate`",
            )
            .into());
        }
        Owner::Several => return Err(Refusal::unreadable(SEVERAL).into()),
    };
    let (grants, scope_text) = (client.grants.clone(), client.grants.scopes.to_string());
    let credential = Credential::Certificate { fingerprint: certificate.fingerprint().to_owned() };
    Ok(Session::new(client, credential, grants, scope_text, certificate.not_after(), snapshot.generation))
}

impl<'a> Presented<'a> {
    /// The one `Authorization` field: a scheme, one space, a credential (RFC 6750 section 2.1, RFC 7617 section 2). Without one
    /// it is the certificate.
    fn of(fields: &[Field<'a>], certificate: Option<&'a PeerCertificate>) -> Result<Self, Refusal> {
        let mut values =
            fields.iter().filter(|field| field.name.eq_ignore_ascii_case("authorization")).map(|field| field.value);
        let Some(value) = values.next() else {
            return certificate.map(Self::Certificate).ok_or_else(|| {
                Refusal::no_credential(
                    "this request needs a token; get one at `/oauth/token` and send it as `Authorization: Bearer`",
                )
            });
        };
        if values.next().is_some() {
            return Err(Refusal::unreadable("more than one credential; send one `Authorization` field"));
        }
        if let Some((scheme, encoded)) = value.split_at_checked(6)
            && scheme.eq_ignore_ascii_case(b"basic ")
        {
            return if encoded.len() > MAX_TOKEN_BYTES { Err(malformed_basic()) } else { Ok(Self::Basic(encoded)) };
        }
        let Some((scheme, token)) = value.split_at_checked(7) else {
            return Err(not_a_token());
        };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(not_bearer());
        }
        if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
            return Err(not_a_token());
        }
        Ok(Self::Bearer(token))
    }

    /// What a session is found by. A token has no space in it, so none has the key of Basic credentials.
    fn key(self) -> [u8; 32] {
        match self {
            Self::Bearer(token) => sha256(token),
            Self::Basic(encoded) => sha256(&[b"Basic ".as_slice(), encoded].concat()),
            Self::Certificate(certificate) => certificate.key(),
        }
    }
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

fn not_bearer() -> Refusal {
    Refusal::no_credential("only `Authorization: Bearer` is accepted here; get a token at `/oauth/token`")
}

fn malformed_basic() -> Refusal {
    Refusal::no_credential(
        "the `Authorization` field is not `Basic`, one space and base64 of `client_id:client_secret`",
    )
}

/// A byte of `b64token` (RFC 6750 section 2.1).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presented(values: &[&'static str]) -> Result<Presented<'static>, Refusal> {
        let fields: Vec<Field<'_>> =
            values.iter().map(|value| httparse::Header { name: "Authorization", value: value.as_bytes() }).collect();
        Presented::of(&fields, None)
    }

    fn token(values: &[&'static str]) -> Result<&'static str, u16> {
        let refused = |refusal: Refusal| refusal.status;
        match presented(values).map_err(refused)? {
            Presented::Bearer(token) => token_text(token).map_err(refused),
            Presented::Basic(_) | Presented::Certificate(_) => Err(0),
        }
    }

    #[test]
    fn there_is_one_way_to_send_a_token() {
        assert_eq!(token(&["Bearer a.b-c_d"]), Ok("a.b-c_d"));
        assert_eq!(token(&["bearer abc="]), Ok("abc="));
        for values in [
            &[][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer  abc"],
            &["Bearer\tabc"],
            &["Bearer abc def"],
            &["Bearer abc, Bearer def"],
            &["Bearer abc,def"],
            &["BearerX abc"],
            &["Basic"],
            &["Basic\tYTpi"],
            &["abc"],
        ] {
            assert_eq!(token(values), Err(401), "{values:?}");
        }
        assert_eq!(token(&["Bearer abc", "Bearer abc"]), Err(400));
        assert_eq!(token(&["Bearer abc", "Basic YTpi"]), Err(400));
        assert_eq!(token(&["basic YTpi"]), Err(0));
    }

    #[test]
    fn credentials_of_two_schemes_never_share_a_session() {
        let key = |value| presented(&[value]).map(Presented::key).map_err(|refusal| refusal.status);
        assert_ne!(key("Bearer YTpi"), key("Basic YTpi"));
        assert_eq!(key("BASIC YTpi"), key("Basic YTpi"));
        assert_ne!(key("Basic YTpi"), key("Basic YTpj"));
    }
}
