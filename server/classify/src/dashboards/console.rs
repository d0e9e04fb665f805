//! Calls that Dashboards passes on to the engine as they are: decided on as the engine's operations they are.

use crate::error::ClassifyError;
use crate::operation::Operation;
use crate::target::decode;

/// `POST /api/console/proxy?path=<target>&method=<verb>`.
///
/// Dashboards takes slashes off the front of the path, reads what is left with the URL parser of browsers, adds `pretty` and
/// writes the query anew. That parser turns backslashes into slashes, resolves dot segments, drops tabs and line ends and
/// cuts off fragments; what it writes of a query is split at `&` alone. All of that is refused here, so that the engine reads
/// what was decided on.
pub(super) fn call(parameters: &[(String, String)]) -> Result<Operation, ClassifyError> {
    let (mut path, mut method) = (None, None);
    for (name, value) in parameters {
        let slot = match name.as_str() {
            "path" => &mut path,
            "method" => &mut method,
            _ => return Err(ClassifyError::Console("it takes the parameters `path` and `method` only")),
        };
        if slot.replace(value.as_str()).is_some() {
            return Err(ClassifyError::DuplicateParameter(name.clone()));
        }
    }
    let (Some(path), Some(method)) = (path, method) else {
        return Err(ClassifyError::Console("it needs the parameters `path` and `method`"));
    };
    if path.is_empty() {
        return Err(ClassifyError::Console("`path` is empty"));
    }
    if !matches!(method, "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH") {
        return Err(ClassifyError::Console("`method` is GET, HEAD, POST, PUT, DELETE or PATCH"));
    }
    let target = format!("/{}", path.strip_prefix('/').unwrap_or(path));
    let query = target.split_once('?').map_or("", |(_, query)| query);
    if query.contains(';') {
        return Err(ClassifyError::Console("a `;` in the query of `path` is not a separator to Dashboards"));
    }
    for part in query.split('&').flat_map(|part| part.splitn(2, '=')) {
        decode(part, true)?;
    }
    crate::route::classify(method, &target)
}

/// `GET /api/index_patterns/_fields_for_wildcard?pattern=<indices>`: asks the engine for the fields of these indices.
pub(super) fn fields(parameters: &[(String, String)]) -> Result<Operation, ClassifyError> {
    let mut patterns = parameters.iter().filter(|(name, _)| name == "pattern").map(|(_, value)| value.as_str());
    let (Some(pattern), None) = (patterns.next(), patterns.next()) else {
        return Err(ClassifyError::Console("it needs the parameter `pattern`, once"));
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,*+:~@".contains(&byte);
    if pattern.is_empty() || !pattern.bytes().all(is_plain) {
        return Err(ClassifyError::BadIndexExpression(pattern.to_owned()));
    }
    crate::route::classify("GET", &format!("/{pattern}/_field_caps"))
}
