//! The grants of the token endpoint, one file each: what has to be shown for a token, and what it may then say. What they have in
//! common, from the scopes to the record, is in [`issue`].

pub(crate) mod authorization_code;
pub(crate) mod client_credentials;
pub(crate) mod issue;
pub(crate) mod jwt_bearer;
pub(crate) mod parties;
pub(crate) mod refresh_token;
pub(crate) mod token_exchange;

/// The `grant_type`s that are taken.
pub(crate) const GRANT_TYPES: [&str; 5] = [
    authorization_code::GRANT_TYPE,
    client_credentials::GRANT_TYPE,
    jwt_bearer::GRANT_TYPE,
    refresh_token::GRANT_TYPE,
    token_exchange::GRANT_TYPE,
];
