//! Why a request or a body is refused.

use thiserror::Error;

/// The method and target cannot be read, or not in one way only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// No operation of the table has this path.
    #[error("`{method} {path}` is not an operation this gateway knows; only known operations are permitted")]
    Unclassified {
        /// The method as sent.
        method: String,
        /// The path as sent.
        path: String,
    },
    /// The path is known, but not with this method.
    #[error("`{method}` is not a method of `{path}`; allowed: {}", .allowed.join(", "))]
    MethodNotAllowed {
        /// The method as sent.
        method: String,
        /// The path as sent.
        path: String,
        /// The methods that the path has.
        allowed: Vec<&'static str>,
    },
    /// The target does not begin with `/`, is empty or has a fragment, a backslash or a byte outside printable ASCII.
    #[error("the request target is malformed: {0}")]
    MalformedTarget(&'static str),
    /// `//` inside the path: the engine reads such paths in more than one way.
    #[error("the path has an empty segment (`//`); remove it, or name `_all` for all indices")]
    EmptySegment,
    /// `.` or `..` as a segment, raw or encoded.
    #[error("the path has a dot segment (`.` or `..`); send the path as it is meant")]
    DotSegment,
    /// `%%`, `%` without two hexadecimal digits, a control character, or bytes that are not UTF-8.
    #[error("`{0}` is not a clean percent-encoding of UTF-8 text")]
    BadEscape(String),
    /// A list of indices with an empty element, or an expression with white space or control characters.
    #[error("`{0}` is not a list of index expressions")]
    BadIndexExpression(String),
    /// A parameter that decides on the target appears twice: the engine takes the last, others the first.
    #[error("the parameter `{0}` appears more than once; send it once")]
    DuplicateParameter(String),
    /// A parameter the decision depends on is next to a `;`, which only some parsers take as a separator.
    #[error("the parameter `{0}` is separated by `;`; separate parameters by `&`")]
    AmbiguousSeparator(String),
    /// A body in the URL.
    #[error("the parameter `{0}` puts the body into the URL; send the body as a body")]
    BodyInUrl(String),
    /// `_all` as a scroll id: every scroll, whoever opened it.
    #[error("`_all` would end what other clients opened; name the ids")]
    AllHandles,
    /// A path with an escape of a character that needs none: Dashboards takes `%5ffind` for `_find`.
    #[error("`{0}` escapes characters that need no escape; send them as they are")]
    NeedlessEscape(String),
    /// A call of the console of Dashboards that cannot be read in one way only.
    #[error("the call inside `/api/console/proxy` cannot be read in one way only: {0}")]
    Console(&'static str),
    /// A parameter by which Dashboards would act for somebody else, or elsewhere.
    #[error("the parameter `{parameter}` is not available here: {why}")]
    DashboardsParameter {
        /// The parameter.
        parameter: String,
        /// What it would do, and what to do instead.
        why: &'static str,
    },
    /// A parameter that would name indices where the operation takes none.
    #[error("the parameter `{parameter}` has no meaning for `{operation}`; remove it")]
    UnexpectedParameter {
        /// The parameter.
        parameter: String,
        /// The operation's name.
        operation: &'static str,
    },
}

impl ClassifyError {
    /// The HTTP status that fits: 403 for what is unknown, 405 for a wrong method, else 400.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unclassified { .. } => 403,
            Self::MethodNotAllowed { .. } => 405,
            _ => 400,
        }
    }
}

/// A body cannot be read, or not in one way only. Always answered 400, except where noted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The media type is not JSON, or has a character set other than UTF-8. Fits status 415.
    #[error(
        "the content type `{0}` cannot be inspected here; send `application/json` or `application/x-ndjson` in UTF-8"
    )]
    ContentType(String),
    /// The body is encoded otherwise than by gzip alone. Fits status 415.
    #[error("the content encoding `{0}` cannot be inspected here; send the body with `gzip` or uncompressed")]
    ContentEncoding(String),
    /// Not exactly one gzip member.
    #[error("the body is not gzip as it can be inspected here: {0}")]
    Gzip(&'static str),
    /// More comes out of the body than is permitted. Fits status 413.
    #[error("the body is larger than the limit of {limit} bytes when it is decompressed; split the request")]
    Inflated {
        /// The limit in bytes.
        limit: u64,
    },
    /// Not strict JSON: comments, trailing text, lone surrogates, control characters.
    #[error("the body is not strict JSON at byte {at}: {what}")]
    Json {
        /// Offset from the start of the line or document.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A key appears twice in one object.
    #[error("the key `{0}` appears twice in one object")]
    DuplicateKey(String),
    /// Nested deeper than [`MAX_DEPTH`](crate::body::MAX_DEPTH).
    #[error("the body is nested deeper than {0} levels")]
    TooDeep(usize),
    /// A line that must be held in memory is longer than the limit.
    #[error("line {line} is longer than {limit} bytes; split the request")]
    LineTooLong {
        /// Counted from 1.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The last line does not end with a newline.
    #[error("the body must end with a newline")]
    NoFinalNewline,
    /// The last action or header has no line after it.
    #[error("line {0} has no line after it, but needs one")]
    MissingLine(u64),
    /// The body is well-formed, but not what the operation takes.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The body is well-formed, but not what the operation takes.
    #[error("{0}")]
    Form(&'static str),
    /// An index name that cannot be read in one way only.
    #[error("`{0}` is not an index name this operation can take")]
    IndexName(String),
}

impl BodyError {
    /// The HTTP status that fits: 415 for media types and encodings, 413 for long lines and what decompresses to too
    /// much, else 400.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::ContentType(_) | Self::ContentEncoding(_) => 415,
            Self::LineTooLong { .. } | Self::Inflated { .. } => 413,
            _ => 400,
        }
    }
}
