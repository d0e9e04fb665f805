//! Requests for OpenSearch Dashboards: which they are, and what is different about them on the way there and back.
//!
//! Dashboards hands the `Authorization` field on to the engine and keeps sessions in sealed cookies for those who send them.
//! No cookie crosses the gateway in either direction, so that every request is its token's and nothing else's.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_classify::{ClassifyError, Operation, classify_dashboards, classify_dashboards_websocket};
use oauth4os_config::Dashboards as Settings;

use crate::cluster::{below, is_host};
use crate::fields::ConnectionOptions;
use crate::nodes::{Health, Nodes};
use crate::refusal::Refusal;
use crate::session::{Credential, Session};
use crate::websocket::Handshake;
use crate::wire::request::{Field, RequestHead};
use crate::wire::trim;

/// What the workers share about Dashboards.
pub(crate) struct Dashboards {
    settings: Settings,
    /// Host and port in its own URLs.
    authority: String,
    pub(crate) health: Arc<Health>,
}

/// A request that is meant for Dashboards.
pub(crate) struct Call<'a> {
    pub(crate) dashboards: &'a Dashboards,
    pub(crate) nodes: Rc<Nodes>,
    /// The target as it is sent.
    pub(crate) target: Cow<'a, str>,
    /// The target without the base path, as its routes are written.
    route: Cow<'a, str>,
    pub(crate) extra: Extra<'a>,
    /// When a WebSocket is asked for.
    pub(crate) websocket: Option<Handshake<'a>>,
}

/// What is sent along with a request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extra<'a> {
    /// Whose saved objects are meant.
    pub(crate) tenant: Option<&'a str>,
    /// Whether `osd-xsrf` is added, without which Dashboards takes a change for a forged one.
    pub(crate) xsrf: bool,
}

impl Dashboards {
    pub(crate) const fn new(settings: Settings, authority: String, health: Arc<Health>) -> Self {
        Self { settings, authority, health }
    }

    /// How long to wait for the first byte of an answer.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.settings.response_timeout.as_duration()
    }

    /// The request as a call of Dashboards, when it is meant for it; `is_own` when it arrived on its own listener.
    pub(crate) fn call<'a>(&'a self, head: &RequestHead<'a>, nodes: &Rc<Nodes>, is_own: bool) -> Option<Call<'a>> {
        let below = self.settings.path_prefix.as_ref().and_then(|prefix| below(head.target, prefix));
        let is_asked = is_own || self.settings.hosts.iter().any(|host| is_host(head.host, host));
        let (target, route) = match below {
            Some(route) if self.settings.strip_prefix => (route.clone(), route),
            Some(route) => (Cow::Borrowed(head.target), route),
            None if is_asked => (Cow::Borrowed(head.target), Cow::Borrowed(head.target)),
            None => return None,
        };
        let (extra, websocket) = (Extra::default(), None);
        Some(Call { dashboards: self, nodes: Rc::clone(nodes), target, route, extra, websocket })
    }

    /// What becomes of the `Location` of an answer: as it is, without the host and port that only the gateway can reach, and
    /// below the path that clients know.
    pub(crate) fn location<'v>(&self, value: &'v [u8]) -> Location<'v> {
        let Ok(text) = std::str::from_utf8(value) else {
            return Location::Sent(Cow::Borrowed(value));
        };
        let own = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).and_then(|rest| {
            let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
            authority.eq_ignore_ascii_case(&self.authority).then_some(path)
        });
        let path = own.unwrap_or(text);
        if own.is_none() && (!text.starts_with('/') || text.starts_with("//")) {
            return Location::Sent(Cow::Borrowed(value));
        }
        let prefix = self.settings.path_prefix.as_deref().unwrap_or_default();
        let below = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
        let route = below.unwrap_or(path);
        if ["/app/login", "/auth/", "/login"].iter().any(|login| route.starts_with(login)) {
            return Location::Login;
        }
        Location::Sent(if below.is_none() || own.is_some() {
            let slash = if route.starts_with('/') { "" } else { "/" };
            Cow::Owned(format!("{prefix}{slash}{route}").into_bytes())
        } else {
            Cow::Borrowed(value)
        })
    }
}

/// What `Location` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Location<'v> {
    Sent(Cow<'v, [u8]>),
    /// To where a session begins: Dashboards does not take the token.
    Login,
}

