//! The data plane: the way of a request.
//!
//! Each `worker` accepts connections and serves their requests one after the other (`serve`, `connection`), those of
//! HTTP/2 stream by stream (`http2`). A
//! request (`exchange`) is read strictly (`wire`), authenticated (`authenticate`), classified and decided
//! (`session`, `gate`), given an identity (`identity`), forwarded (`forward`) and answered (`relay`); whatever
//! became of it is recorded (`record`). Own endpoints go to the control plane (`own`, `control`).
//!
//! Nothing here queries a database or waits for one: what the control plane knows comes in as a [`Snapshot`] and as
//! [`Revocations`] and [`Names`], what is to be written goes out through bounded channels.

mod arrival;
mod authenticate;
mod basic;
mod body;
mod buffers;
mod certificate;
mod cluster;
mod connection;
mod control;
mod dashboards;
mod deadline;
mod delegation;
mod exchange;
mod fields;
mod forward;
mod gate;
mod gateway;
mod http2;
mod identity;
mod limit;
mod logins;
mod names;
mod nodes;
mod opaque;
mod outcome;
mod own;
mod points_in_time;
mod pool;
mod rates;
mod record;
mod refusal;
mod relay;
mod revocation;
mod serve;
mod session;
mod snapshot;
mod strangers;
mod transport;
mod tunnel;
mod websocket;
mod wire;
mod worker;

pub use arrival::{Listener, OwnListeners};
pub use basic::{BasicClient, BasicClients, BasicRefusal};
pub use certificate::{ClientCertificates, Validity, validity};
pub use control::{ControlPlane, Origin};
pub use gateway::{ClusterSetup, Gateway, GatewayError, Setup};
pub use logins::{Logins, Person};
pub use names::{Look, Names};
pub use opaque::{OpaqueToken, OpaqueTokens};
pub use rates::Rates;
pub use revocation::Revocations;
pub use snapshot::{Snapshot, SnapshotClient};
