use std::time::Duration;

use oauth4os_policy::Clusters;
use oauth4os_store::{ClientChange, Clients as _, StoreError, StoredSecret};
use oauth4os_tokens::clock::{ManualClock, UnixTime};
use serde_json::json;

use super::*;
use crate::test_support::{Gateway, TRICKY_SECRET, folder, new_secret, open, stored_client};

async fn load(configured: serde_json::Value, stored: &[(&str, &str)]) -> Result<ClientDirectory, DirectoryError> {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    for (id, scopes) in stored {
        store.create_client(stored_client(id, scopes, &new_secret(), clock.now())).await.unwrap();
    }
    let configured: Vec<ClientConfig> = serde_json::from_value(configured).unwrap();
    ClientDirectory::load(&configured, Clusters::default(), store, Arc::new(clock)).await
}

fn configured(id: &str, scope: &str) -> serde_json::Value {
    json!({"id": id, "secret_hash": format!("sha256:{}", "0".repeat(64)), "scopes": [scope]})
}

#[tokio::test]
async fn ids_are_unique_over_both_sources() {
    let twice = load(json!([configured("a", "read:x")]), &[("b", "read:x"), ("a", "read:x")]).await;
    assert!(matches!(twice, Err(DirectoryError::Twice { id }) if id == "a"));
    let twice = load(json!([configured("a", "read:x"), configured("a", "read:y")]), &[]).await;
    assert!(matches!(twice, Err(DirectoryError::Twice { id }) if id == "a"));
}

#[tokio::test]
async fn another_configuration_leaves_the_store_s_clients_alone() {
    let directory =
        load(json!([configured("a", "read:x"), configured("b", "read:x")]), &[("s", "read:x")]).await.unwrap();
    let clients = |value: serde_json::Value| serde_json::from_value::<Vec<ClientConfig>>(value).unwrap();
    let before = directory.generation();
    let mut seen = None;
    let new = clients(json!([configured("b", "read:y"), configured("c", "read:x")]));
    directory.reconfigure(&new, |directory| seen = directory.get("c")).await.unwrap();
    assert!(seen.is_some() && directory.get("a").is_none() && directory.get("s").is_some());
    assert_eq!(directory.get("b").unwrap().scopes.to_string(), "read:y");
    assert_ne!(directory.generation(), before);

    // What contradicts itself changes nothing and is not published.
    let before = directory.generation();
    for wrong in [json!([configured("s", "read:x")]), json!([configured("d", "openid")])] {
        directory.reconfigure(&clients(wrong), |_| panic!("published")).await.unwrap_err();
    }
    assert!(directory.generation() == before && directory.get("d").is_none() && directory.get("c").is_some());
}

#[tokio::test]
async fn a_client_whose_scopes_mean_nothing_stops_the_start() {
    for (configured, stored) in
        [(json!([configured("a", "openid")]), &[][..]), (json!([]), &[("a", "read:x write")][..])]
    {
        let error = load(configured, stored).await.unwrap_err();
        assert!(error.to_string().starts_with("the client `a` cannot be used: the scope `"), "{error}");
    }
    let no_secret = load(json!([{"id": "a", "scopes": ["read:x"]}]), &[]).await;
    assert!(matches!(no_secret, Err(DirectoryError::NoSecret { .. })));
}

#[tokio::test]
async fn more_clients_than_fit_on_a_page_are_all_there() {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    let secret = new_secret();
    for number in 0..1_100 {
        let client = stored_client(&format!("c{number}"), "read:x", &secret, clock.now());
        store.create_client(client).await.unwrap();
    }
    let directory = ClientDirectory::load(&[], Clusters::default(), store, Arc::new(clock)).await.unwrap();
    assert!((0..1_100).all(|number| directory.authenticate(&format!("c{number}"), secret.expose()).is_some()));
}

#[tokio::test]
async fn a_client_is_known_by_its_id_and_live_secret_only() {
    let gateway = Gateway::start().await;
    let clients = gateway.authority.clients();
    let agent = clients.authenticate("agent", &gateway.secret("agent")).unwrap();
    assert_eq!(agent.source, ClientSource::Configuration);
    assert_eq!(clients.authenticate("shipper", &gateway.secret("shipper")).unwrap().source, ClientSource::Store);
    assert!(clients.authenticate("tricky", TRICKY_SECRET).is_some());
    for (id, secret) in [
        ("agent", String::new()),
        ("agent", gateway.secret("shipper")),
        ("", gateway.secret("agent")),
        ("nobody", String::new()),
    ] {
        assert!(clients.authenticate(id, &secret).is_none());
    }
    let (old, new) = (new_secret(), new_secret());
    let mut client = stored_client("rotating", "read:x", &old, gateway.now());
    client.secrets[0].expires_at = Some(gateway.now() + Duration::from_secs(60));
    client.secrets.push(StoredSecret::of(&new, "sec_2", gateway.now()));
    clients.create(client).await.unwrap();
    assert!(clients.authenticate("rotating", old.expose()).is_some());
    gateway.clock.advance(Duration::from_secs(60));
    assert!(clients.authenticate("rotating", old.expose()).is_none());
    assert!(clients.authenticate("rotating", new.expose()).is_some());
}

#[tokio::test]
async fn changes_are_in_force_move_the_generation_and_last() {
    let gateway = Gateway::start().await;
    let clients = gateway.authority.clients().clone();
    let mut generation = clients.generation();
    let mut moved = || {
        let before = std::mem::replace(&mut generation, clients.generation());
        before != generation
    };
    let secret = new_secret();
    clients.create(stored_client("new", "read:x", &secret, gateway.now())).await.unwrap();
    assert!(moved());
    let scopes = |scopes: &str| ClientChange { scopes: Some(scopes.to_owned()), ..ClientChange::default() };
    let changed = clients.change("new", scopes("read:y")).await.unwrap();
    assert_eq!(changed.scopes.to_string(), "read:y");
    assert_eq!(clients.get("new").unwrap(), changed);
    assert!(moved());

    assert!(matches!(clients.change("new", scopes("nonsense")).await, Err(DirectoryError::Scopes { .. })));
    assert!(matches!(clients.change("agent", scopes("read:y")).await, Err(DirectoryError::Configured { .. })));
    assert!(matches!(gateway.authority.delete_client("agent").await, Err(DirectoryError::Configured { .. })));
    assert!(matches!(
        gateway.authority.delete_client("nobody").await,
        Err(DirectoryError::Store(StoreError::NotFound { .. }))
    ));
    for taken in ["agent", "new"] {
        let again = clients.create(stored_client(taken, "read:x", &secret, gateway.now())).await;
        assert!(matches!(again, Err(DirectoryError::Twice { .. })));
    }
    assert!(!moved());

    drop(clients);
    let gateway = gateway.restart().await;
    let clients = gateway.authority.clients();
    assert_eq!(clients.get("new").unwrap().scopes.to_string(), "read:y");
    let before = clients.generation();
    gateway.authority.delete_client("new").await.unwrap();
    assert!(clients.get("new").is_none() && clients.generation() != before);
    let gateway = gateway.restart().await;
    assert!(gateway.authority.clients().get("new").is_none());
}

#[test]
fn no_secret_or_hash_is_shown_in_debug_output() {
    let secret = new_secret();
    let client = stored_client("a", "read:x", &secret, UnixTime::from_secs(1));
    let client = Client::from_store(client, &Clusters::default()).unwrap();
    let text = format!("{client:?}");
    assert!(!text.contains(secret.expose()) && text.contains("SecretHash(…)"), "{text}");
}
