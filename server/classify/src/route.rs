//! From method and raw target to an operation, by the engine's own rules of routing.
//!
//! The engine registers its handlers in a trie and looks a path up in four modes, from "literals only" to "wildcards
//! anywhere"; the first mode whose node has a handler for the method decides. Literals are compared with the raw
//! segment, captured segments are percent-decoded once. (`RestController`, `PathTrie` in OpenSearch's server.)

use crate::body::Body;
use crate::body::settings::is_a_pipeline;
use crate::class::{Action, Class};
use crate::error::ClassifyError;
use crate::expression;
use crate::generated::{NODES, OPERATIONS};
use crate::operation::{Operation, Targets};
use crate::query::Query;
use crate::table::{BodyRule, Method, Node, Spec, TargetRule};
use crate::target::{RawTarget, Segments, decode};

/// Reads a request line as the engine will: `method` as sent, `target` the raw request target in origin form
/// (`/logs-*/_search?size=1`), not decoded or normalised in any way.
///
/// # Errors
/// Whatever is unknown, malformed, or could be read in more than one way: see [`ClassifyError`].
///
/// ```
/// let operation = oauth4os_classify::classify("GET", "/logs-a%2Cpii/_search").unwrap();
/// assert_eq!(operation.name, "search");
/// assert_eq!(operation.targets, oauth4os_classify::Targets::Indices(vec!["logs-a".into(), "pii".into()]));
/// ```
pub fn classify(method: &str, target: &str) -> Result<Operation, ClassifyError> {
    let raw = RawTarget::parse(target)?;
    let unclassified = || ClassifyError::Unclassified { method: method.to_owned(), path: raw.path.to_owned() };
    let segments = Segments::split(raw.path)?.ok_or_else(unclassified)?;
    let Some((spec, captures)) = find(method, segments.as_slice()) else {
        let allowed = allowed_methods(segments.as_slice());
        return Err(if allowed.is_empty() {
            unclassified()
        } else {
            ClassifyError::MethodNotAllowed { method: method.to_owned(), path: raw.path.to_owned(), allowed }
        });
    };
    let query = Query::parse(raw.query)?;
    let request = Request { spec, captures: &captures, query: &query };
    request.check_parameters()?;
    match request.operation()? {
        Some(operation) => Ok(operation),
        None => Err(unclassified()),
    }
}

/// Why [`Request::looks_for_nodes`] is denied.
const LOOKS_FOR_NODES: &str =
    "a client that looks for nodes would go round the gateway; switch sniffing off in the client";

/// A matched request, before its parameters are read.
struct Request<'r, 'a> {
    spec: &'static Spec,
    captures: &'r Captures<'a>,
    query: &'r Query<'a>,
}

impl Request<'_, '_> {
    /// What no operation may carry, and what must be readable whatever the operation is.
    fn check_parameters(&self) -> Result<(), ClassifyError> {
        for name in ["source", "source_content_type"] {
            if self.query.get(name).is_some() {
                return Err(ClassifyError::BodyInUrl(name.to_owned()));
            }
        }
        for (_, raw) in self.captures.iter() {
            decode(raw, false)?;
        }
        if self.spec.class.is_cluster() || self.spec.class == Class::Denied {
            return Ok(());
        }
        for name in ["index", "name", "target", "new_index", "alias", "indices"] {
            if self.query.get(name).is_some() && !self.takes(name) {
                return Err(ClassifyError::UnexpectedParameter {
                    parameter: name.to_owned(),
                    operation: self.spec.name,
                });
            }
        }
        Ok(())
    }

    /// Whether the handler reads this parameter.
    fn takes(&self, name: &str) -> bool {
        self.captures.get(name).is_some()
            || match self.spec.targets {
                TargetRule::Params(params) => params.iter().any(|param| param.name == name),
                TargetRule::Body(param) => param == name,
                TargetRule::Cluster | TargetRule::Handle => false,
            }
    }

    /// As the engine's handlers see it: a captured parameter hides a query parameter of the same name.
    fn parameter(&self, name: &str) -> Result<Option<String>, ClassifyError> {
        match self.captures.get(name) {
            Some(raw) => decode(raw, false).map(|value| Some(value.into_owned())),
            None => Ok(self.query.get(name).map(str::to_owned)),
        }
    }

