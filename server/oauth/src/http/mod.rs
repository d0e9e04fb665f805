//! What the endpoints have in common: reading requests, telling who asks, refusing.

mod bearer;
mod client_auth;
mod context;
mod credentials;
mod finish;
mod form;
mod in_force;
mod refusal;

pub(crate) use self::bearer::{BearerError, BearerToken};
pub(crate) use self::client_auth::ClientAuth;
pub(crate) use self::context::Caller;
pub use self::context::{ClientAddress, ClientCertificate, RequestId};
pub(crate) use self::credentials::{ClientAuthError, Credentials, basic_credentials, has_authorization};
pub(crate) use self::finish::finish;
pub(crate) use self::form::{Form, FormError};
pub(crate) use self::in_force::{InForce, NotInForce, may_still_have};
pub(crate) use self::refusal::{Challenge, ErrorCode, Refusal};
