//! Audit events and their sinks, metrics, logs.
//!
//! Three records with three readers: **audit** ([`audit`]) is for whoever has to prove what happened, one JSON line for
//! each decision; **metrics** ([`metrics`]) are for whoever runs the gateway; the **log** ([`log`]) is for whoever
//! looks for a fault. No secret and no token reaches any of them.

pub mod audit;
pub mod log;
pub mod metrics;
pub mod time;
