//! The gateway's own log, on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

/// The library of HTTP/2 logs what strangers send, and warns of it as often as they like.
const QUIET: &str = "h2=off";

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("the log level `{level}` is not understood: {reason}; use error, warn, info, debug or trace")]
pub struct LogError {
    level: String,
    reason: String,
}

/// Starts the log of this process; call it once, first.
///
/// # Errors
/// When `level` is neither a level nor a list of directives, or a log was started before.
pub fn start(level: &str, json: bool) -> Result<(), LogError> {
    let refuse = |reason: String| LogError { level: level.to_owned(), reason };
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|error| refuse(error.to_string()))?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(json).with_ansi(false);
    let started = if json { subscriber.json().flatten_event(true).try_init() } else { subscriber.try_init() };
    started.map_err(|error| refuse(error.to_string()))
}
