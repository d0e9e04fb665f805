//! Logins, what is under way, codes and consents.

use super::*;
use crate::{
    Consent, Descent, Family, Login, Logins as _, Redeemed, RefreshToken, Rotated, Ticket, TicketKind, Tokens as _,
};

impl Place {
    fn login(&self, id: &str, user: &str) -> Login {
        Login {
            id: id.to_owned(),
            browser: SecretHash::of(id),
            provider: "keycloak".to_owned(),
            user: user.to_owned(),
            provider_session: Some("s".to_owned()),
            content: br#"{"sub":"ada"}"#.to_vec(),
            authenticated_at: self.now(),
            seen_at: self.now(),
            ends_at: self.now() + Duration::from_secs(3600),
        }
    }

    fn family(&self, id: &str, login: &str, code: &str) -> Family {
        Family {
            id: id.to_owned(),
            login_id: login.to_owned(),
            client_id: "console".to_owned(),
            user: "keycloak/ada".to_owned(),
            scope: "read:logs-*".to_owned(),
            code: SecretHash::of(code),
            challenge: "c".to_owned(),
            redirect_uri: "https://app.example.com/".to_owned(),
            code_ends_at: self.now() + Duration::from_secs(60),
        }
    }

    fn token_of(&self, id: &str, login: &str, family: &str) -> IssuedToken {
        let descent = Descent { login: login.to_owned(), family: family.to_owned() };
        IssuedToken { descent: Some(descent), ..self.token(id, "console") }
    }

    fn refresh(&self, name: &str, family: &str) -> RefreshToken {
        let ends_at = self.now() + Duration::from_secs(1800);
        RefreshToken { hash: SecretHash::of(name), family: family.to_owned(), ends_at, used_at: None }
    }

    fn ticket(&self, kind: TicketKind, name: &str) -> Ticket {
        let ends_at = self.now() + Duration::from_secs(600);
        Ticket { kind, hash: SecretHash::of(name), content: b"what is under way".to_vec(), ends_at }
    }
}