impl<'a> Call<'a> {
    /// What the request does, to Dashboards or by it to the engine.
    pub(crate) fn classify(&self, head: &RequestHead<'_>) -> Result<Operation, Refusal> {
        let classified = match &self.websocket {
            None => classify_dashboards(head.method, &self.route),
            Some(websocket) => classify_dashboards_websocket(&self.route, websocket.class),
        };
        let operation = classified.map_err(|error| match error {
            ClassifyError::Unclassified { .. } => Refusal::forbidden(error.to_string(), None),
            ClassifyError::MethodNotAllowed { ref allowed, .. } => Refusal::method_of_path(error.to_string(), allowed),
            _ => Refusal::unreadable(error.to_string()),
        })?;
        // It passes the body on, and does not say that it is encoded.
        if !operation.class.is_dashboards() && head.content_encoding.is_some() {
            return Err(Refusal::content("a body that Dashboards passes on to the engine is sent without an encoding"));
        }
        Ok(operation)
    }

    /// Reads the request as one for a WebSocket; `sent_ahead` when more than its head has arrived.
    pub(crate) fn open_websocket(
        &mut self,
        head: &RequestHead<'a>,
        session: &Session,
        sent_ahead: bool,
    ) -> Result<(), Refusal> {
        let paths = &self.dashboards.settings.websockets;
        self.websocket = Some(Handshake::read(head, &self.route, paths, session, sent_ahead)?);
        Ok(())
    }

    /// Finds out what is to be sent along.
    pub(crate) fn complete(&mut self, head: &RequestHead<'_>, session: &Session) -> Result<(), Refusal> {
        self.extra =
            Extra { tenant: tenant(&self.dashboards.settings.tenants, head.fields)?, xsrf: needs_xsrf(head, session) };
        Ok(())
    }
}

/// The tenant of a request: the one it chooses, when it may, else the first.
fn tenant<'a>(tenants: &'a [String], fields: &[Field<'_>]) -> Result<Option<&'a str>, Refusal> {
    let mut values =
        fields.iter().filter(|field| field.name.eq_ignore_ascii_case("securitytenant")).map(|field| trim(field.value));
    match (values.next(), values.next()) {
        (None, _) => Ok(tenants.first().map(String::as_str)),
        (Some(_), Some(_)) => Err(Refusal::unreadable("more than one tenant; send one `securitytenant` field")),
        (Some(chosen), None) => match tenants.iter().find(|tenant| tenant.as_bytes() == chosen) {
            Some(tenant) => Ok(Some(tenant.as_str())),
            None => Err(Refusal::forbidden("the tenant is none of `upstream.dashboards.tenants`", None)),
        },
    }
}

/// Whether Dashboards would refuse the request as a forged one and it cannot be: a bearer token is nothing a browser adds by
/// itself, unlike cookies, HTTP Basic or a certificate. A request that comes with cookies is left as it is.
fn needs_xsrf(head: &RequestHead<'_>, session: &Session) -> bool {
    let is_bearer = matches!(session.credential, Credential::Own { .. } | Credential::Provider { .. });
    let options = ConnectionOptions::of(head.fields);
    let has =
        |name: &str| head.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)) && !options.names(name);
    is_bearer
        && !matches!(head.method, "GET" | "HEAD" | "OPTIONS")
        && !head.fields.iter().any(|field| field.name.eq_ignore_ascii_case("cookie"))
        && !has("osd-xsrf")
        && !has("osd-version")
}

#[cfg(test)]
mod tests {
    use oauth4os_telemetry::metrics::Metrics;

    use super::*;
    use crate::wire::request::MAX_HEADERS;

    fn dashboards(change: impl FnOnce(&mut Settings)) -> Dashboards {
        let text = r#"{"url": "http://127.0.0.1:5601"}"#;
        let mut settings: Settings = serde_json::from_str(text).unwrap();
        change(&mut settings);
        Dashboards::new(settings, "127.0.0.1:5601".to_owned(), Arc::new(Health::new(1, Arc::new(Metrics::new()))))
    }

    fn nodes() -> Rc<Nodes> {
        Rc::new(Nodes::new([], &Arc::new(Health::new(0, Arc::new(Metrics::new())))))
    }

    fn called(dashboards: &Dashboards, host: &str, target: &str) -> Option<(String, String)> {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let head = RequestHead::parse(head.as_bytes(), &mut slots, 10).unwrap();
        let call = dashboards.call(&head, &nodes(), false)?;
        Some((call.target.into_owned(), call.route.into_owned()))
    }

