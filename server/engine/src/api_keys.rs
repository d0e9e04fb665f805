//! The driver `api_key`: the engine's own API keys, from security plugin 3.7 on.
//!
//! The engine keeps every key it ever made, revoked ones too, and has room for a thousand at most: a key for each token would
//! lock everybody out after some days. So there is one for each name of the configuration, made by `oauth4os engine setup` with an
//! administrator's credentials, which the gateway itself never has ([`plan`]); what a key permits is what its scopes say
//! ([`Permissions`]). The gateway reads them from a folder of its own ([`Held`]).

mod held;
mod permissions;
mod plan;

pub use self::held::{Held, HeldError};
pub use self::permissions::Permissions;
pub use self::plan::{ApiKeyChange, ApiKeyPlan, ApiKeySetup, ApiKeySetupError, WantedKey};
