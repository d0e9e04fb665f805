//! The first administrator's credential, shown once: in a file only the gateway's user can read.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oauth4os_oauth::FirstAdmin;

const FILE: &str = "first-admin.json";

/// Writes the credential into the state directory. It does not go to the log or to standard output, which are kept by
/// others.
pub(crate) fn show(admin: &FirstAdmin, directory: &Path) -> io::Result<PathBuf> {
    let path = directory.join(FILE);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let content = serde_json::json!({
        "client_id": admin.client_id,
        "client_secret": admin.client_secret.expose(),
    });
    file.write_all(content.to_string().as_bytes())?;
    file.sync_all()?;
    Ok(path)
}
