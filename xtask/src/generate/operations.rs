//! `server/classify/operations.txt` to a static path trie in Rust. The form of the table is described in its head.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

const TABLE: &str = "server/classify/operations.txt";
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];
const ACTIONS: [&str; 11] =
    ["info", "search", "get", "describe", "create", "update", "delete", "monitor", "manage", "admin", "denied"];

/// The generated source, formatted.
///
/// # Errors
/// A line of the table that has not its form, says something twice, or contradicts another.
pub fn generate(root: &Path) -> anyhow::Result<String> {
    let path = root.join(TABLE);
    let table = std::fs::read_to_string(&path).with_context(|| format!("reading `{}`", path.display()))?;
    format(&source(&table)?)
}

/// One line of the table.
struct Line {
    methods: Vec<String>,
    segments: Vec<Segment>,
    /// The Rust expression of its `Spec`.
    spec: String,
}

#[derive(Clone)]
enum Segment {
    Literal(String),
    Capture(String),
}

/// A node of the trie, while it grows.
#[derive(Default)]
struct Node {
    literals: BTreeMap<String, usize>,
    wildcard: Option<(String, usize)>,
    routes: Vec<(String, usize)>,
}

fn source(table: &str) -> anyhow::Result<String> {
    let mut nodes = vec![Node::default()];
    let mut specs: Vec<String> = Vec::new();
    for (number, text) in table.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        add(text, &mut nodes, &mut specs).with_context(|| format!("line {} of `{TABLE}`: `{text}`", number + 1))?;
    }
    Ok(render(&nodes, &specs))
}

fn add(text: &str, nodes: &mut Vec<Node>, specs: &mut Vec<String>) -> anyhow::Result<()> {
    let line = parse(text)?;
    let spec = specs.iter().position(|known| *known == line.spec).unwrap_or_else(|| {
        specs.push(line.spec.clone());
        specs.len() - 1
    });
    let mut at = 0;
    for segment in &line.segments {
        at = child(nodes, at, segment)?;
    }
    for method in line.methods {
        ensure!(nodes[at].routes.iter().all(|(known, _)| *known != method), "`{method}` of this path is there twice");
        nodes[at].routes.push((method, spec));
    }
    Ok(())
}

fn child(nodes: &mut Vec<Node>, at: usize, segment: &Segment) -> anyhow::Result<usize> {
    let next = nodes.len();
    let found = match segment {
        Segment::Literal(name) => *nodes[at].literals.entry(name.clone()).or_insert(next),
        Segment::Capture(name) => {
            let (known, child) = nodes[at].wildcard.get_or_insert_with(|| (name.clone(), next));
            ensure!(known == name, "`{{{name}}}` is called `{{{known}}}` in another line");
            *child
        }
    };
    if found == next {
        nodes.push(Node::default());
    }
    Ok(found)
}

