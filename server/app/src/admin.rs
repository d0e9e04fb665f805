//! The engine's administrator, for as long as one command takes.

use oauth4os_config::Engine;
use oauth4os_engine::{AdminCredentials, EngineClient};
use secrecy::SecretString;

use crate::Failure;
use crate::arguments::Admin;

/// The environment variable of the administrator's password.
const PASSWORD: &str = "OAUTH4OS_ENGINE_PASSWORD";

/// Speaks to the engine as its administrator, if it was said who that is.
pub(crate) fn client(engine: &Engine, admin: &Admin) -> Result<Option<EngineClient>, Failure> {
    let credentials = if let (Some(certificate), Some(key)) = (&admin.admin_cert, &admin.admin_key) {
        AdminCredentials::Certificate { certificate: certificate.clone(), key: key.clone() }
    } else if let Some(user) = &admin.admin_user {
        AdminCredentials::Password { user: user.clone(), password: password(admin)? }
    } else {
        return Ok(None);
    };
    Ok(Some(EngineClient::admin(engine, &credentials)?))
}

fn password(admin: &Admin) -> Result<SecretString, Failure> {
    let text = match &admin.admin_password_file {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?
        }
        None => std::env::var(PASSWORD)
            .map_err(|_| format!("give the administrator's password in `--admin-password-file` or {PASSWORD}"))?,
    };
    Ok(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}
