//! What a request to OpenSearch does, and to which indices: pure, without I/O.
//!
//! [`classify`] reads method and raw request target exactly as the engine's router does and answers with an
//! [`Operation`]: its name, the permission class it needs, the index expressions it touches. Where only the body says
//! what is touched, [`Operation::body`] says how it must be inspected: [`Body::inspect`] for bodies that are held in
//! memory, [`BulkScanner`] and [`MsearchScanner`] for bodies that are streamed; [`check_content`] whether it must go
//! through a [`GzipReader`] before.
//!
//! [`classify_dashboards`] does the same for OpenSearch Dashboards, whose API is another, and which passes calls on to the
//! engine.
//!
//! Everything here fails closed: what is unknown, malformed or could be read in two ways is an error.

pub mod body;

mod class;
mod dashboards;
mod error;
mod expression;
mod generated;
mod json;
mod operation;
mod query;
mod route;
mod table;
mod target;

pub use body::Body;
pub use body::bulk::{BulkItem, BulkScanner};
pub use body::content::{ContentCoding, check_content};
pub use body::gzip::{GzipReader, gunzip};
pub use body::inspection::{BodyTarget, Inspection};
pub use body::msearch::{MsearchItem, MsearchScanner};
pub use body::restricted::{Hidden, past_restriction};
pub use class::{Action, Class};
pub use dashboards::{classify_dashboards, classify_dashboards_websocket};
pub use error::{BodyError, ClassifyError};
pub use operation::{Operation, Targets};
pub use route::classify;
pub use table::rights;
