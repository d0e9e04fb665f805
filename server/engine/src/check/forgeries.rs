//! Identities that the engine must not take.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::internal::InternalClaims;
use oauth4os_tokens::keys::{Algorithm, KeyError, SigningKey};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::Check;
use super::probe::{AUTHINFO, told};
use super::report::Report;
use crate::guard;
use crate::identity::{Driver, HandedIdentity, IdentityError, Told, extended_proxy, jwt};
use crate::security_config::Trust;

/// How long a token of the check is valid.
const LIFETIME: Duration = Duration::from_secs(60);

/// Whether identities that must be refused are refused.
pub(super) async fn refused(check: &Check<'_>, report: &mut Report) {
    let (subject, what) = match check.desired.trust() {
        Trust::Jwt { .. } => ("forged tokens", "a token"),
        Trust::ExtendedProxy { .. } => ("forged identities", "an identity"),
    };
    let forgeries = match forgeries(check) {
        Ok(forgeries) => forgeries,
        Err(error) => return report.failure(subject, error.to_string()),
    };
    let mut refused = Vec::new();
    for (how, identity) in forgeries {
        match check.engine.send_as(&identity, Method::GET, AUTHINFO, None).await {
            Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => refused.push(how),
            Ok(answer) => {
                report.failure(subject, format!("{what} {how} is answered {}, not 401", answer.status.as_u16()));
            }
            Err(error) => report.failure(subject, format!("{what} {how} could not be tried: {error}")),
        }
    }
    if !refused.is_empty() {
        report.ok(subject, format!("401 for {what} {}", refused.join(", ")));
    }
    certificate(check, report).await;
    stranger(check, report).await;
}

/// Whether the gateway's certificate alone opens anything.
async fn certificate(check: &Check<'_>, report: &mut Report) {
    match guard::is_no_administrator(check.engine).await {
        Ok(()) => report.ok("administrator", "the gateway's own connections have no administrator's rights"),
        Err(error) => report.failure("administrator", error.to_string()),
    }
}

/// Whether somebody at the gateway's address but without its certificate is believed.
async fn stranger(check: &Check<'_>, report: &mut Report) {
    let Trust::ExtendedProxy { addresses } = check.desired.trust() else { return };
    let addresses = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Some(stranger) = check.stranger else {
        return report.warning(
            "certificate",
            format!("whoever can send from {addresses} can be anybody to the engine (`upstream.engine.extended_proxy.trusted_by: address`)"),
        );
    };
    let identity = match told(check, "read:*").and_then(|told| check.identities.hand_once(&told, check.clock.now())) {
        Ok(identity) => identity,
        Err(error) => return report.failure("certificate", error.to_string()),
    };
    match stranger.send_as(&identity, Method::GET, AUTHINFO, None).await {
        Ok(answer) if answer.status == StatusCode::OK => report.failure(
            "certificate",
            format!("the engine believes a connection without a certificate too: whoever can send from {addresses} can be anybody; set `plugins.security.ssl.http.clientauth_mode: REQUIRE` in opensearch.yml of every node"),
        ),
        Ok(answer) => report.ok(
            "certificate",
            format!("without the gateway's certificate its word is answered {}", answer.status.as_u16()),
        ),
        // With the certificate it has just answered.
        Err(_) => report.ok("certificate", "without the gateway's certificate there is no connection to the engine"),
    }
}

/// Each with what is wrong with it.
type Forgeries = Vec<(&'static str, HandedIdentity)>;

fn forgeries(check: &Check<'_>) -> Result<Forgeries, ForgeryError> {
    let told = told(check, "read:*")?;
    match (check.identities.driver(), check.desired.trust()) {
        (Driver::Jwt { issuer, key }, Trust::Jwt { keys, .. }) => {
            let now = check.clock.now();
            let audience = &check.identities.naming().audience;
            let good = jwt::claims(issuer, audience, &told, now, now + LIFETIME).map_err(IdentityError::from)?;
            tokens(&key.key(), &good, keys.first().map(String::as_str).unwrap_or_default())
        }
        (Driver::ExtendedProxy { address }, _) => words(&told, *address),
        // They are made from one configuration.
        (Driver::Jwt { .. }, Trust::ExtendedProxy { .. }) => Ok(Forgeries::new()),
    }
}

fn tokens(key: &SigningKey, good: &InternalClaims, public: &str) -> Result<Forgeries, ForgeryError> {
    let stranger = SigningKey::generate(Algorithm::Rs256)?;
    let once = |field: String| HandedIdentity::new(field, good.exp, good.exp);
    let signed =
        |key: &SigningKey, claims: &InternalClaims| jwt::field(key, claims).map_err(IdentityError::from).and_then(once);
    let old = good.iat - Duration::from_secs(3_600);
    // A verifier that lets the token choose takes the public key for a shared secret.
    let shared =
        |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes()), message).as_ref().to_vec();
    Ok(vec![
        ("for another audience", signed(key, &InternalClaims { aud: format!("not-{}", good.aud), ..good.clone() })?),
        ("of another issuer", signed(key, &InternalClaims { iss: format!("{}/other", good.iss), ..good.clone() })?),
        ("that has expired", signed(key, &InternalClaims { iat: old, exp: old + LIFETIME, ..good.clone() })?),
        ("signed with another key", signed(&stranger, good)?),
        ("without a signature", once(unsigned(good, "none", |_| Vec::new()))?),
        ("signed by HS256 with the public key", once(unsigned(good, "HS256", shared))?),
    ])
}

fn unsigned(claims: &InternalClaims, algorithm: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"}).to_string();
    let body = json!({
        "iss": claims.iss, "sub": claims.sub, "aud": claims.aud, "roles": claims.roles,
        "iat": claims.iat.as_secs(), "exp": claims.exp.as_secs(), "jti": claims.jti,
    });
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    jwt::with(&format!("{message}.{signature}"))
}

/// The gateway's word with parts of it left out, or under another name.
fn words(told: &Told, address: IpAddr) -> Result<Forgeries, ForgeryError> {
    let whole = extended_proxy::fields(told, address).map_err(IdentityError::from)?;
    let once = |fields: String| HandedIdentity::new(fields, UnixTime::MAX, UnixTime::MAX);
    let without = |name: &str| whole.split_inclusive("\r\n").filter(|line| !line.starts_with(name)).collect();
    Ok(vec![
        ("without `X-Forwarded-For`", once(without(extended_proxy::FORWARDED_FOR))?),
        ("without a user", once(without(extended_proxy::USER))?),
        ("whose user stands in another field", once(whole.replace(extended_proxy::USER, "x-forwarded-user"))?),
        ("of nothing at all", once(String::new())?),
    ])
}

#[derive(Debug, thiserror::Error)]
enum ForgeryError {
    #[error("no identity could be made for the check: {0}")]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Key(#[from] KeyError),
}
