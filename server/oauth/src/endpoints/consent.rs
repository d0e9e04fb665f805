//! `GET` and `POST /oauth/consent`: a person is asked whether a client may act for them, and answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};

use crate::Authority;
use crate::http::{Caller, Form};
use crate::login::{self, PersonalError, Words};

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let words = Words::of(&headers);
    let asked = async {
        let form = Form::from_query(&uri).map_err(|_| PersonalError::NotUnderWay)?;
        let id = form.get("id").ok_or(PersonalError::NotUnderWay)?;
        let (cookie, login, question) = login::question(&authority, &headers, id).await?;
        let client = authority.clients.get(&question.request.client_id).ok_or(PersonalError::NotUnderWay)?;
        Ok::<_, PersonalError>(login::ask(words, &authority, &client, (&cookie, &login), (id, &question)))
    };
    asked.await.unwrap_or_else(|error| error.page(words, &caller.request_id))
}

pub(crate) async fn post(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let form = Form::read(&uri, &headers, body).await.map_err(|_| PersonalError::ForeignForm)?;
        let id = form.get("id").ok_or(PersonalError::NotUnderWay)?;
        let (cookie, login, _) = login::question(&authority, &headers, id).await?;
        login::check_form(&authority, &headers, &cookie, &form)?;
        let allow = match form.get("decision") {
            Some("allow") => true,
            Some("deny") => false,
            _ => return Err(PersonalError::ForeignForm),
        };
        login::answered(&authority, &caller, &login, id, allow).await
    };
    answered.await.unwrap_or_else(|error| error.page(Words::of(&headers), &caller.request_id))
}
