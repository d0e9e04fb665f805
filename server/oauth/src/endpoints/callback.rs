//! `GET /oauth/callback/{provider}`: a person is back from the provider.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, Uri};

use crate::Authority;
use crate::http::{Caller, Form};
use crate::login::{self, PersonalError, Words};

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    provider: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let back = async {
        let Path(provider) = provider.map_err(|_| PersonalError::NoProvider)?;
        let form = Form::from_query(&uri).map_err(|_| PersonalError::NotUnderWay)?;
        login::come_back(&authority, &caller, &headers, &provider, &form).await
    };
    back.await.unwrap_or_else(|error| error.page(Words::of(&headers), &caller.request_id))
}