fn parse(text: &str) -> anyhow::Result<Line> {
    let (fields, reason) = match text.split_once(" : ") {
        Some((fields, reason)) => (fields, Some(reason.trim())),
        None => (text, None),
    };
    let mut words = fields.split_whitespace();
    let mut next = |what: &str| words.next().with_context(|| format!("{what} is missing"));
    let methods: Vec<String> = next("the methods column")?.split(',').map(str::to_owned).collect();
    let path = next("the path column")?;
    let operation = next("the operation column")?;
    let class = next("the class column")?;
    let targets = next("the targets column")?;
    let (mut body, mut action, mut also) = ("opaque", usual_action(class)?, None);
    for word in words {
        match word.split_once('=') {
            Some(("body", rule)) => body = rule,
            Some(("action", name)) => action = name,
            Some(("also", right)) => also = Some(second_right(right)?),
            _ => bail!("`{word}` is none of `body=`, `action=` and `also=`"),
        }
    }
    for method in &methods {
        ensure!(METHODS.contains(&method.as_str()), "`{method}` is not a method the engine has handlers for");
    }
    ensure!(ACTIONS.contains(&action), "`{action}` is not an action; known: {}", ACTIONS.join(", "));
    ensure!((class == "Denied") == reason.is_some(), "`Denied`, and nothing else, has a reason after ` : `");
    let is_cluster = matches!(class, "Info" | "ClusterMonitor" | "ClusterManage" | "ClusterAdmin");
    ensure!(
        class == "Denied" || is_cluster == (targets == "cluster"),
        "classes of the cluster, and only they, have the target `cluster`"
    );
    ensure!(
        also.is_none() || targets.split_once(':').is_none() && !matches!(targets, "body" | "cluster" | "handle"),
        "`also=` is a right on the indices of the URL, and there are none"
    );
    ensure!(also.is_none() || class != "Denied", "what is `Denied` needs no second right");
    let segments = segments(path)?;
    let spec = format!(
        "Spec {{ name: {operation:?}, class: Class::{class}, action: Action::{}, also: {}, targets: {}, body: BodyRule::{}, denied: {} }}",
        capitalised(action),
        also.map_or_else(
            || "None".to_owned(),
            |(class, action)| format!("Some((Class::{class}, Action::{}))", capitalised(action))
        ),
        target_rule(targets)?,
        body_rule(body)?,
        reason.map_or_else(|| "None".to_owned(), |reason| format!("Some({reason:?})")),
    );
    Ok(Line { methods, segments, spec })
}

fn segments(path: &str) -> anyhow::Result<Vec<Segment>> {
    let inner = path.strip_prefix('/').context("a path begins with `/`")?;
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    let mut segments = Vec::new();
    for part in inner.split('/') {
        ensure!(!part.is_empty(), "a path has no empty segment and no `/` at its end");
        segments.push(match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => Segment::Capture(name.to_owned()),
            None => Segment::Literal(part.to_owned()),
        });
    }
    Ok(segments)
}

fn usual_action(class: &str) -> anyhow::Result<&'static str> {
    Ok(match class {
        "Info" => "info",
        "Search" => "search",
        "Get" => "get",
        "Metadata" => "describe",
        "Append" => "create",
        "Write" => "update",
        "Monitor" | "ClusterMonitor" => "monitor",
        "Manage" | "ClusterManage" => "manage",
        "ClusterAdmin" => "admin",
        "Denied" => "denied",
        _ => bail!("`{class}` is not a class"),
    })
}

/// Class and action of `also=`.
fn second_right(right: &str) -> anyhow::Result<(&'static str, &'static str)> {
    const RIGHTS: [&str; 4] = ["Search", "Get", "Metadata", "Monitor"];
    match RIGHTS.into_iter().find(|class| class.to_ascii_lowercase() == right) {
        Some(class) => Ok((class, usual_action(class)?)),
        None => bail!("`{right}` is not a second right; known: {}", RIGHTS.join(", ").to_ascii_lowercase()),
    }
}

fn target_rule(targets: &str) -> anyhow::Result<String> {
    Ok(match targets {
        "cluster" => "TargetRule::Cluster".to_owned(),
        "handle" => "TargetRule::Handle".to_owned(),
        "body" => "TargetRule::Body(\"\")".to_owned(),
        _ => match targets.split_once(':') {
            Some(("body", param)) => format!("TargetRule::Body({param:?})"),
            Some(_) => bail!("`{targets}` is not a target rule"),
            None => {
                let mut params = String::new();
                for param in targets.split('+') {
                    let name = param.strip_suffix('?').unwrap_or(param);
                    ensure!(!name.is_empty(), "`{targets}` has an empty parameter name");
                    let optional = name.len() != param.len();
                    write!(params, "Param {{ name: {name:?}, optional: {optional} }}, ")?;
                }
                format!("TargetRule::Params(&[{params}])")
            }
        },
    })
}

