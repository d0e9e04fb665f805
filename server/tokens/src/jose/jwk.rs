//! Public keys of outside issuers, from their JWK Sets (RFC 7517).

use std::fmt;

use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Family};
use super::spki;

/// RSA moduli, in bits, leading zeros not counted.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The public exponent 65537; others are either weak or nobody's.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
const MAX_KID_BYTES: usize = 512;
/// Members that only a private or shared key has.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key, parsed once for each algorithm it may serve.
pub struct ForeignKey {
    kid: Option<String>,
    parsed: Vec<(Algorithm, ParsedPublicKey)>,
}

/// Why a key of a set is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// For encryption, or for another algorithm than those that are taken.
    #[error("it is not for signatures that are taken here")]
    Purpose,
    /// A member is missing, of the wrong type, not base64url, or contradicts another.
    #[error("it is malformed")]
    Malformed,
    /// RSA below 2048 bits or above 8192, or another exponent than 65537.
    #[error("it is an RSA key of an unsafe size or exponent")]
    WeakRsa,
    /// The private half is published: anybody can sign with it.
    #[error("its private half is published")]
    Private,
}

impl ForeignKey {
    /// Reads a member of a JWK Set, for those algorithms of `taken` that it fits.
    ///
    /// # Errors
    /// [`UnusableKey`]; a set goes on without it (RFC 7517 section 5).
    pub fn parse(jwk: &Map<String, Value>, taken: &[Algorithm]) -> Result<Self, UnusableKey> {
        let kty = text(jwk, "kty")?.ok_or(UnusableKey::Malformed)?;
        if !matches!(kty, "RSA" | "EC" | "OKP") {
            return Err(UnusableKey::Purpose);
        }
        if SECRET_MEMBERS.iter().any(|member| jwk.contains_key(*member)) {
            return Err(UnusableKey::Private);
        }
        if text(jwk, "use")?.is_some_and(|usage| usage != "sig") || !may_verify(jwk)? {
            return Err(UnusableKey::Purpose);
        }
        let kid = text(jwk, "kid")?;
        if kid.is_some_and(|kid| kid.is_empty() || kid.len() > MAX_KID_BYTES) {
            return Err(UnusableKey::Malformed);
        }
        let only = text(jwk, "alg")?;
        let mut parsed = Vec::new();
        for algorithm in taken.iter().copied().filter(|algorithm| only.is_none_or(|only| only == algorithm.as_str())) {
            let key = match (algorithm.family(), kty) {
                (Family::Rsa(parameters), "RSA") => {
                    let (n, e) = rsa_components(jwk)?;
                    RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)
                }
                (Family::Ec(parameters, curve, size), "EC") if text(jwk, "crv")? == Some(curve) => {
                    let mut point = vec![4];
                    point.extend(coordinate(jwk, "x", size)?);
                    point.extend(coordinate(jwk, "y", size)?);
                    ParsedPublicKey::new(parameters, point)
                }
                (Family::Ed25519, "OKP") if text(jwk, "crv")? == Some("Ed25519") => {
                    ParsedPublicKey::new(&ED25519, coordinate(jwk, "x", 32)?)
                }
                _ => continue,
            };
            parsed.push((algorithm, key.map_err(|_| UnusableKey::Malformed)?));
        }
        if parsed.is_empty() {
            return Err(UnusableKey::Purpose);
        }
        Ok(Self { kid: kid.map(ToOwned::to_owned), parsed })
    }

    /// Reads a public key in PEM (`-----BEGIN PUBLIC KEY-----`), for every algorithm it fits. It has no id.
    ///
    /// # Errors
    /// [`UnusableKey`].
    pub fn from_pem(pem: &str) -> Result<Self, UnusableKey> {
        Self::parse(&spki::jwk(pem)?, &Algorithm::ALL)
    }

    /// Its id, when it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms it serves.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.parsed.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether `signature` is this key's over `message` by this algorithm; never for one the key does not serve.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.parsed
            .iter()
            .find(|(served, _)| *served == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.algorithms().collect();
        f.debug_struct("ForeignKey").field("kid", &self.kid).field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, UnusableKey> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(UnusableKey::Malformed),
    }
}

/// RFC 7517 section 4.3.
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, UnusableKey> {
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err(UnusableKey::Malformed),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, UnusableKey> {
    let encoded = text(jwk, name)?.ok_or(UnusableKey::Malformed)?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| UnusableKey::Malformed)
}

/// RFC 7518 section 6.2.1.2: always the full length of the curve.
fn coordinate(jwk: &Map<String, Value>, name: &str, size: usize) -> Result<Vec<u8>, UnusableKey> {
    bytes(jwk, name).and_then(|bytes| if bytes.len() == size { Ok(bytes) } else { Err(UnusableKey::Malformed) })
}

/// Modulus and exponent. Zeros in front of a modulus, which some issuers write, do not count.
fn rsa_components(jwk: &Map<String, Value>) -> Result<(Vec<u8>, Vec<u8>), UnusableKey> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let n = n.get(zeros..).unwrap_or_default().to_vec();
    let Some(first) = n.first() else {
        return Err(UnusableKey::Malformed);
    };
    let bits = n.len().saturating_mul(8).saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(0));
    if !RSA_BITS.contains(&bits) || e != RSA_EXPONENT {
        return Err(UnusableKey::WeakRsa);
    }
    Ok((n, e))
}
