//! What the provider says of a person who logged in, and asking it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oauth4os_federation::LoginError;
use oauth4os_store::Login;
use oauth4os_tokens::clock::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PersonalError;
use crate::authority::{PersonError, to_the_end};
use crate::{Authority, LoggedInPerson};

/// What is kept of a provider's answer; sealed in the store.
#[derive(Serialize, Deserialize)]
pub(crate) struct Said {
    pub(crate) claims: Map<String, Value>,
    /// With which the provider can be asked again.
    pub(crate) refresh_token: Option<String>,
}

impl Said {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Plain data always has a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn of(login: &Login) -> Result<Self, PersonalError> {
        serde_json::from_slice(&login.content).map_err(|_| PersonError::Unreadable.into())
    }
}

/// Who is asking a provider about which login: one at a time for each.
#[derive(Default)]
pub(crate) struct Renewals(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<UnixTime>>>>>);

/// Whether the provider can be asked again about the person.
pub(crate) fn can_renew(login: &Login) -> bool {
    Said::of(login).is_ok_and(|said| said.refresh_token.is_some())
}

/// Asks the provider what the person may have now. An answer to a question that began after this call will do for it too. When the
/// provider does not know the login any more, it ends here as well, with all that came of it.
pub(crate) async fn renew(
    authority: &Arc<Authority>,
    login_id: &str,
) -> Result<(Login, LoggedInPerson), PersonalError> {
    let (authority, login_id) = (Arc::clone(authority), login_id.to_owned());
    // To its end, since the provider may take its own refresh token once.
    let work = async move {
        let arrived = authority.now();
        let flight = authority.renewals.of(&login_id);
        let mut last = flight.lock().await;
        let mut login = authority.store.login(&login_id).await?.ok_or(PersonalError::NotUnderWay)?;
        if last.is_none_or(|begun| begun <= arrived) {
            let begun = authority.now();
            login.content = ask(&authority, &login).await?;
            *last = Some(begun);
        }
        drop(last);
        authority.renewals.forget(&login_id, &flight);
        let person = authority.person(&login)?;
        Ok((login, person))
    };
    to_the_end(work).await.unwrap_or(Err(oauth4os_store::StoreError::Closed.into()))
}

async fn ask(authority: &Arc<Authority>, login: &Login) -> Result<Vec<u8>, PersonalError> {
    let said = Said::of(login)?;
    let provider = authority.providers.named(&login.provider).ok_or(PersonError::NoProvider)?;
    let refresh_token = said.refresh_token.ok_or(LoginError::NotOffered)?;
    let renewed = match provider.renew(&refresh_token, &said.claims).await {
        Ok(renewed) => renewed,
        Err(error @ (LoginError::Provider(_) | LoginError::Token(_))) => {
            tracing::info!(login = login.id, %error, "the provider does not stand for this login any more; it is ended");
            authority.end_login(&login.id).await?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let refresh_token = renewed.refresh_token.or(Some(refresh_token));
    let content = Said { claims: renewed.claims, refresh_token }.to_bytes();
    authority.store.renew_login(&login.id, content.clone()).await?;
    // Only what is still in force: the login may have ended meanwhile.
    if let Some(login) = authority.store.login(&login.id).await? {
        authority.logins.logged_in(&login.id, authority.person(&login)?);
    }
    Ok(content)
}

impl Renewals {
    fn of(&self, login: &str) -> Arc<tokio::sync::Mutex<Option<UnixTime>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(login.to_owned()).or_default())
    }

    /// The last who asks cleans up.
    fn forget(&self, login: &str, flight: &Arc<tokio::sync::Mutex<Option<UnixTime>>>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::strong_count(flight) <= 2 {
            all.remove(login);
        }
    }
}
