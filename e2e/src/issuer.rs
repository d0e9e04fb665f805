//! A provider on loopback, for what the real one cannot be made to do: it publishes the keys it is told to, and can be
//! told not to answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::SigningKey;
use serde_json::{Value, json};

use crate::forge::Claims;

/// The provider; it ends with the test's process.
pub struct Issuer {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    is_silent: bool,
    is_failing: bool,
    /// Requests that have arrived.
    asked: usize,
    /// What the token endpoint answers.
    login: Value,
    /// Members of the discovery document beside those that are always there.
    says: Value,
    /// The forms that came to the token endpoint.
    forms: Vec<String>,
}

impl Issuer {
    /// A provider that publishes these keys.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::<Shared>::default();
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&answering);
                std::thread::spawn(move || shared.answer(stream, port));
            }
        });
        let issuer = Self { port, shared };
        issuer.publish(keys);
        issuer
    }

    /// Its issuer name.
    #[must_use]
    pub fn name(&self) -> String {
        url(self.port)
    }

    /// Publishes these keys from now on.
    ///
    /// # Panics
    /// Never.
    pub fn publish(&self, keys: &[&SigningKey]) {
        let keys = keys.iter().map(|key| serde_json::to_value(key.public().jwk()).expect("JSON")).collect();
        self.shared.lock().keys = keys;
    }

    /// Lets requests wait for an answer, or answers them all.
    pub fn set_silent(&self, is_silent: bool) {
        self.shared.lock().is_silent = is_silent;
        self.shared.changed.notify_all();
    }

    /// Answers no request with more than 503, or again as it should.
    pub fn set_failing(&self, is_failing: bool) {
        self.shared.lock().is_failing = is_failing;
    }

    /// Lets the token endpoint answer with this ID token and access token to whatever code.
    pub fn set_login(&self, id_token: &str, access_token: &str) {
        let answer =
            json!({"id_token": id_token, "access_token": access_token, "token_type": "Bearer", "expires_in": 300});
        self.shared.lock().login = answer;
    }

    /// Adds this member to the discovery document.
    pub fn set_says(&self, name: &str, value: Value) {
        self.shared.lock().says[name] = value;
    }

    /// The forms that came to the token endpoint.
    #[must_use]
    pub fn forms(&self) -> Vec<String> {
        self.shared.lock().forms.clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.shared.lock().asked
    }

    /// Claims of a good token, signed by this key when it is.
    #[must_use]
    pub fn claims(&self, key: &SigningKey) -> Claims {
        let now = SystemClock.now().as_secs();
        let claims = json!({
            "iss": self.name(), "aud": "oauth4os", "sub": "ada", "azp": "app", "scope": "logs", "iat": now, "exp": now + 300,
        });
        let header = json!({"alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid()});
        Claims::new(header, claims)
    }

    /// The entry of `providers` for it, in which the scope `logs` reads `logs-*`.
    #[must_use]
    pub fn settings(&self, name: &str) -> Value {
        json!({
            "name": name, "issuer": self.name(), "audience": "oauth4os",
            "scope_mapping": {"scopes": {"logs": ["read:logs-*"]}},
        })
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream, port: u16) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.extend_from_slice(&byte),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
        let mut form = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut form).is_err() {
            return;
        }
        let mut state = self.lock();
        state.asked += 1;
        while state.is_silent {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let body = if head.starts_with(b"GET /keys ") {
            json!({"keys": state.keys})
        } else if head.starts_with(b"POST /token ") {
            state.forms.push(String::from_utf8_lossy(&form).into_owned());
            state.login.clone()
        } else {
            let mut document = json!({
                "issuer": url(port), "jwks_uri": format!("{}/keys", url(port)),
                "authorization_endpoint": format!("{}/authorize", url(port)), "token_endpoint": format!("{}/token", url(port)),
            });
            for (name, value) in state.says.as_object().into_iter().flatten() {
                document[name] = value.clone();
            }
            document
        };
        let status = if state.is_failing { "503 Service Unavailable" } else { "200 OK" };
        drop(state);
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        // Whoever has hung up does not want it.
        let _ = stream.write_all(answer.as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
