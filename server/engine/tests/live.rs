//! On a real engine: `cargo xtask engine up` first. `OAUTH4OS_ENGINE_JSON` names the state of another one.
//!
//! Every test has a gateway of its own (auth domain, roles, users, indices: all under its name) and takes it away again,
//! so the tests can run side by side, again and again, and beside a real gateway.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on ends, and so do its helpers"
)]

#[path = "live/configuration.rs"]
mod configuration;
#[path = "live/names.rs"]
mod names;
#[path = "live/roles.rs"]
mod roles;
#[path = "live/support.rs"]
mod support;
