//! The real Keycloak that `cargo xtask keycloak up` has started: its tokens, and its administration.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::connection::PlainConnection;
use crate::http::percent_encode;
use crate::paths;

/// Held for reading by tests that need it, for writing by the one that stops it.
static UP: RwLock<()> = RwLock::new(());

/// An outside identity provider with the realm `oauth4os`.
pub struct Keycloak {
    pub issuer: String,
    port: u16,
    dir: PathBuf,
    state: Value,
}

impl Keycloak {
    /// The Keycloak of this run, and what keeps it from being stopped.
    ///
    /// # Panics
    /// When there is none.
    pub fn get() -> (&'static Self, RwLockReadGuard<'static, ()>) {
        (Self::known(), UP.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The Keycloak of this run, for the one test that stops it.
    ///
    /// # Panics
    /// When there is none.
    pub fn alone() -> (&'static Self, RwLockWriteGuard<'static, ()>) {
        (Self::known(), UP.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn known() -> &'static Self {
        static KEYCLOAK: OnceLock<Keycloak> = OnceLock::new();
        KEYCLOAK.get_or_init(|| {
            let file = paths::keycloak_json();
            let text = std::fs::read_to_string(&file).expect("read the state of Keycloak");
            let state: Value = serde_json::from_str(&text).expect("the state of Keycloak is JSON");
            Self {
                issuer: state["issuer"].as_str().expect("an issuer").to_owned(),
                port: state["http_port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port"),
                dir: PathBuf::from(state["dir"].as_str().expect("a folder")),
                state,
            }
        })
    }

    /// The secret of a confidential client.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn secret(&self, client: &str) -> &str {
        self.state["clients"][client]["secret"].as_str().expect("a confidential client")
    }

    /// The password of a person.
    ///
    /// # Panics
    /// When there is no such person.
    #[must_use]
    pub fn password(&self, name: &str) -> &str {
        let people = self.state["users"].as_array().expect("people");
        let person = people.iter().find(|person| person["name"] == name).expect("a person");
        person["password"].as_str().expect("a password")
    }

    /// An access token of the client itself.
    ///
    /// # Panics
    /// When it gets none.
    #[must_use]
    pub fn client_token(&self, client: &str) -> String {
        let secret = self.state["clients"][client]["secret"].as_str().expect("a confidential client");
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        text(&self.token(&self.issuer, &form), "access_token")
    }

    /// What a person gets at the client `terminal`: access token, ID token and the rest.
    ///
    /// # Panics
    /// When there is no such person.
    #[must_use]
    pub fn log_in(&self, name: &str) -> Value {
        let people = self.state["users"].as_array().expect("people");
        let person = people.iter().find(|person| person["name"] == name).expect("a person");
        let password = person["password"].as_str().expect("a password");
        let form = [
            ("grant_type", "password"),
            ("client_id", "terminal"),
            ("username", name),
            ("password", password),
            ("scope", "openid"),
        ];
        self.token(&self.issuer, &form)
    }

    /// The access token of a person.
    #[must_use]
    pub fn user_token(&self, name: &str) -> String {
        text(&self.log_in(name), "access_token")
    }

    /// A token of the realm `master`, with which the server is administered.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn admin_token(&self) -> String {
        let field = |name: &str| self.state["admin"][name].as_str().expect("a text");
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", field("user")),
            ("password", field("password")),
        ];
        let realm = self.issuer.rsplit_once('/').expect("a path").0;
        text(&self.token(&format!("{realm}/master"), &form), "access_token")
    }

    /// Gives the realm a new key of this kind (`rsa-generated`, `ecdsa-generated`) that signs from now on; returns its id
    /// for [`remove_key`](Self::remove_key).
    ///
    /// # Panics
    /// When Keycloak refuses.
    #[must_use]
    pub fn add_key(&self, kind: &str, name: &str, config: &Value) -> String {
        let realm = self.administer("GET", "/admin/realms/oauth4os", None).json()["id"].clone();
        let component = json!({
            "name": name, "providerId": kind, "providerType": "org.keycloak.keys.KeyProvider", "parentId": realm,
            "config": config,
        });
        let answer = self.administer("POST", "/admin/realms/oauth4os/components", Some(&component));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let location = answer.header("location").expect("where it is").to_owned();
        location.rsplit_once('/').expect("a path").1.to_owned()
    }

    /// Takes a key away.
    ///
    /// # Panics
    /// When Keycloak refuses.
    pub fn remove_key(&self, id: &str) {
        let answer = self.administer("DELETE", &format!("/admin/realms/oauth4os/components/{id}"), None);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Gives a person a role of the realm, or takes it away.
    ///
    /// # Panics
    /// When Keycloak refuses.
    pub fn set_role(&self, person: &str, role: &str, has_it: bool) {
        let role = self.administer("GET", &format!("/admin/realms/oauth4os/roles/{role}"), None).json();
        let path = format!("/admin/realms/oauth4os/users/{}/role-mappings/realm", self.id_of(person));
        let answer = self.administer(if has_it { "POST" } else { "DELETE" }, &path, Some(&json!([role])));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// Ends every session of a person.
    ///
    /// # Panics
    /// When Keycloak refuses.
    pub fn log_out(&self, person: &str) {
        let path = format!("/admin/realms/oauth4os/users/{}/logout", self.id_of(person));
        let answer = self.administer("POST", &path, None);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    fn id_of(&self, person: &str) -> String {
        let found = self.administer("GET", &format!("/admin/realms/oauth4os/users?exact=true&username={person}"), None);
        found.json()[0]["id"].as_str().expect("a person").to_owned()
    }

    /// Ends the process.
    pub fn stop(&self) {
        self.xtask(&["keycloak", "down", "--dir"]);
    }

    /// Starts the process again, on the same realm.
    pub fn start(&self) {
        self.xtask(&["keycloak", "up", "--http-port", &self.port.to_string(), "--dir"]);
    }

    fn xtask(&self, arguments: &[&str]) {
        let mut command = Command::new(paths::xtask());
        command.args(arguments).arg(&self.dir).stdin(Stdio::null());
        let output = command.output().expect("run xtask");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn administer(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let authorization = format!("Bearer {}", self.admin_token());
        let body = body.map(|body| ("application/json", body.to_string()));
        self.send(method, path, Some(&authorization), body)
    }

    fn token(&self, issuer: &str, form: &[(&str, &str)]) -> Value {
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        let path = issuer.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let target = format!("{}/protocol/openid-connect/token", path.expect("a path"));
        let body = ("application/x-www-form-urlencoded", pairs.join("&"));
        let answer = self.send("POST", &target, None, Some(body));
        assert_eq!(answer.status, 200, "no token: {}", answer.text());
        answer.json()
    }

    fn send(&self, method: &str, target: &str, authorization: Option<&str>, body: Option<(&str, String)>) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        if let Some(authorization) = authorization {
            head += &format!("Authorization: {authorization}\r\n");
        }
        if let Some((kind, body)) = &body {
            head += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        }
        let mut connection = PlainConnection::open(([127, 0, 0, 1], self.port).into());
        connection.write(format!("{head}\r\n{}", body.map_or_else(String::new, |(_, body)| body)).as_bytes());
        connection.answer()
    }
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {answer}")).to_owned()
}

/// What follows `Basic `.
#[must_use]
pub fn basic_credentials(id: &str, secret: &str) -> String {
    STANDARD.encode(format!("{id}:{secret}"))
}
