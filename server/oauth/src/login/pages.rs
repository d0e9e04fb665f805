//! The pages that persons see. None of them needs a script.

use axum::response::Response;
use http::StatusCode;
use oauth4os_config::form_action;
use oauth4os_federation::Provider;
use oauth4os_policy::ScopeSet;
use oauth4os_store::{Consent, Login};
use oauth4os_telemetry::time::Rfc3339;

use super::html::{Html, page};
use super::requests::encoded;
use super::{AuthorizationRequest, CookieValue, PersonalError, Question, Words};
use crate::{Authority, Client, paths};

/// Where to log in.
pub(crate) fn choose(
    words: &Words,
    providers: &[&std::sync::Arc<Provider>],
    request: Option<&AuthorizationRequest>,
) -> Response {
    let mut content = Html::default().raw("<ul>");
    for provider in providers {
        let to = match request {
            Some(request) => {
                format!("{}?{}&provider={}", paths::AUTHORIZE, request.to_query(), encoded(provider.name()))
            }
            None => format!("{}?provider={}", paths::ACCOUNT, encoded(provider.name())),
        };
        content = content
            .raw("<li><a class=\"button\" href=\"")
            .text(to)
            .raw("\">")
            .text(provider.login_title().unwrap_or_default())
            .raw("</a></li>");
    }
    page(words, StatusCode::OK, words.choose, content.raw("</ul>"), None)
}

/// Whether a client may act for a person.
pub(crate) fn ask(
    words: &Words,
    authority: &Authority,
    client: &Client,
    (cookie, login): (&CookieValue, &Login),
    (id, question): (&str, &Question),
) -> Response {
    let name = display_name(client);
    let title = format!("{} {name} {}", words.consent.0, words.consent.1);
    let list = |scope: &str| {
        let scopes: ScopeSet = authority.parse_scopes(scope).unwrap_or_default();
        let items = scopes.iter().fold(Html::default().raw("<ul>"), |list, scope| {
            list.raw("<li>").text(words.of_scope(scope)).raw(" <code class=\"soft\">").text(scope).raw("</code></li>")
        });
        items.raw("</ul>")
    };
    let mut content = Html::default()
        .raw("<p class=\"soft\">")
        .text(words.logged_in_as)
        .raw(" <strong class=\"name\">")
        .text(&login.user)
        .raw("</strong></p><p>")
        .text(words.may)
        .raw("</p>")
        .add(list(&question.scope));
    if !question.left_out.is_empty() {
        content = content.raw("<p class=\"soft\">").text(words.may_not).raw("</p>").add(list(&question.left_out));
    }
    content = content
        .raw("<p>")
        .text(words.until)
        .raw(" <strong>")
        .text(words.of_time(login.ends_at))
        .raw("</strong></p><p class=\"soft\">")
        .text(words.sent_to)
        .raw(" <code>")
        .text(&question.request.redirect_uri)
        .raw("</code></p>");
    if !question.request.redirect_uri.starts_with("https://") {
        content = content.raw("<p><strong>").text(words.only_this_machine).raw("</strong></p>");
    }
    let content = content
        .raw("<form method=\"post\" action=\"/oauth/consent\"><input type=\"hidden\" name=\"id\" value=\"")
        .text(id)
        .raw("\"><input type=\"hidden\" name=\"form_token\" value=\"")
        .text(cookie.form_token())
        .raw("\"><div class=\"row\"><button class=\"main\" name=\"decision\" value=\"allow\">")
        .text(words.allow)
        .raw("</button><button name=\"decision\" value=\"deny\">")
        .text(words.deny)
        .raw("</button></div></form>");
    page(words, StatusCode::OK, &title, content, Some(&form_action(&question.request.redirect_uri)))
}

/// What a person has allowed, and the way out.
pub(crate) fn account(
    words: &Words,
    authority: &Authority,
    (cookie, login): (&CookieValue, &Login),
    consents: &[Consent],
) -> Response {
    let form = |action: &'static str, button: &str, client: Option<&str>| {
        let mut form = Html::default()
            .raw("<form method=\"post\" action=\"/oauth/account\"><input type=\"hidden\" name=\"form_token\" value=\"")
            .text(cookie.form_token())
            .raw("\">");
        if let Some(client) = client {
            form = form.raw("<input type=\"hidden\" name=\"client\" value=\"").text(client).raw("\">");
        }
        form.raw("<button name=\"action\" value=\"").raw(action).raw("\">").text(button).raw("</button></form>")
    };
    let mut content = Html::default()
        .raw("<p class=\"soft\">")
        .text(words.logged_in_as)
        .raw(" <strong class=\"name\">")
        .text(&login.user)
        .raw("</strong></p>");
    if consents.is_empty() {
        content = content.raw("<p>").text(words.nothing_allowed).raw("</p>");
    }
    for consent in consents {
        let client = authority.clients.get(&consent.client_id);
        let name = client.as_deref().map_or(consent.client_id.as_str(), display_name);
        content = content.raw("<h2 class=\"name\">").text(name).raw("</h2><ul>");
        for scope in authority.parse_scopes(&consent.scope).unwrap_or_default().iter() {
            content = content.raw("<li>").text(words.of_scope(scope)).raw("</li>");
        }
        let since = Rfc3339(consent.created_at).to_string();
        content = content
            .raw("</ul><p class=\"soft\">")
            .text(words.allowed)
            .raw(" ")
            .text(since.get(..10).unwrap_or_default())
            .raw("</p>")
            .add(form("withdraw", words.withdraw, Some(&consent.client_id)));
    }
    let content = content.raw("<div class=\"row\">").add(form("log_out", words.log_out, None)).raw("</div>");
    page(words, StatusCode::OK, words.account, content, None)
}

/// Nobody is logged in any more.
pub(crate) fn logged_out(words: &Words) -> Response {
    let content = Html::default().raw("<p>").text(words.logged_out_hint).raw("</p>");
    page(words, StatusCode::OK, words.logged_out, content, None)
}

/// Something is wrong, and the client must not be told.
pub(crate) fn failed(words: &Words, status: StatusCode, sentence: &str, request_id: &str) -> Response {
    let content = Html::default()
        .raw("<p class=\"name\">")
        .text(sentence)
        .raw("</p><p class=\"soft\">")
        .text(words.details)
        .raw(" <code>")
        .text(request_id)
        .raw("</code></p>");
    page(words, status, words.failed, content, None)
}

impl PersonalError {
    /// The page that says so. What only the operator may know goes to the log.
    pub(crate) fn page(&self, words: &Words, request_id: &str) -> Response {
        let sentence = match self {
            Self::Provider(_) => {
                "the provider's answer does not prove who you are, or it cannot be reached; the gateway's log says more"
                    .to_owned()
            }
            Self::Person(_) => {
                "your provider says nothing of you that can be used here; the gateway's log says more".to_owned()
            }
            Self::Store(_) | Self::Randomness(_) => "the gateway cannot go on at the moment; try again".to_owned(),
            other => other.to_string(),
        };
        if matches!(self, Self::Provider(_) | Self::Person(_) | Self::Store(_) | Self::Randomness(_)) {
            tracing::warn!(error = %self, request_id, "a login failed");
        }
        failed(words, self.status(), &sentence, request_id)
    }
}

fn display_name(client: &Client) -> &str {
    if client.name.is_empty() { &client.id } else { &client.name }
}
