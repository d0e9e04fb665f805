//! Who may ask for tokens, and how often they may be wrong.

mod client;
mod directory;
mod guesses;

pub use self::client::{Client, ClientSource, configured_grants, configured_keys};
pub use self::directory::{ClientDirectory, DirectoryError};
pub(crate) use self::guesses::GuessLimit;
