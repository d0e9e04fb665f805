//! Pages: text that comes from elsewhere is escaped by its type, and a page brings along what a browser may do with it.

use std::fmt::{self, Display, Write as _};

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, VARY};
use http::{HeaderValue, StatusCode};

use super::words::Words;

/// Markup. It is written here and nowhere else; everything else goes in by [`text`](Self::text).
#[derive(Default)]
pub(crate) struct Html(String);

impl Html {
    /// Markup as it is written in this program.
    pub(crate) fn raw(mut self, markup: &'static str) -> Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere, also within a quoted attribute.
    pub(crate) fn text(mut self, text: impl Display) -> Self {
        // Writing to memory does not fail.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// Other markup.
    pub(crate) fn add(mut self, other: Self) -> Self {
        self.0.push_str(&other.0);
        self
    }
}

struct Escaped<'s>(&'s mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Characters that turn the direction of what follows, or cannot be seen: a name must look like what it is.
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                    self.0.push('\u{fffd}');
                }
                other if other.is_control() => self.0.push('\u{fffd}'),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

const FRAME_OPTIONS: HeaderName = HeaderName::from_static("x-frame-options");

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#57606a;--line:#d0d7de;--act:#0a58ca;--on:#fff;--back:#f6f8fa}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#161b22;--soft:#9aa4af;--line:#3d444d;--act:#6cb0ff;--on:#0d1117;--back:#0d1117}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}\
main{max-width:34rem;margin:3rem auto;padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:.5rem}\
h1{font-size:1.4rem;line-height:1.3;margin:0 0 1rem}\
h2{font-size:1.1rem;margin:1.5rem 0 .5rem}\
ul{padding-left:1.25rem}li{margin:.35rem 0}\
code{font-family:ui-monospace,monospace;overflow-wrap:anywhere}\
.soft{color:var(--soft)}\
.row{display:flex;gap:.75rem;flex-wrap:wrap;margin-top:1.5rem}\
button,a.button{font:inherit;padding:.6rem 1.2rem;border-radius:.4rem;border:1px solid var(--act);background:var(--paper);color:var(--act);cursor:pointer;text-decoration:none;display:inline-block}\
button.main{background:var(--act);color:var(--on)}\
button:focus-visible,a:focus-visible{outline:3px solid var(--act);outline-offset:2px}\
.name{overflow-wrap:anywhere}\
@media(max-width:36rem){main{margin:0;border:0;border-radius:0;min-height:100vh}}";

/// SHA-256 of the style, for the page's policy.
fn style_hash() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(oauth4os_tokens::id::sha256(STYLE.as_bytes()))
}

/// A page. Forms may go to the gateway, and on from there to `form_action`.
pub(crate) fn page(
    words: &Words,
    status: StatusCode,
    title: &str,
    content: Html,
    form_action: Option<&str>,
) -> Response {
    let body = Html::default()
        .raw("<!doctype html><html lang=\"")
        .text(words.language)
        .raw("\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><title>")
        .text(title)
        .raw(" · oauth4os</title><style>")
        .raw(STYLE)
        .raw("</style></head><body><main><h1>")
        .text(title)
        .raw("</h1>")
        .add(content)
        .raw("</main></body></html>");
    let mut response = Response::new(Body::from(body.0));
    *response.status_mut() = status;
    let forms = form_action.map_or_else(|| "'self'".to_owned(), |other| format!("'self' {other}"));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'",
        style_hash()
    );
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Were it not to fit into a header, nothing would be allowed.
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept-language, cookie"));
    response
}

/// Sends the browser elsewhere, with GET whatever it came with, and without saying where it was.
pub(crate) fn see_other(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    match HeaderValue::from_str(to) {
        Ok(to) => {
            headers.insert(http::header::LOCATION, to);
        }
        Err(_) => *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let html = Html::default()
            .raw("<b title=\"")
            .text("\"><script>alert('1')&</script>")
            .raw("\">")
            .text("a\u{202e}b\u{0}\u{200b}");
        assert_eq!(
            html.0,
            "<b title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&amp;&lt;/script&gt;\">a\u{fffd}b\u{fffd}\u{fffd}"
        );
    }
}