    fn both(target: &str, route: &str) -> Option<(String, String)> {
        Some((target.to_owned(), route.to_owned()))
    }

    #[test]
    fn it_is_asked_by_host() {
        let by_host = dashboards(|settings| settings.hosts = vec!["d.example.com".to_owned()]);
        for host in ["d.example.com", "D.Example.COM:8443", "d.example.com:"] {
            assert_eq!(called(&by_host, host, "/api/status?a"), both("/api/status?a", "/api/status?a"), "{host}");
        }
        for host in ["example.com", "xd.example.com", "d.example.com.", "[::1]"] {
            assert_eq!(called(&by_host, host, "/api/status"), None, "{host}");
        }
    }

    #[test]
    fn it_is_asked_below_a_path() {
        let kept = dashboards(|settings| settings.path_prefix = Some("/_d".to_owned()));
        assert_eq!(called(&kept, "a", "/_d/api/status?a=/"), both("/_d/api/status?a=/", "/api/status?a=/"));
        assert_eq!(called(&kept, "a", "/_d?x"), both("/_d?x", "/?x"));
        for other in ["/_dx/api", "/api/_d", "/%5fd/api", "/_D/api", "/?/_d/"] {
            assert_eq!(called(&kept, "a", other), None, "{other}");
        }
        let stripped = dashboards(|settings| {
            settings.path_prefix = Some("/_d".to_owned());
            settings.strip_prefix = true;
        });
        assert_eq!(called(&stripped, "a", "/_d/_d/x?y"), both("/_d/x?y", "/_d/x?y"));
        assert_eq!(called(&stripped, "a", "/_d"), both("/", "/"));
    }

    #[test]
    fn a_tenant_is_one_of_the_list() {
        let field = |name: &'static str, value: &'static str| httparse::Header { name, value: value.as_bytes() };
        let tenants = ["global".to_owned(), "team".to_owned()];
        let of = |tenants, fields: &[Field<'_>]| {
            tenant(tenants, fields).map(|tenant| tenant.map(str::to_owned)).map_err(|refusal| refusal.status)
        };
        assert_eq!(of(&tenants, &[]), Ok(Some("global".to_owned())));
        assert_eq!(of(&[], &[]), Ok(None));
        assert_eq!(of(&tenants, &[field("SecurityTenant", " team ")]), Ok(Some("team".to_owned())));
        assert_eq!(of(&tenants, &[field("securitytenant", "Team")]), Err(403));
        assert_eq!(of(&tenants, &[field("securitytenant", "")]), Err(403));
        assert_eq!(of(&[], &[field("securitytenant", "global")]), Err(403));
        let twice = [field("securitytenant", "team"), field("Securitytenant", "team")];
        assert_eq!(of(&tenants, &twice), Err(400));
    }

    #[test]
    fn a_location_leads_back_through_the_gateway() {
        let sent = |dashboards: &Dashboards, value: &str| match dashboards.location(value.as_bytes()) {
            Location::Sent(value) => String::from_utf8(value.into_owned()).unwrap(),
            Location::Login => "login".to_owned(),
        };
        let by_host = dashboards(|settings| settings.hosts = vec!["d".to_owned()]);
        let below = dashboards(|settings| settings.path_prefix = Some("/_d".to_owned()));
        for (value, as_host, as_path) in [
            ("/app/home", "/app/home", "/_d/app/home"),
            ("/_d/app/home", "/_d/app/home", "/_d/app/home"),
            ("http://127.0.0.1:5601/app/home?a", "/app/home?a", "/_d/app/home?a"),
            ("https://127.0.0.1:5601", "/", "/_d/"),
            ("http://127.0.0.1:5601/_d/x", "/_d/x", "/_d/x"),
            ("https://elsewhere.example.com/x", "https://elsewhere.example.com/x", "https://elsewhere.example.com/x"),
            ("//127.0.0.1:5601/x", "//127.0.0.1:5601/x", "//127.0.0.1:5601/x"),
            ("relative", "relative", "relative"),
            ("/app/login?nextUrl=%2F", "login", "login"),
            ("http://127.0.0.1:5601/auth/openid/login", "login", "login"),
        ] {
            assert_eq!((sent(&by_host, value).as_str(), sent(&below, value).as_str()), (as_host, as_path), "{value}");
        }
    }
}
