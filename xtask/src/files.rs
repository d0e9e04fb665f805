//! Files and folders: private files, owners, archives, locks.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::account::Account;

/// The root of the repository.
pub fn repository() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or(manifest.clone(), Path::to_owned)
}

/// Where a part lives: the chosen folder, else the usual one. The user it runs as must be able to get there; a
/// clone in somebody's home often cannot be entered by others, and then a folder of this name among the
/// temporary files is taken.
pub fn place_for(chosen: Option<&Path>, usual: &Path, temporary: &str, account: Option<&Account>) -> Result<PathBuf> {
    let barred =
        |folder: &Path| account.filter(|account| !account.can_enter(folder)).map(|account| account.name.clone());
    if let Some(folder) = chosen {
        let folder = std::path::absolute(folder)?;
        if let Some(user) = barred(&folder) {
            bail!(
                "{} cannot be entered by the user `{user}`, whom this runs as: choose another --dir",
                folder.display()
            );
        }
        return Ok(folder);
    }
    let Some(user) = barred(usual) else { return Ok(usual.to_owned()) };
    let other = std::env::temp_dir().join(temporary);
    crate::progress::say(&format!(
        "{} cannot be entered by the user `{user}`: using {}",
        usual.display(),
        other.display()
    ));
    Ok(other)
}

/// Makes `folder` exist and be empty.
pub fn empty_folder(folder: &Path) -> Result<()> {
    remove(folder)?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be created", folder.display()))
}

/// Deletes a file or folder with everything in it; nothing happens where it does not exist.
pub fn remove(path: &Path) -> Result<()> {
    let gone = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    gone.with_context(|| format!("{} cannot be deleted", path.display()))
}

/// Writes a file with these permission bits in one step: a reader sees the old content or the new.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let written = (|| {
        remove(&temporary).map_err(std::io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        std::fs::rename(&temporary, path)
    })();
    written.with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a value as JSON that only the owner may read.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, text.as_bytes(), 0o600)
}

/// Gives a file or folder with everything in it to an account.
pub fn give(path: &Path, account: Option<&Account>) -> Result<()> {
    let Some(account) = account else { return Ok(()) };
    give_to(path, account).with_context(|| format!("{} cannot be given to the user `{}`", path.display(), account.name))
}

/// Takes away what others than the owner may do with a folder and everything in it.
pub fn make_private(path: &Path) -> Result<()> {
    let narrow = |path: &Path| -> std::io::Result<u32> {
        let mode = path.metadata()?.permissions().mode() & 0o700;
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        Ok(mode)
    };
    narrow(path).with_context(|| format!("the permissions of {} cannot be changed", path.display()))?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            make_private(&entry?.path())?;
        }
    }
    Ok(())
}

fn give_to(path: &Path, account: &Account) -> std::io::Result<()> {
    std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in std::fs::read_dir(path)? {
            give_to(&entry?.path(), account)?;
        }
    }
    Ok(())
}

/// Unpacks a zip into a folder, with the permission bits it carries.
pub fn unzip(archive: &Path, into: &Path) -> Result<()> {
    let unpacked = (|| -> Result<()> { Ok(zip::ZipArchive::new(File::open(archive)?)?.extract(into)?) })();
    unpacked.with_context(|| format!("{} cannot be unpacked into {}", archive.display(), into.display()))
}

/// Takes an exclusive lock, saying `busy` while it waits for another process.
pub fn lock(path: &Path, busy: &str) -> Result<File> {
    let locked = (|| {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        if file.try_lock().is_err() {
            crate::progress::say(&format!("{busy}: waiting for it"));
            file.lock()?;
        }
        std::io::Result::Ok(file)
    })();
    locked.with_context(|| format!("{} cannot be locked", path.display()))
}

/// The last `count` lines of a text file, or nothing where it cannot be read.
pub fn last_lines(path: &Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}
