//! Index expressions as they stand in paths, parameters and bodies. They are split here, and judged by the policy.

use crate::error::ClassifyError;

/// Splits a decoded parameter at commas. Absent, empty and `_all` are all indices.
///
/// The engine drops empty elements at the end and chokes on others; here both are refused, so that `,` is never read
/// as less than the engine reads.
pub(crate) fn split(value: &str, into: &mut Vec<String>) -> Result<(), ClassifyError> {
    if value.is_empty() {
        push(into, "*");
        return Ok(());
    }
    for part in value.split(',') {
        if !is_clean(part) {
            return Err(ClassifyError::BadIndexExpression(value.to_owned()));
        }
        push(into, if part == "_all" { "*" } else { part });
    }
    Ok(())
}

/// Adds an expression once.
pub(crate) fn push(into: &mut Vec<String>, expression: &str) {
    if !into.iter().any(|known| known == expression) {
        into.push(expression.to_owned());
    }
}

/// Not empty, and without white space or control characters, which no index name may have.
pub(crate) fn is_clean(expression: &str) -> bool {
    !expression.is_empty() && !expression.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Names that begin with `_` belong to the API: the engine takes no index of such a name. Reading an unknown API
/// path as an index would misjudge it.
pub(crate) fn is_reserved(expression: &str) -> bool {
    expression.starts_with('_')
}

/// Whether the expression names hidden indices: `.x`, `-.x`, `<.x-{now}>`.
pub(crate) fn is_hidden(expression: &str) -> bool {
    let bare = expression.strip_prefix('-').unwrap_or(expression);
    let bare = bare.strip_prefix('<').unwrap_or(bare);
    // Behind the name of a remote cluster too.
    bare.starts_with('.') || bare.contains(":.")
}

/// Whether an `expand_wildcards` value reaches hidden indices.
pub(crate) fn expands_to_hidden(value: &str) -> bool {
    value.split(',').any(|part| {
        let part = part.trim();
        part.eq_ignore_ascii_case("hidden") || part.eq_ignore_ascii_case("all")
    })
}

/// A name as it may stand where the engine takes exactly one index: in bulk actions and multi-get documents.
pub(crate) fn is_single_name(name: &str) -> bool {
    is_clean(name)
        && !name.starts_with(['_', '-', '+'])
        && !name.contains([',', '*', '?', '"', '\\', '|', '#'])
        && (name.starts_with('<') || !name.contains(['/', '<', '>', '{', '}']))
}
