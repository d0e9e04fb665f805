//! `GET` and `POST /oauth/account`: a person sees what they have allowed, takes it back, and logs out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};

use crate::http::{Caller, Form};
use crate::login::{self, PersonalError, Words};
use crate::{Authority, paths};

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let words = Words::of(&headers);
    let shown = async {
        if let Some((cookie, login)) = login::of_browser(&authority, &headers).await? {
            let consents = authority.store.consents(&login.user).await?;
            return Ok(login::account(words, &authority, (&cookie, &login), &consents));
        }
        let form = Form::from_query(&uri).map_err(|_| PersonalError::NoProvider)?;
        let providers = authority.providers.for_login();
        match (form.get("provider"), providers.as_slice()) {
            (Some(name), all) => {
                let chosen = all.iter().find(|provider| provider.name() == name).ok_or(PersonalError::NoProvider)?;
                login::begin(&authority, chosen, &headers, None).await
            }
            (None, [only]) => login::begin(&authority, only, &headers, None).await,
            (None, []) => Err(PersonalError::NoProvider),
            (None, several) => Ok(login::choose(words, several, None)),
        }
    };
    shown.await.unwrap_or_else(|error: PersonalError| error.page(words, &caller.request_id))
}

pub(crate) async fn post(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let words = Words::of(&headers);
    let done = async {
        let form = Form::read(&uri, &headers, body).await.map_err(|_| PersonalError::ForeignForm)?;
        let found = login::of_browser(&authority, &headers).await?;
        let (cookie, login) = found.ok_or(PersonalError::NotUnderWay)?;
        login::check_form(&authority, &headers, &cookie, &form)?;
        match (form.get("action"), form.get("client")) {
            (Some("log_out"), _) => {
                authority.end_login(&login.id).await?;
                record(&authority, &caller, "person.logged_out", &login.user, None);
                Ok(login::forgetting(login::logged_out(words)))
            }
            (Some("withdraw"), Some(client)) => {
                authority.withdraw_consent(&login.user, client).await?;
                let known = authority.clients.get(client);
                record(&authority, &caller, "consent.withdrawn", &login.user, known.as_ref().map(|it| it.id.as_str()));
                Ok(login::see_other(&authority.url(paths::ACCOUNT)))
            }
            _ => Err(PersonalError::ForeignForm),
        }
    };
    done.await.unwrap_or_else(|error: PersonalError| error.page(words, &caller.request_id))
}

fn record(authority: &Authority, caller: &Caller, what: &'static str, user: &str, client: Option<&str>) {
    let mut event = caller.event(authority.now(), what, "allow");
    event.user = Some(user);
    event.client = client;
    authority.audit.record(&event);
}
