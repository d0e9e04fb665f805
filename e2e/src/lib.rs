//! The gateway from outside: the real binary, real HTTPS, a real engine with its security plugin.
//!
//! A test takes the [`Engine`] that `cargo xtask engine up` started and `cargo xtask data` filled, starts a [`Gateway`]
//! before it and speaks to that as clients do ([`Client`], [`Connection`]). Where a test has to see the very bytes that
//! leave the gateway, an [`Upstream`] on loopback stands in the engine's place.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `OAUTH4OS_ENGINE_JSON` | state file of the engine | `target/engine/3.4.0/engine.json` |
//! | `OAUTH4OS_TEST_BINARIES` | folder of `oauth4os`, and of `oauth4os-engine-decides`, whose own decision is switched off | `target/e2e` |
//! | `OAUTH4OS_KEYCLOAK_JSON` | state file of Keycloak | `target/keycloak/keycloak.json` |
//! | `OAUTH4OS_TEST_DRIVER` | how the engine learns who is asking, where a test does not say: `jwt` or `extended_proxy` | `jwt` |
//! | `OAUTH4OS_XTASK` | `xtask`, to stop and start Keycloak with | `target/debug/xtask` |
//! | `OAUTH4OS_CACHE` | where the programs with stock clients are built | `$XDG_CACHE_HOME/oauth4os`, `~/.cache/oauth4os` |
//!
//! `cargo xtask test` does everything. By hand, both gateways are built in one target folder:
//!
//! ```text
//! cargo build -p oauth4os                           && cp target/debug/oauth4os target/e2e/oauth4os
//! cargo build -p oauth4os --features engine-decides && cp target/debug/oauth4os target/e2e/oauth4os-engine-decides
//! ```
//!
//! Nothing is skipped: where a part is missing, the test fails and says how to get it.

mod answer;
mod api_key_engine;
mod authority;
mod base64url;
mod browser;
mod cleanup;
mod command;
mod configuration;
mod connection;
mod dashboards;
mod engine;
mod forge;
mod front;
mod gateway;
mod http;
pub mod http2;
mod issuer;
mod keycloak;
mod paths;
mod port;
mod process;
mod programs;
mod relay;
mod settings;
mod shippers;
mod tls;
mod upstream;
mod wait;
pub mod websockets;
mod wrong_clock;

pub use answer::Answer;
pub use api_key_engine::{ApiKeyEngine, Key as ApiKey};
pub use authority::{Authority, Identity, dns, for_client, uri};
pub use base64url::{decode as base64url_decode, encode as base64url};
pub use browser::{Browser, Code, Pkce, parameter};
pub use cleanup::OnDrop;
pub use command::run_to_end;
pub use connection::{Connection, PlainConnection, connect_from};
pub use dashboards::Dashboards;
pub use engine::Engine;
pub use forge::{Claims, Forge, token_id};
pub use front::Front;
pub use gateway::{Gateway, ISSUER, Run};
pub use http::{Client, Request};
pub use issuer::Issuer;
pub use keycloak::{Keycloak, basic_credentials};
pub use paths::{cache_dir, workspace};
pub use port::Port;
pub use programs::{Language, javascript, python, python_with_authlib, python_with_botocore, report};
pub use relay::Relay;
pub use settings::{ClientSettings, Driver, Settings};
pub use shippers::{Shipper, otel_collector, rsyslog};
pub use upstream::{Body, Received, Turn, Upstream, json_answer};
pub use wait::until;
pub use wrong_clock::WrongClock;
