//! Keys that sign tokens, and the public halves that verify them.

mod low_s;
mod set;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::set::KeySet;
use crate::id::sha256;

/// A signing algorithm, by its name in RFC 7518.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256: access tokens. Signs in 20 µs; signatures are short.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256: the internal token. Signing is dear and done once per grant, and the engine
    /// verifies it on every request 0.8 ms faster than ES256.
    Rs256,
}

impl Algorithm {
    /// `ES256` or `RS256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        match name {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            _ => Err(KeyError::UnknownAlgorithm),
        }
    }
}

/// A key was refused or could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Generation failed inside the cryptographic library.
    #[error("no signing key could be generated: the cryptographic library reported a failure")]
    Generate,
    /// The bytes are no such private key, or its parts contradict each other.
    #[error("the private key is not a valid {0} key in PKCS#8 form")]
    Malformed(Algorithm),
    /// An RSA key that is too weak, or one whose public exponent is unusual.
    #[error("the RSA key must have at least 2048 bits and the public exponent 65537")]
    WeakRsa,
    /// Signing failed inside the cryptographic library.
    #[error("the token could not be signed: the cryptographic library reported a failure")]
    Sign,
    /// A set of keys serves one algorithm, so that a token's header cannot choose.
    #[error("the key `{kid}` is for {found}, the others of its set are for {expected}")]
    MixedAlgorithms {
        /// The key that does not fit.
        kid: String,
        /// Its algorithm.
        found: Algorithm,
        /// The algorithm of the set.
        expected: Algorithm,
    },
    /// A name that is neither `ES256` nor `RS256`.
    #[error("the signing algorithm is neither `ES256` nor `RS256`")]
    UnknownAlgorithm,
}

/// A private key. Its parts live in memory of the cryptographic library, which wipes them when the key is dropped.
pub struct SigningKey {
    pair: Pair,
    public: Arc<PublicKey>,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Rs256(rsa::KeyPair),
}

impl SigningKey {
    /// A new key: P-256 for ES256, 2048 bits for RS256 (which takes a tenth of a second or more).
    ///
    /// # Errors
    /// [`KeyError::Generate`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .map(Pair::Es256)
                .map_err(|_| KeyError::Generate)?,
            Algorithm::Rs256 => {
                rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map(Pair::Rs256).map_err(|_| KeyError::Generate)?
            }
        };
        Self::from_pair(pair)
    }

    /// Reads a private key in PKCS#8 DER and checks that its parts belong together.
    ///
    /// # Errors
    /// [`KeyError::Malformed`], [`KeyError::WeakRsa`].
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let malformed = KeyError::Malformed(algorithm);
        let pair = match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .map(Pair::Es256)
                .map_err(|_| malformed)?,
            Algorithm::Rs256 => rsa::KeyPair::from_pkcs8(der).map(Pair::Rs256).map_err(|_| malformed)?,
        };
        Self::from_pair(pair)
    }

    /// The private key in PKCS#8 DER; wiped when dropped.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when the library cannot encode the key.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let malformed = KeyError::Malformed(self.algorithm());
        match &self.pair {
            Pair::Es256(pair) => {
                pair.to_pkcs8v1().map(|document| Zeroizing::new(document.as_ref().to_vec())).map_err(|_| malformed)
            }
            Pair::Rs256(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)
                .map(|document| Zeroizing::new(document.as_ref().to_vec()))
                .map_err(|_| malformed),
        }
    }

    /// The key id: RFC 7638 thumbprint of the public half.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public.kid()
    }

    /// What the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &Arc<PublicKey> {
        &self.public
    }

    /// The JWS signature over `message` (RFC 7518 sections 3.3 and 3.4). ES256 signatures have the lower of the two
    /// possible `s`, the only one [`PublicKey::verify`] takes.
    ///
    /// # Errors
    /// [`KeyError::Sign`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| KeyError::Sign)?;
                low_s::normalised(signature.as_ref()).ok_or(KeyError::Sign)
            }
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyError::Sign)?;
                Ok(signature)
            }
        }
    }

    fn from_pair(pair: Pair) -> Result<Self, KeyError> {
        let public = Arc::new(match &pair {
            Pair::Es256(pair) => PublicKey::from_ec(pair)?,
            Pair::Rs256(pair) => PublicKey::from_rsa(pair)?,
        });
        Ok(Self { pair, public })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A public key, parsed once.
pub struct PublicKey {
    algorithm: Algorithm,
    parsed: ParsedPublicKey,
    spki: Vec<u8>,
    jwk: Jwk,
}

/// A public key as in RFC 7517: what the key set document publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// `EC` or `RSA`.
    pub kty: &'static str,
    /// Always `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// The only algorithm the key is for.
    pub alg: &'static str,
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// `P-256` for an EC key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crv: Option<&'static str>,
    /// EC point, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC point, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA modulus, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA public exponent, base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
}