#[tokio::test]
async fn a_ticket_is_taken_up_once_for_what_it_is_and_in_time() {
    let place = Place::new();
    let store = place.open().await;
    store.keep_ticket(place.ticket(TicketKind::Login, "a")).await.unwrap();
    store.keep_ticket(place.ticket(TicketKind::Consent, "b")).await.unwrap();
    let (a, b) = (SecretHash::of("a"), SecretHash::of("b"));
    assert_eq!(store.take_ticket(TicketKind::Consent, &a).await.unwrap(), None);
    let store = place.reopen(store).await;
    assert!(store.ticket(TicketKind::Consent, &b).await.unwrap().is_some());
    assert!(store.ticket(TicketKind::Consent, &b).await.unwrap().is_some());
    assert_eq!(store.take_ticket(TicketKind::Login, &a).await.unwrap().unwrap(), b"what is under way");
    assert_eq!(store.take_ticket(TicketKind::Login, &a).await.unwrap(), None);
    place.clock.advance(Duration::from_secs(600));
    assert_eq!(store.ticket(TicketKind::Consent, &b).await.unwrap(), None);
    assert_eq!(store.take_ticket(TicketKind::Consent, &b).await.unwrap(), None);
    store.close().await.unwrap();
    let file = std::fs::read(place.path()).unwrap();
    assert!(!file.windows(17).any(|bytes| bytes == b"what is under way"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_who_take_up_a_ticket_one_gets_it() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    store.keep_ticket(place.ticket(TicketKind::Login, "a")).await.unwrap();
    let takes: Vec<_> = (0..100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.take_ticket(TicketKind::Login, &SecretHash::of("a")).await.unwrap() })
        })
        .collect();
    let mut got = 0;
    for take in takes {
        got += usize::from(take.await.unwrap().is_some());
    }
    assert_eq!(got, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_redemptions_one_wins_and_what_it_gets_is_revoked() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    store.start_login(place.login("ses_1", "keycloak/ada")).await.unwrap();
    store.start_family(place.family("fam_1", "ses_1", "code")).await.unwrap();
    let token = place.token_of("tok_1", "ses_1", "fam_1");
    let redemptions: Vec<_> = (0..100)
        .map(|_| {
            let (store, token) = (Arc::clone(&store), token.clone());
            tokio::spawn(async move {
                match store.redeem_code(&SecretHash::of("code")).await.unwrap() {
                    Redeemed::Now(_) => Some(store.record_issued(token).await.is_ok()),
                    Redeemed::Again { .. } => None,
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let mut won = Vec::new();
    for redemption in redemptions {
        won.extend(redemption.await.unwrap());
    }
    assert_eq!(won.len(), 1);
    match store.token("tok_1").await.unwrap() {
        Some(token) => assert!(won[0] && token.revoked_at.is_some()),
        None => assert!(!won[0]),
    }
    // Nothing more comes of it.
    let late = store.record_issued(place.token_of("tok_2", "ses_1", "fam_1")).await;
    assert!(matches!(late, Err(StoreError::NotFound { .. })), "{late:?}");
}

#[tokio::test]
async fn a_code_ends_and_what_ends_takes_its_tokens_along() {
    let place = Place::new();
    let store = place.open().await;
    store.start_login(place.login("ses_1", "keycloak/ada")).await.unwrap();
    store.start_login(place.login("ses_2", "keycloak/ada")).await.unwrap();
    for (family, login, code) in [("fam_1", "ses_1", "a"), ("fam_2", "ses_2", "b"), ("fam_3", "ses_2", "c")] {
        store.start_family(place.family(family, login, code)).await.unwrap();
        let token = place.token_of(&format!("tok_{family}"), login, family);
        store.record_issued(token.clone()).await.unwrap();
        assert_eq!(store.token(&token.id).await.unwrap(), Some(token));
    }
    let ids = |revoked: Vec<crate::RevokedToken>| revoked.into_iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(ids(store.end_login("ses_1").await.unwrap()), ["tok_fam_1"]);
    assert!(store.login("ses_1").await.unwrap().is_none());
    assert!(store.login_of_browser(&SecretHash::of("ses_1")).await.unwrap().is_none());
    assert_eq!(store.redeem_code(&SecretHash::of("a")).await.unwrap(), Redeemed::Ended);
    // A consent that is given while the login ends gives nothing.
    store.start_family(place.family("fam_4", "ses_1", "d")).await.unwrap();
    assert_eq!(store.redeem_code(&SecretHash::of("d")).await.unwrap(), Redeemed::Ended);

    let consent = Consent {
        user: "keycloak/ada".to_owned(),
        client_id: "console".to_owned(),
        scope: "read:logs-*".to_owned(),
        created_at: place.now(),
    };
    store.keep_consent(consent.clone()).await.unwrap();
    let store = place.reopen(store).await;
    assert_eq!(store.consents("keycloak/ada").await.unwrap(), [consent]);
    assert_eq!(store.logins().await.unwrap().len(), 1);
    assert_eq!(store.login("ses_2").await.unwrap().unwrap().content, br#"{"sub":"ada"}"#);
    assert!(ids(store.withdraw_consent("keycloak/bo", "console").await.unwrap()).is_empty());
    assert_eq!(ids(store.withdraw_consent("keycloak/ada", "console").await.unwrap()), ["tok_fam_2", "tok_fam_3"]);
    assert_eq!(store.consent("keycloak/ada", "console").await.unwrap(), None);

    store.start_family(place.family("fam_5", "ses_2", "e")).await.unwrap();
    place.clock.advance(Duration::from_secs(60));
    assert_eq!(store.redeem_code(&SecretHash::of("e")).await.unwrap(), Redeemed::Ended);
    assert_eq!(store.redeem_code(&SecretHash::of("nobody's")).await.unwrap(), Redeemed::Unknown);
    place.clock.advance(Duration::from_secs(3600));
    assert!(store.login("ses_2").await.unwrap().is_none());
    assert_eq!(store.purge_logins(place.now()).await.unwrap(), 2);
}

const GRACE: Duration = Duration::from_secs(10);

/// Uses one refresh token and puts another in its place.
async fn rotate(place: &Place, store: &SqliteStore, from: &str, to: &str) -> Rotated {
    let successor = place.refresh(to, "fam_1");
    store.rotate_refresh(&SecretHash::of(from), Some(successor), GRACE).await.unwrap()
}

async fn with_a_family(place: &Place) -> SqliteStore {
    let store = place.open().await;
    store.start_login(place.login("ses_1", "keycloak/ada")).await.unwrap();
    store.start_family(place.family("fam_1", "ses_1", "code")).await.unwrap();
    store.record_issued(place.token_of("tok_1", "ses_1", "fam_1")).await.unwrap();
    store.start_refresh(place.refresh("a", "fam_1")).await.unwrap();
    store
}

#[tokio::test]
async fn a_refresh_token_is_used_once_and_a_copy_ends_the_family() {
    let place = Place::new();
    let store = with_a_family(&place).await;
    let (a, b) = (SecretHash::of("a"), SecretHash::of("b"));
    // Looked at without a successor it is as good as before.
    assert_eq!(store.rotate_refresh(&a, None, GRACE).await.unwrap(), Rotated::Ended);
    assert_eq!(rotate(&place, &store, "a", "b").await, Rotated::Now);
    let store = place.reopen(store).await;
    place.clock.advance(GRACE);
    assert_eq!(rotate(&place, &store, "a", "x").await, Rotated::JustUsed);
    assert!(store.refresh_token(&b).await.unwrap().unwrap().0.used_at.is_none());
    assert!(store.refresh_token(&a).await.unwrap().unwrap().0.used_at.is_some());
    place.clock.advance(Duration::from_millis(1));
    match rotate(&place, &store, "a", "x").await {
        Rotated::Again { family, revoked } => {
            assert_eq!((family.id.as_str(), revoked.len(), revoked[0].id.as_str()), ("fam_1", 1, "tok_1"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(rotate(&place, &store, "b", "x").await, Rotated::Ended);
    assert_eq!(store.refresh_token(&b).await.unwrap(), None);
    let late = store.record_issued(place.token_of("tok_2", "ses_1", "fam_1")).await;
    assert!(matches!(late, Err(StoreError::NotFound { .. })), "{late:?}");
}

#[tokio::test]
async fn a_refresh_token_ends_unused_and_with_the_login() {
    let place = Place::new();
    let store = with_a_family(&place).await;
    place.clock.advance(Duration::from_secs(1799));
    assert_eq!(rotate(&place, &store, "a", "b").await, Rotated::Now);
    place.clock.advance(Duration::from_secs(1800));
    assert_eq!(rotate(&place, &store, "b", "c").await, Rotated::Ended);
    store.start_refresh(place.refresh("c", "fam_1")).await.unwrap();
    // The login of an hour is over, the token is not.
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(rotate(&place, &store, "c", "d").await, Rotated::Ended);
    assert_eq!(store.refresh_token(&SecretHash::of("c")).await.unwrap(), None);
    assert_eq!(rotate(&place, &store, "nobody's", "d").await, Rotated::Ended);

    let place = Place::new();
    let store = with_a_family(&place).await;
    store.end_login("ses_1").await.unwrap();
    assert_eq!(rotate(&place, &store, "a", "b").await, Rotated::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_refreshes_one_wins() {
    let place = Place::new();
    let store = Arc::new(with_a_family(&place).await);
    let all: Vec<_> = (0..100)
        .map(|n| {
            let (store, successor) = (Arc::clone(&store), place.refresh(&format!("next-{n}"), "fam_1"));
            tokio::spawn(
                async move { store.rotate_refresh(&SecretHash::of("a"), Some(successor), GRACE).await.unwrap() },
            )
        })
        .collect();
    let mut won = 0;
    for one in all {
        match one.await.unwrap() {
            Rotated::Now => won += 1,
            other => assert_eq!(other, Rotated::JustUsed),
        }
    }
    assert_eq!(won, 1);
    assert!(store.token("tok_1").await.unwrap().unwrap().revoked_at.is_none());
}