    /// `None` if an index name is one that only the API can have.
    fn operation(&self) -> Result<Option<Operation>, ClassifyError> {
        let spec = self.spec;
        let mut expressions = Vec::new();
        let mut default_index = None;
        let mut handles = Vec::new();
        match spec.targets {
            TargetRule::Cluster => {}
            TargetRule::Handle => {
                let ids = self.parameter("scroll_id")?.unwrap_or_default();
                if ids.split(',').any(|id| id == crate::body::handles::ALL) {
                    return Err(ClassifyError::AllHandles);
                }
                handles.extend(ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned));
            }
            TargetRule::Params(params) => {
                for param in params {
                    match self.parameter(param.name)? {
                        Some(value) => expression::split(&value, &mut expressions)?,
                        None if param.optional => {}
                        None => expression::push(&mut expressions, "*"),
                    }
                }
            }
            TargetRule::Body(param) => default_index = self.parameter(param)?,
        }
        let body = self.body(default_index, &expressions)?;
        let targets = match spec.targets {
            TargetRule::Cluster => Targets::Cluster,
            TargetRule::Handle => Targets::Handle,
            TargetRule::Params(_) => Targets::Indices(expressions),
            TargetRule::Body(_) => Targets::Body,
        };
        let named: &[String] = match (&targets, &body) {
            (Targets::Indices(named), _) | (_, Body::Msearch { default: named }) => named,
            _ => &[],
        };
        if spec.class != Class::Denied && named.iter().any(|name| expression::is_reserved(name)) {
            return Ok(None);
        }
        let hidden = named.iter().any(|name| expression::is_hidden(name))
            || self.query.get("expand_wildcards").is_some_and(expression::expands_to_hidden);
        let (mut class, action, create_only) = self.write_class();
        let mut denied = spec.denied;
        if self.looks_for_nodes()? {
            (class, denied) = (Class::Denied, Some(LOOKS_FOR_NODES));
        }
        Ok(Some(Operation {
            name: spec.name,
            class,
            action,
            also: self.also(),
            targets,
            body,
            hidden,
            create_only,
            pipeline: self.names_pipeline(),
            past_rows: self.query.past_rows(),
            handles,
            scrolls: spec.name == "scroll" || (spec.name == "search" && self.query.scrolls()),
            denied,
        }))
    }

    /// Whether it asks for the addresses of nodes and little else, as clients do that sniff: they go on to connect to what
    /// they find. In `/_nodes/http` the engine takes for what is asked what the path calls a node.
    fn looks_for_nodes(&self) -> Result<bool, ClassifyError> {
        if self.spec.name != "nodes.info" {
            return Ok(false);
        }
        let Some(raw) = self.captures.get("metric").or_else(|| self.captures.get("node_id")) else { return Ok(false) };
        Ok(decode(raw, false)?.split(',').any(|metric| metric.trim() == "http"))
    }

    /// Class, action and whether nothing that exists can be changed.
    ///
    /// `POST /{index}/_doc` makes an id and turns itself into a creation, unless the query says `op_type=index`; the
    /// handler also reads `?id=`, with which it can overwrite.
    fn write_class(&self) -> (Class, Action, bool) {
        let spec = self.spec;
        let op_type = self.query.get("op_type");
        let create = match spec.name {
            "create" => true,
            "index" if op_type.is_some_and(|value| value.eq_ignore_ascii_case("create")) => true,
            "index" if self.captures.get("id").is_none() && self.query.get("id").is_none() => {
                op_type.is_none() || !self.names_pipeline()
            }
            "index" => false,
            _ => return (spec.class, spec.action, false),
        };
        if create { (Class::Append, Action::Create, true) } else { (Class::Write, Action::Update, false) }
    }

    fn names_pipeline(&self) -> bool {
        self.query.get("pipeline").is_some_and(is_a_pipeline)
    }

    /// The second right: what the table says, or reading the document that an update returns.
    fn also(&self) -> Option<(Class, Action)> {
        match self.spec.body {
            BodyRule::Update if self.query.returns_source() => Some((Class::Get, Action::Get)),
            _ => self.spec.also,
        }
    }

    /// `default`: the index that items of the body have if they name none. `targets`: those in the URL.
    fn body(&self, default: Option<String>, targets: &[String]) -> Result<Body, ClassifyError> {
        Ok(match self.spec.body {
            BodyRule::Opaque => Body::Opaque,
            BodyRule::Bulk => Body::Bulk {
                default_index: single(default)?,
                pipeline: self.names_pipeline(),
                returns_source: self.query.returns_source(),
            },
            BodyRule::Mget => Body::Mget { default_index: single(default)? },
            BodyRule::Mtermvectors => Body::Mtermvectors { default_index: single(default)? },
            BodyRule::Msearch => {
                let mut expressions = Vec::new();
                expression::split(&default.unwrap_or_default(), &mut expressions)?;
                Body::Msearch { default: expressions }
            }
            BodyRule::Search => Body::Search,
            BodyRule::Query => Body::Query,
            BodyRule::RankEval => Body::RankEval,
            BodyRule::Reindex => Body::Reindex,
            BodyRule::Alias => Body::Alias,
            BodyRule::Aliases => Body::Aliases,
            BodyRule::Template => Body::Template,
            BodyRule::Explain => Body::Explain,
            BodyRule::Reroute => Body::Reroute,
            BodyRule::Create => Body::Create,
            BodyRule::Settings => Body::Settings,
            BodyRule::Handles => Body::Handles,
            BodyRule::Update => Body::Update { indices: targets.to_vec() },
        })
    }
}

