//! A person's browser, as far as a login needs one: it keeps cookies, follows redirects, and fills in forms.

use std::collections::BTreeMap;

use oauth4os_tokens::id;

use crate::answer::Answer;
use crate::base64url::encode;
use crate::connection::PlainConnection;
use crate::gateway::{Gateway, ISSUER};
use crate::http::percent_encode;
use crate::keycloak::Keycloak;

/// A browser before one gateway; providers are reached by plain HTTP on this machine.
pub struct Browser<'g> {
    gateway: &'g Gateway,
    /// Values by name, for each place.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// `Accept-Language`.
    pub language: String,
}

/// What a client makes for one authorization (RFC 7636).
pub struct Pkce {
    pub verifier: String,
    pub challenge: String,
}

/// What a client is sent.
#[derive(Debug)]
pub struct Code {
    /// Where the browser was sent to.
    pub location: String,
}

impl Pkce {
    /// # Panics
    /// When the operating system gives no random bytes.
    #[must_use]
    pub fn new() -> Self {
        let verifier = id::random_id("verifier-of-a-client-of-the-gateway-").expect("random bytes");
        let challenge = encode(id::sha256(verifier.as_bytes()));
        Self { verifier, challenge }
    }
}

impl Default for Pkce {
    fn default() -> Self {
        Self::new()
    }
}

impl Code {
    /// A parameter of the answer, decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.location, name)
    }

    /// The code.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.parameter("code").unwrap_or_else(|| panic!("no code: {}", self.location))
    }
}

impl<'g> Browser<'g> {
    #[must_use]
    pub const fn new(gateway: &'g Gateway) -> Self {
        Self { gateway, cookies: BTreeMap::new(), language: String::new() }
    }

    /// The cookies that the gateway has set.
    #[must_use]
    pub fn gateway_cookies(&self) -> BTreeMap<String, String> {
        self.cookies.get(ISSUER).cloned().unwrap_or_default()
    }

    /// Puts a cookie where the gateway's are.
    pub fn set_gateway_cookie(&mut self, name: &str, value: &str) {
        self.cookies.entry(ISSUER.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// Gets a page of the gateway or of a provider on this machine; redirects are not followed.
    pub fn get(&mut self, url: &str) -> Answer {
        self.send("GET", url, None, &[])
    }

    /// Sends a form, as a page of the same place does.
    pub fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("POST", url, Some(fields), &[])
    }

    /// The same with further fields in the head.
    ///
    /// # Panics
    /// When the place is none of those that can be reached.
    pub fn send(&mut self, method: &str, url: &str, form: Option<&[(&str, &str)]>, headers: &[(&str, &str)]) -> Answer {
        let (place, target) = split(url);
        let cookies: Vec<String> =
            self.cookies.get(place).into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let answer = if place == ISSUER {
            let mut request = self.gateway.http().request(method, target);
            if !cookies.is_empty() {
                request = request.header("Cookie", &cookies);
            }
            if !self.language.is_empty() {
                request = request.header("Accept-Language", &self.language);
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(form) = form {
                request = request.form(form);
            }
            request.send()
        } else {
            plain(place, method, target, &cookies, form)
        };
        for set in answer.every("set-cookie") {
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            if place == ISSUER {
                assert!(name.starts_with("__Host-"), "{set}");
                for part in ["; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
                    assert!(set.contains(part), "`{part}`: {set}");
                }
            }
            let jar = self.cookies.entry(place.to_owned()).or_default();
            if value.is_empty() || set.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// Goes where an answer sends, as long as that is the gateway or a provider on this machine, and gives the page it ends
    /// at or the client it is sent to.
    ///
    /// # Panics
    /// When it goes in a circle.
    pub fn follow(&mut self, mut answer: Answer, at: &str) -> Result<(String, Answer), Code> {
        let mut at = at.to_owned();
        for _ in 0..20 {
            if !matches!(answer.status, 302 | 303) {
                return Ok((at, answer));
            }
            let location = answer.header("location").expect("where to go").to_owned();
            let is_here = location.starts_with(&format!("{ISSUER}/")) || location.contains("/realms/");
            if !is_here {
                return Err(Code { location });
            }
            answer = self.get(&location);
            at = location;
        }
        panic!("too many redirects, the last to {at}");
    }

    /// Fills in the login form of Keycloak, if that is where the browser was sent.
    ///
    /// # Panics
    /// When there is no login form.
    pub fn log_in(&mut self, keycloak: &Keycloak, name: &str, url: &str) -> Result<(String, Answer), Code> {
        let first = self.get(url);
        let (at, page) = self.follow(first, url)?;
        if at.starts_with(ISSUER) {
            return Ok((at, page));
        }
        let action = page.text().split("action=\"").nth(1).and_then(|rest| rest.split('"').next().map(unescaped));
        let action = action.unwrap_or_else(|| panic!("no login form at {at}: {}", page.text()));
        let answer = self.post(&action, &[("username", name), ("password", keycloak.password(name))]);
        self.follow(answer, &action)
    }

    /// Presses a button of the page that asks for consent.
    ///
    /// # Panics
    /// When the page does not ask, or the answer leads nowhere.
    pub fn decide(&mut self, page: &Answer, decision: &str) -> Code {
        let (id, token) = (field(page, "id"), field(page, "form_token"));
        let url = format!("{ISSUER}/oauth/consent");
        let form = [("id", id.as_str()), ("form_token", &token), ("decision", decision)];
        let answer = self.send("POST", &url, Some(&form), &[("Origin", ISSUER)]);
        match self.follow(answer, &url) {
            Err(code) => code,
            Ok((at, page)) => panic!("the browser stays at {at}: {} {}", page.status, page.text()),
        }
    }
}

/// The value of a hidden field.
fn field(page: &Answer, name: &str) -> String {
    let marker = format!("name=\"{name}\" value=\"");
    let text = page.text();
    let value = text.split(&marker).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_else(|| panic!("no field `{name}`: {} {text}", page.status)).to_owned()
}

/// A parameter of an address, decoded.
///
/// # Panics
/// When it is not percent-encoded UTF-8.
#[must_use]
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
            let digits = std::str::from_utf8(&digits).expect("ASCII").to_owned();
            bytes.push(u8::from_str_radix(&digits, 16).expect("hexadecimal"));
        } else {
            bytes.push(byte);
        }
    }
    Some(String::from_utf8(bytes).expect("UTF-8"))
}

fn split(url: &str) -> (&str, &str) {
    let start = url.find("://").expect("an address") + 3;
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    (&url[..end], if end == url.len() { "/" } else { &url[end..] })
}

fn unescaped(text: &str) -> String {
    text.replace("&amp;", "&")
}

fn plain(place: &str, method: &str, target: &str, cookies: &str, form: Option<&[(&str, &str)]>) -> Answer {
    let authority = place.strip_prefix("http://").expect("plain HTTP to this machine");
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    if !cookies.is_empty() {
        head += &format!("Cookie: {cookies}\r\n");
    }
    let body = form.map(|form| {
        form.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect::<Vec<_>>().join("&")
    });
    if let Some(body) = &body {
        head += &format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", body.len());
    }
    let mut connection = PlainConnection::open(([127, 0, 0, 1], port).into());
    connection.write(format!("{head}\r\n{}", body.unwrap_or_default()).as_bytes());
    connection.answer()
}
