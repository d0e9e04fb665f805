//! A provider on loopback that does what the test says, and keys to sign its tokens with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_config::ProviderConfig;
use oauth4os_policy::Clusters;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, ManualClock};
use oauth4os_tokens::jose::Algorithm;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::Providers;

/// What a path answers.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then these again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// Nothing, ever.
    Silence,
}

pub(crate) struct Double {
    pub(crate) url: String,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    asked: Arc<AtomicUsize>,
}

pub(crate) fn install_tls() {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

pub(crate) fn answer(head: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

pub(crate) fn ok(body: &Value) -> Reply {
    answer("200 OK\r\ncontent-type: application/json", &body.to_string())
}

impl Double {
    pub(crate) async fn start() -> Self {
        install_tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (replies, asked) = (Arc::<Mutex<HashMap<String, Reply>>>::default(), Arc::<AtomicUsize>::default());
        let (table, count) = (Arc::clone(&replies), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (table, count) = (Arc::clone(&table), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else { return };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    count.fetch_add(1, Ordering::SeqCst);
                    let reply = table.lock().unwrap().get(&path).cloned();
                    match reply.unwrap_or_else(|| answer("404 Not Found", "")) {
                        Reply::Bytes(bytes) => {
                            let _ = stream.write_all(&bytes).await;
                        }
                        Reply::Endless(head, piece) => {
                            let _ = stream.write_all(&head).await;
                            while stream.write_all(&piece).await.is_ok() {}
                        }
                        Reply::Silence => std::future::pending().await,
                    }
                });
            }
        });
        Self { url, replies, asked }
    }

    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Answers discovery, and these keys.
    pub(crate) fn publish(&self, keys: &[&Signer]) {
        let document = json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url)});
        self.reply("/.well-known/openid-configuration", ok(&document));
        let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
        self.reply("/keys", ok(&json!({"keys": keys})));
    }

    /// Providers of one: this one, configured as the YAML says besides.
    pub(crate) fn providers(&self, yaml: &str, clock: &ManualClock) -> Providers {
        self.providers_counted(yaml, clock).0
    }

    pub(crate) fn providers_counted(&self, yaml: &str, clock: &ManualClock) -> (Providers, Arc<Metrics>) {
        let yaml = format!("name: idp\nissuer: {}\naudience: gateway\n{yaml}", self.url);
        let config: ProviderConfig = serde_saphyr::from_str(&yaml).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let metrics = Arc::new(Metrics::new());
        (Providers::new(&[config], &Clusters::default(), &clock, &metrics).unwrap(), metrics)
    }
}

/// A key of the provider.
pub(crate) struct Signer {
    pub(crate) algorithm: Algorithm,
    pub(crate) kid: String,
    pub(crate) jwk: Value,
    sign: Sign,
}

impl Signer {
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let (mut jwk, sign) = match algorithm {
            Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
            Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
            Algorithm::Es512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", 66),
            Algorithm::EdDsa => ed25519(),
        };
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        Self { algorithm, kid: kid.to_owned(), jwk, sign }
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm.as_str(), "typ": "JWT", "kid": self.kid}), claims)
    }

    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn token_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(claims));
        let signature = (self.sign)(input.as_bytes());
        format!("{input}.{}", encode(signature))
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

fn rsa(encoding: &'static dyn signature::RsaEncoding) -> (Value, Sign) {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let n = encode(pair.public_key().modulus().big_endian_without_leading_zero());
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    (json!({"kty": "RSA", "n": n, "e": "AQAB"}), Box::new(sign))
}

fn ec(signing: &'static signature::EcdsaSigningAlgorithm, curve: &str, size: usize) -> (Value, Sign) {
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let point = pair.public_key().as_ref();
    let jwk = json!({"kty": "EC", "crv": curve, "x": encode(&point[1..=size]), "y": encode(&point[size + 1..])});
    (jwk, Box::new(move |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()))
}

fn ed25519() -> (Value, Sign) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())});
    (jwk, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
}

/// Long enough for loopback on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
