//! Requests to OpenSearch Dashboards: what they do there, and what they have the engine do.
//!
//! Dashboards routes with hapi, which decodes needless escapes before it compares segments, reads the query as forms are
//! read, and takes a list for a parameter that is there twice. Whatever another reader could take for something else is
//! refused. What Dashboards only passes on to the engine is an operation of the engine (`console`), or denied.

mod console;
mod table;

use self::table::{Kind, ROUTES, Route};
use crate::body::Body;
use crate::class::{Action, Class};
use crate::error::ClassifyError;
use crate::operation::{Operation, Targets};
use crate::table::Method;
use crate::target::{RawTarget, Segments, decode};

/// Any type of saved object.
const ANY: &str = "*";

/// Reads a request line as Dashboards will: `target` is the raw request target without the base path. A path may begin with
/// `/w/<id>`, the workspace it is about.
///
/// # Errors
/// Whatever is unknown, malformed, or could be read in more than one way: see [`ClassifyError`].
///
/// ```
/// let operation = oauth4os_classify::classify_dashboards("GET", "/api/saved_objects/dashboard/7").unwrap();
/// assert_eq!(operation.class, oauth4os_classify::Class::DashboardsRead);
/// let operation = oauth4os_classify::classify_dashboards("POST", "/api/console/proxy?method=GET&path=_search").unwrap();
/// assert_eq!(operation.name, "search");
/// ```
pub fn classify_dashboards(method: &str, target: &str) -> Result<Operation, ClassifyError> {
    let raw = RawTarget::parse(target)?;
    let unclassified = || ClassifyError::Unclassified { method: method.to_owned(), path: raw.path.to_owned() };
    check_escapes(raw.path)?;
    let segments = Segments::split(raw.path)?.ok_or_else(unclassified)?;
    let path = without_workspace(segments.as_slice());
    let parameters = parameters(raw.query)?;
    // hapi answers HEAD wherever it answers GET.
    let asked = Method::parse(if method == "HEAD" { "GET" } else { method }).ok_or_else(unclassified)?;
    let mut allowed = Vec::new();
    for route in ROUTES {
        let Some(captured) = route.captures(path)? else { continue };
        if route.methods.contains(&asked) {
            return route.operation(captured, &parameters);
        }
        allowed.extend(route.methods.iter().map(|method| method.as_str()));
    }
    if allowed.is_empty() {
        return Err(unclassified());
    }
    Err(ClassifyError::MethodNotAllowed { method: method.to_owned(), path: raw.path.to_owned(), allowed })
}

/// Reads the request line that opens a WebSocket on a path the operator has listed for it, with what is needed there. What
/// it carries afterwards is not looked at, so it is about objects of any type.
///
/// # Errors
/// As [`classify_dashboards`], for what is malformed or could be read in more than one way.
pub fn classify_dashboards_websocket(target: &str, class: Class) -> Result<Operation, ClassifyError> {
    let raw = RawTarget::parse(target)?;
    check_escapes(raw.path)?;
    let parameters = parameters(raw.query)?;
    let action = if class == Class::DashboardsRead { Action::Get } else { Action::Update };
    let route =
        Route { methods: &[Method::Get], path: "", name: "dashboards.websocket", class, action, kind: Kind::Plain };
    route.operation(None, &parameters)
}

/// Whether a type of saved objects has a name as such types have.
pub(crate) fn is_type(name: &str) -> bool {
    matches!(name.len(), 1..=128)
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':'))
}

/// What a parameter is called when nobody looks at its spelling, and why it may not be there.
const REFUSED: [(&str, &str); 5] = [
    ("authorization", "with it Dashboards would show another token to the engine; send `Authorization: Bearer`"),
    ("securitytenant", "it chooses a tenant; send the header `securitytenant`"),
    ("datasource", "another data source has credentials of its own"),
    ("datasourceid", "another data source has credentials of its own"),
    ("dataconnectionid", "another data source has credentials of its own"),
];