impl PublicKey {
    /// The key id: RFC 7638 thumbprint with SHA-256, base64url.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.jwk.kid
    }

    /// The only algorithm the key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key as a JWK.
    #[must_use]
    pub const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// `-----BEGIN PUBLIC KEY-----` (SubjectPublicKeyInfo, RFC 5280), which is what the engine's `signing_key` takes.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let text = STANDARD.encode(&self.spki);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                pem.push('\n');
            }
            pem.push(character);
        }
        pem.push_str("\n-----END PUBLIC KEY-----\n");
        pem
    }

    /// Whether `signature` is this key's over `message`.
    ///
    /// An ES256 signature with the higher of the two possible `s` is refused, so that nobody can make a second valid
    /// text of a token.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let canonical = match self.algorithm {
            Algorithm::Es256 => low_s::is_low(signature),
            Algorithm::Rs256 => true,
        };
        canonical && self.parsed.verify_sig(message, signature).is_ok()
    }

    fn from_ec(pair: &EcdsaKeyPair) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed(Algorithm::Es256);
        let point = pair.public_key();
        // SEC 1 section 2.3.3: 0x04, then x and y of 32 bytes each.
        let (x, y) = point
            .as_ref()
            .strip_prefix(&[4])
            .filter(|coordinates| coordinates.len() == 64)
            .and_then(|coordinates| coordinates.split_at_checked(32))
            .ok_or_else(malformed)?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638 section 3.2: the required members, in the order of their names, without spaces.
        let kid = thumbprint(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#));
        Ok(Self {
            algorithm: Algorithm::Es256,
            parsed: ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.as_ref()).map_err(|_| malformed())?,
            spki: point.as_der().map_err(|_| malformed())?.as_ref().to_vec(),
            jwk: Jwk {
                kty: "EC",
                usage: "sig",
                alg: Algorithm::Es256.as_str(),
                kid,
                crv: Some("P-256"),
                x: Some(x),
                y: Some(y),
                n: None,
                e: None,
            },
        })
    }

    fn from_rsa(pair: &rsa::KeyPair) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed(Algorithm::Rs256);
        let public = pair.public_key();
        let exponent = public.exponent();
        let exponent = exponent.big_endian_without_leading_zero();
        if public.modulus_len() < 256 || exponent != [1, 0, 1] {
            return Err(KeyError::WeakRsa);
        }
        let n = URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero());
        let e = URL_SAFE_NO_PAD.encode(exponent);
        let kid = thumbprint(&format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#));
        Ok(Self {
            algorithm: Algorithm::Rs256,
            parsed: ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.as_ref()).map_err(|_| malformed())?,
            spki: public.as_der().map_err(|_| malformed())?.as_ref().to_vec(),
            jwk: Jwk {
                kty: "RSA",
                usage: "sig",
                alg: Algorithm::Rs256.as_str(),
                kid,
                crv: None,
                x: None,
                y: None,
                n: Some(n),
                e: Some(e),
            },
        })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("kid", &self.kid())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn thumbprint(canonical: &str) -> String {
    URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests;
