//! `GET` and `POST /oauth/authorize` (RFC 6749 section 3.1): a client sends a person's browser here, and gets a code.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};

use crate::Authority;
use crate::http::{Caller, ErrorCode, Form};
use crate::login::{self, AuthorizationRequest, Fault, PersonalError, Prompt, Words};

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let form = Form::from_query(&uri).map_err(Fault::from);
    respond(&authority, &caller, &headers, form).await
}

pub(crate) async fn post(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let form = Form::read(&uri, &headers, body).await.map_err(Fault::from);
    respond(&authority, &caller, &headers, form).await
}

async fn respond(
    authority: &Arc<Authority>,
    caller: &Caller,
    headers: &HeaderMap,
    form: Result<Form, Fault>,
) -> Response {
    let words = Words::of(headers);
    let read = form.and_then(|form| {
        let request = AuthorizationRequest::of(authority, &form)?;
        Ok((request, form.get("provider").map(ToOwned::to_owned)))
    });
    let result = match read {
        Ok((request, provider)) => answer(authority, caller, headers, request, provider.as_deref()).await,
        Err(Fault::Page(sentence)) => Ok(login::failed(words, StatusCode::BAD_REQUEST, &sentence, &caller.request_id)),
        Err(Fault::Client(answer, code, sentence)) => {
            Ok(answer.send(authority, &[("error", code.as_str()), ("error_description", &sentence)]))
        }
    };
    result.unwrap_or_else(|error| error.page(words, &caller.request_id))
}

async fn answer(
    authority: &Arc<Authority>,
    caller: &Caller,
    headers: &HeaderMap,
    request: AuthorizationRequest,
    provider: Option<&str>,
) -> Result<Response, PersonalError> {
    let found = login::of_browser(authority, headers).await?;
    let fresh = found.filter(|(_, login)| {
        let age = authority.now().since(login.authenticated_at).as_secs();
        request.prompt != Some(Prompt::Login) && request.max_age.is_none_or(|most| age <= most)
    });
    if let Some((_, login)) = fresh {
        return login::go_on(authority, caller, &login, request).await;
    }
    if request.prompt == Some(Prompt::None) {
        let sentence = "nobody is logged in, and `prompt=none` forbids to ask";
        let parameters = [("error", ErrorCode::LoginRequired.as_str()), ("error_description", sentence)];
        return Ok(request.answer().send(authority, &parameters));
    }
    let providers = authority.providers.for_login();
    match (provider, providers.as_slice()) {
        (Some(name), all) => {
            let chosen = all.iter().find(|provider| provider.name() == name).ok_or(PersonalError::NoProvider)?;
            login::begin(authority, chosen, headers, Some(request)).await
        }
        (None, [only]) => login::begin(authority, only, headers, Some(request)).await,
        (None, []) => Err(PersonalError::NoProvider),
        (None, several) => Ok(login::choose(Words::of(headers), several, Some(&request))),
    }
}