fn body_rule(rule: &str) -> anyhow::Result<String> {
    const RULES: [&str; 18] = [
        "opaque",
        "bulk",
        "msearch",
        "mget",
        "mtermvectors",
        "search",
        "query",
        "rank_eval",
        "reindex",
        "alias",
        "aliases",
        "create",
        "settings",
        "template",
        "explain",
        "reroute",
        "handles",
        "update",
    ];
    ensure!(RULES.contains(&rule), "`{rule}` is not a body rule; known: {}", RULES.join(", "));
    Ok(rule.split('_').map(capitalised).collect())
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

fn render(nodes: &[Node], specs: &[String]) -> String {
    let mut out = String::from(
        "//! Generated from `operations.txt` by `cargo xtask generate`; do not edit.\n\n\
         use crate::class::{Action, Class};\n\
         use crate::table::{BodyRule, Method, Node, Param, Spec, TargetRule};\n\n\
         /// Every operation, in the order of the table.\n\
         pub(crate) static OPERATIONS: &[Spec] = &[\n",
    );
    for spec in specs {
        out.push_str(spec);
        out.push_str(",\n");
    }
    out.push_str(
        "];\n\n/// The engine's path trie; the first node is the root.\npub(crate) static NODES: &[Node] = &[\n",
    );
    for node in nodes {
        let literals: String = node.literals.iter().map(|(name, child)| format!("({name:?}, {child}), ")).collect();
        let wildcard = match &node.wildcard {
            Some((name, child)) => format!("Some(({name:?}, {child}))"),
            None => "None".to_owned(),
        };
        let routes: String = node
            .routes
            .iter()
            .map(|(method, spec)| format!("(Method::{}, {spec}), ", capitalised(&method.to_ascii_lowercase())))
            .collect();
        out.push_str(&format!("Node {{ literals: &[{literals}], wildcard: {wildcard}, routes: &[{routes}] }},\n"));
    }
    out.push_str("];\n");
    out
}

/// Runs `rustfmt` with the repository's edition.
fn format(source: &str) -> anyhow::Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting `rustfmt`; install it with `rustup component add rustfmt`")?;
    child.stdin.take().context("`rustfmt` takes no input")?.write_all(source.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "`rustfmt` failed on the generated source");
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn a_line_becomes_an_operation_and_a_route() {
        let made = source("GET,POST  /{index}/_search  search  Search  index  body=search\n").unwrap();
        assert!(made.contains(r#"name: "search""#), "{made}");
        assert!(made.contains("(Method::Get, 0), (Method::Post, 0)"), "{made}");
        assert!(made.contains(r#"wildcard: Some(("index", 1))"#), "{made}");
    }

    #[test]
    fn a_second_right_has_its_usual_action() {
        let made = source("POST /{index}/x x Write index action=delete also=search\n").unwrap();
        assert!(made.contains("action: Action::Delete, also: Some((Class::Search, Action::Search))"), "{made}");
        assert!(source("POST /{index}/x x Write index\n").unwrap().contains("also: None"));
    }

    #[test]
    fn what_contradicts_is_refused_with_its_line() {
        for (table, expected) in [
            ("GET /a x Info cluster\nGET /a y Info cluster\n", "twice"),
            ("GET /{a}/x x Search a\nGET /{b}/y y Search b\n", "in another line"),
            ("GET /a x Nothing cluster\n", "is not a class"),
            ("GET /a x Denied cluster\n", "reason"),
            ("GET /a x Info cluster : because\n", "reason"),
            ("GET /a x Search cluster\n", "cluster"),
            ("TRACE /a x Info cluster\n", "not a method"),
            ("GET a x Info cluster\n", "begins with"),
            ("GET /a/ x Info cluster\n", "empty segment"),
            ("GET /a x Search index body=magic\n", "body rule"),
            ("GET /a x Search index also=magic\n", "second right"),
            ("GET /a x Write body:index also=search\n", "there are none"),
            ("GET /a x ClusterManage cluster also=search\n", "there are none"),
            ("GET /a x Denied index also=search : because\n", "no second right"),
            ("GET /a x Search\n", "missing"),
        ] {
            let error = format!("{:#}", source(table).unwrap_err());
            assert!(error.contains(expected) && error.contains("line "), "{error}");
        }
    }
}
