//! The first administrator's credential, shown once: in a file only the gateway's user can read.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use oauth4os_oauth::FirstAdmin;

const FILE: &str = "first-admin.json";

/// Where the credential is shown.
pub(crate) fn path(state_directory: &Path) -> PathBuf {
    state_directory.join(FILE)
}

/// Writes the credential. It does not go to the log or to standard output, which are kept by others. What a start that
/// did not get further has left there is void and is replaced.
pub(crate) fn show(admin: &FirstAdmin, path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    let content = serde_json::json!({
        "client_id": admin.client_id,
        "client_secret": admin.client_secret.expose(),
    });
    file.write_all(content.to_string().as_bytes())?;
    file.sync_all()
}
