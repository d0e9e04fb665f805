//! What browsers keep for us: a value by which a login that is under way is this browser's, and one by which a person is logged in.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use oauth4os_store::SecretHash;
use oauth4os_tokens::id::{NoRandomness, random_id};

/// `__Host-` makes a browser take it from this host by TLS only, and send it to no other (RFC 6265bis section 4.1.3.2).
const UNDER_WAY: &str = "__Host-oauth4os-login";
const LOGGED_IN: &str = "__Host-oauth4os-session";

/// The random value of a cookie.
pub(crate) struct CookieValue(String);

impl CookieValue {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        Ok(Self(format!("{}{}", random_id("")?, random_id("")?)))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// What a form on a page of this browser has to bring along: it cannot be known elsewhere.
    pub(crate) fn form_token(&self) -> String {
        use base64::Engine as _;
        let text = format!("form {}", self.0);
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(oauth4os_tokens::id::sha256(text.as_bytes()))
    }
}

/// By which a login that is under way is this browser's.
pub(crate) fn under_way(headers: &HeaderMap) -> Option<CookieValue> {
    read(headers, UNDER_WAY)
}

/// By which a person is logged in.
pub(crate) fn logged_in(headers: &HeaderMap) -> Option<CookieValue> {
    read(headers, LOGGED_IN)
}

pub(crate) fn set_under_way(value: &CookieValue) -> Option<HeaderValue> {
    set(UNDER_WAY, &value.0, "; Max-Age=600")
}

pub(crate) fn set_logged_in(value: &CookieValue) -> Option<HeaderValue> {
    set(LOGGED_IN, &value.0, "")
}

pub(crate) fn forget_logged_in() -> Option<HeaderValue> {
    set(LOGGED_IN, "", "; Max-Age=0")
}

fn set(name: &str, value: &str, more: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{more}")).ok()
}

/// The one cookie of this name. Two of them are none: one was put there by somebody else.
fn read(headers: &HeaderMap, name: &str) -> Option<CookieValue> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(other, _)| *other == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) if value.len() == 44 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(CookieValue(value.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cookie_is_read_and_nothing_that_is_not_ours() {
        let value = CookieValue::generate().unwrap();
        let read = |fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(COOKIE, field.parse().unwrap());
            }
            logged_in(&headers).map(|value| value.0)
        };
        let ours = format!("__Host-oauth4os-session={}", value.0);
        assert_eq!(read(&[&format!("a=b; {ours}; c=d")]), Some(value.0.clone()));
        assert_eq!(read(&["a=b", &ours]), Some(value.0.clone()));
        assert_eq!(read(&[&ours, &ours]), None);
        assert_eq!(read(&[&format!("{ours}; {ours}")]), None);
        assert_eq!(read(&[&format!("oauth4os-session={}", value.0)]), None);
        assert_eq!(read(&["__Host-oauth4os-session=", "x"]), None);
        assert_eq!(read(&["__Host-oauth4os-session=short"]), None);
        let set = set_logged_in(&value).unwrap();
        for part in ["__Host-", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
            assert!(set.to_str().unwrap().contains(part), "{part}");
        }
        assert!(!set.to_str().unwrap().contains("Domain"));
    }
}
