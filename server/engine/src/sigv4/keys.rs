//! The keys of the principal, and what is made of them for a day.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use oauth4os_config::{AwsKeys, Sigv4};
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::sha256;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::time::parse;

/// Keys as they were read once.
pub(super) struct Keys {
    pub(super) access_key_id: String,
    secret: SecretString,
    pub(super) session_token: Option<SecretString>,
    pub(super) expires_at: Option<UnixTime>,
    /// SHA-256 of all of it, to tell whether others are there.
    pub(super) fingerprint: [u8; 32],
    /// The key that signs, and the day it is for.
    of_day: ArcSwapOption<(String, hmac::Key)>,
}

/// What was found by looks before.
#[derive(Debug, Default)]
pub struct Look {
    pub(super) seen: Option<[u8; 32]>,
}

/// What a look has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// The keys that are in use.
    Same,
    /// Others, for the first time.
    Unsettled,
    /// Others, which are in use now.
    Replaced,
}

impl Keys {
    pub(super) fn read(settings: &Sigv4) -> Result<Self, String> {
        Self::of(settings.read_now()?)
    }

    pub(super) fn of(read: AwsKeys) -> Result<Self, String> {
        let expires_at = match &read.expiration {
            Some(text) => {
                let sentence = "`Expiration` is no time in the form of RFC 3339, such as `2026-01-01T00:00:00Z`";
                Some(parse(text).ok_or_else(|| sentence.to_owned())?)
            }
            None => None,
        };
        let token = read.session_token.as_ref().map_or("", |token| token.expose_secret());
        let (id, secret) = (read.access_key_id.as_str(), read.secret_access_key.expose_secret());
        let expiration = read.expiration.as_deref().unwrap_or_default();
        let all = Zeroizing::new([id, secret, token, expiration].join("\n"));
        Ok(Self {
            fingerprint: sha256(all.as_bytes()),
            access_key_id: read.access_key_id,
            secret: read.secret_access_key,
            session_token: read.session_token,
            expires_at,
            of_day: ArcSwapOption::empty(),
        })
    }

    /// The key for a day, region and service, which are always the same region and service.
    pub(super) fn signing_key(&self, day: &str, region: &str, service: &str) -> hmac::Key {
        if let Some(known) = self.of_day.load().as_ref()
            && known.0 == day
        {
            return known.1.clone();
        }
        let secret = Zeroizing::new(format!("AWS4{}", self.secret.expose_secret()));
        let step = |key: &[u8], message: &str| {
            Zeroizing::new(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes()).as_ref().to_vec())
        };
        let of_service = step(&step(&step(secret.as_bytes(), day), region), service);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &step(&of_service, "aws4_request"));
        self.of_day.store(Some(Arc::new((day.to_owned(), key.clone()))));
        key
    }
}
