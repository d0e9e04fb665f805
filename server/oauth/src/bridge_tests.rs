use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth4os_store::ClientChange;

use super::*;
use crate::test_support::{Gateway, TRICKY_SECRET};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn encoded(id: &str, secret: &str) -> String {
    STANDARD.encode(format!("{id}:{secret}"))
}

fn asked(gateway: &Gateway, id: &str, secret: &str, from: IpAddr) -> Result<String, BridgeError> {
    gateway.authority.bridge(&encoded(id, secret), from).map(|client| client.id.clone())
}

#[tokio::test]
async fn only_a_client_that_may_and_can_prove_it_is_let_through() {
    let gateway = Gateway::start().await;
    assert_eq!(asked(&gateway, "tricky", TRICKY_SECRET, HERE).as_deref(), Ok("tricky"));
    // Percent-encoded, as RFC 6749 section 2.3.1 has it.
    let escaped: String = TRICKY_SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(asked(&gateway, "tricky", &escaped, HERE).as_deref(), Ok("tricky"));

    assert_eq!(asked(&gateway, "tricky", "wrong", HERE), Err(BridgeError::Wrong));
    assert_eq!(asked(&gateway, "nobody", "wrong", HERE), Err(BridgeError::Wrong));
    assert_eq!(asked(&gateway, "agent", "wrong", HERE), Err(BridgeError::Wrong));
    // What is off is told to nobody but the client itself; clients of the store cannot have it at all.
    for id in ["agent", "shipper"] {
        assert_eq!(asked(&gateway, id, &gateway.secrets[id], HERE), Err(BridgeError::NotPermitted), "{id}");
    }
    for text in ["", "x", "dHJpY2t5", "dHJpY2t5Og==", "OnNlY3JldA==", "/w=="] {
        assert_eq!(gateway.authority.bridge(text, HERE).err(), Some(BridgeError::Malformed), "{text}");
    }
}

#[tokio::test]
async fn guesses_here_and_at_the_token_endpoint_count_together() {
    let gateway = Gateway::start().await;
    let refusals: Vec<_> = (0..12).map(|_| asked(&gateway, "tricky", "wrong", HERE)).collect();
    assert_eq!(refusals.iter().filter(|refusal| **refusal == Err(BridgeError::Wrong)).count(), 10);
    assert!(matches!(asked(&gateway, "tricky", TRICKY_SECRET, HERE), Err(BridgeError::TooManyGuesses(_))));
    let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    assert_eq!(asked(&gateway, "tricky", TRICKY_SECRET, elsewhere).as_deref(), Ok("tricky"));
}

#[tokio::test]
async fn whatever_changes_a_client_changes_the_generation() {
    let gateway = Gateway::start().await;
    let clients = Arc::clone(gateway.authority.clients());
    let before = clients.generation();
    clients.change("shipper", ClientChange { enabled: Some(false), ..ClientChange::default() }).await.unwrap();
    assert_ne!(clients.generation(), before);
    assert_eq!(asked(&gateway, "shipper", &gateway.secrets["shipper"], HERE), Err(BridgeError::Wrong));
}