/// The default index of a bulk or multi-get is one name, never a list. An empty one is none.
fn single(default: Option<String>) -> Result<Option<String>, ClassifyError> {
    match default {
        None => Ok(None),
        Some(name) if name.is_empty() => Ok(None),
        Some(name) if expression::is_single_name(&name) => Ok(Some(name)),
        Some(name) => Err(ClassifyError::BadIndexExpression(name)),
    }
}

/// The engine's modes of looking a path up, in its order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Literals,
    RootWildcard,
    LeafWildcard,
    Wildcards,
}

const MODES: [Mode; 4] = [Mode::Literals, Mode::RootWildcard, Mode::LeafWildcard, Mode::Wildcards];

fn find<'a>(method: &str, path: &[&'a str]) -> Option<(&'static Spec, Captures<'a>)> {
    let method = Method::parse(method)?;
    for mode in MODES {
        let mut captures = Captures::default();
        let Some(node) = look_up(path, mode, &mut captures) else {
            continue;
        };
        let Some((_, at)) = node.routes.iter().find(|(known, _)| *known == method) else {
            continue;
        };
        return Some((OPERATIONS.get(usize::from(*at))?, captures));
    }
    None
}

fn allowed_methods(path: &[&str]) -> Vec<&'static str> {
    let mut allowed = Vec::new();
    for mode in MODES {
        let Some(node) = look_up(path, mode, &mut Captures::default()) else {
            continue;
        };
        for (method, _) in node.routes {
            if !allowed.contains(&method.as_str()) {
                allowed.push(method.as_str());
            }
        }
    }
    allowed
}

fn look_up<'a>(path: &[&'a str], mode: Mode, captures: &mut Captures<'a>) -> Option<&'static Node> {
    let root = NODES.first()?;
    if path.is_empty() { Some(root) } else { descend(root, path, 0, mode, captures) }
}

fn descend<'a>(
    parent: &'static Node,
    path: &[&'a str],
    at: usize,
    mode: Mode,
    captures: &mut Captures<'a>,
) -> Option<&'static Node> {
    let segment = *path.get(at)?;
    let last = at + 1 == path.len();
    let wildcard = parent.wildcard;
    // The engine files wildcards under the key `*`, so that this segment finds them as if it were a literal.
    let literal = if segment == "*" { wildcard } else { literal(parent, segment).map(|child| ("", child)) };

    let (child, by_wildcard) = match literal {
        None => {
            let allowed = match mode {
                Mode::Literals => false,
                Mode::RootWildcard => at == 0,
                Mode::LeafWildcard => last,
                Mode::Wildcards => true,
            };
            if !allowed {
                return None;
            }
            (wildcard?, true)
        }
        Some(child) => {
            let empty = node(child.1)?.routes.is_empty();
            let prefer_wildcard = empty
                && ((last && matches!(mode, Mode::LeafWildcard | Mode::Wildcards))
                    || (at == 0 && mode == Mode::RootWildcard));
            match wildcard {
                Some(wildcard) if prefer_wildcard => (wildcard, true),
                _ => (child, segment == "*"),
            }
        }
    };
    captures.put(child.0, segment);
    let child = node(child.1)?;
    if last {
        return (!child.routes.is_empty()).then_some(child);
    }
    if let Some(found) = descend(child, path, at + 1, mode, captures) {
        return Some(found);
    }
    if by_wildcard || mode == Mode::Literals {
        return None;
    }
    let (name, child) = wildcard?;
    captures.put(name, segment);
    descend(node(child)?, path, at + 1, mode, captures)
}

fn literal(parent: &'static Node, segment: &str) -> Option<u16> {
    let at = parent.literals.binary_search_by(|(name, _)| (*name).cmp(segment)).ok()?;
    parent.literals.get(at).map(|(_, child)| *child)
}

fn node(at: u16) -> Option<&'static Node> {
    NODES.get(usize::from(at))
}

/// Captured segments by name, still encoded. Like the engine's, they keep what a branch that led nowhere captured;
/// a later capture of the same name replaces it.
#[derive(Default)]
struct Captures<'a> {
    list: [(&'static str, &'a str); 8],
    len: usize,
}

impl<'a> Captures<'a> {
    fn put(&mut self, name: &'static str, segment: &'a str) {
        if name.is_empty() {
            return;
        }
        let len = self.len;
        if let Some(slot) = self.list.iter_mut().take(len).find(|(known, _)| *known == name) {
            slot.1 = segment;
        } else if let Some(slot) = self.list.get_mut(len) {
            *slot = (name, segment);
            self.len += 1;
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, segment)| *segment)
    }

    fn iter(&self) -> impl Iterator<Item = &(&'static str, &'a str)> {
        self.list.iter().take(self.len)
    }
}