/// The parameters of a query, decoded as forms are (`URLSearchParams`): `&` separates and nothing else, `+` is a space.
fn parameters(raw: &str) -> Result<Vec<(String, String)>, ClassifyError> {
    let mut found = Vec::new();
    for part in raw.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (decode(name, true)?, decode(value, true)?);
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
        if let Some(&(_, why)) = REFUSED.iter().find(|(refused, _)| *refused == plain) {
            return Err(ClassifyError::DashboardsParameter { parameter: name.into_owned(), why });
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    Ok(found)
}

/// Escapes of unreserved characters (RFC 3986 section 2.3) mean the characters themselves to some, hapi among them.
fn check_escapes(path: &str) -> Result<(), ClassifyError> {
    for after in path.split('%').skip(1) {
        let digits = after.get(..2).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16);
        if byte.is_ok_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')) {
            return Err(ClassifyError::NeedlessEscape(path.to_owned()));
        }
    }
    Ok(())
}

/// The path within a workspace.
fn without_workspace<'p, 'a>(path: &'p [&'a str]) -> &'p [&'a str] {
    match path {
        ["w", id, rest @ ..] if is_type(id) => rest,
        _ => path,
    }
}

impl Route {
    /// The type of saved objects in the path, if it has one; `None` when this is not the path.
    fn captures(&self, path: &[&str]) -> Result<Option<Option<String>>, ClassifyError> {
        let mut pattern = self.path.split('/').skip(1);
        let mut path = path.iter();
        let mut object_type = None;
        loop {
            match (pattern.next(), path.next()) {
                (Some("**"), _) | (None, None) => return Ok(Some(object_type)),
                (Some("{type}"), Some(segment)) => {
                    // Literals begin with `_`, types do not.
                    if !is_type(segment) {
                        return Ok(None);
                    }
                    object_type = Some((*segment).to_owned());
                }
                (Some("{id}"), Some(segment)) => {
                    if decode(segment, false)?.starts_with('_') && object_type.is_none() {
                        return Ok(None);
                    }
                }
                (Some(literal), Some(segment)) if literal == *segment => {}
                _ => return Ok(None),
            }
        }
    }

    fn operation(
        &self,
        object_type: Option<String>,
        parameters: &[(String, String)],
    ) -> Result<Operation, ClassifyError> {
        let mut operation = Operation {
            name: self.name,
            class: self.class,
            action: self.action,
            also: None,
            targets: Targets::Dashboards(vec![object_type.unwrap_or_else(|| ANY.to_owned())]),
            body: Body::Opaque,
            hidden: false,
            create_only: false,
            pipeline: false,
            past_rows: false,
            handles: Vec::new(),
            scrolls: false,
            denied: None,
        };
        // What is made may take the place of what is there.
        let overwrites = parameters.iter().any(|(name, value)| name == "overwrite" && value != "false");
        if overwrites && self.action == Action::Create {
            operation.also = Some((self.class, Action::Update));
        }
        match self.kind {
            Kind::Plain => {}
            Kind::Replacing => operation.also = Some((self.class, Action::Update)),
            Kind::Find => {
                let types: Vec<String> =
                    parameters.iter().filter(|(name, _)| name == "type").map(|(_, value)| value.clone()).collect();
                // What is no plain name may be a list, or none.
                if !types.is_empty() && types.iter().all(|name| is_type(name)) {
                    operation.targets = Targets::Dashboards(types);
                }
            }
            Kind::List => (operation.targets, operation.body) = (Targets::Body, Body::SavedObjects),
            Kind::Export => (operation.targets, operation.body) = (Targets::Body, Body::Export),
            Kind::Console => return console::call(parameters),
            Kind::Fields => return console::fields(parameters),
            Kind::Denied(why) => {
                (operation.class, operation.action, operation.denied) = (Class::Denied, Action::Denied, Some(why));
            }
        }
        Ok(operation)
    }
}

#[cfg(test)]
mod tests;
