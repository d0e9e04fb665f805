//! The files of a store: where they may be, who may read them, and that one process has them.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// Holds the store for this process; given back when dropped, or by the system when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Checks folder and files, takes the lock, and makes the database's file when there is none.
/// Returns the path without relative parts and links, so that SQLite cannot read a meaning of its own into it.
pub(super) fn prepare(path: &Path) -> Result<(PathBuf, Lock), StoreError> {
    let database = check(path)?;
    // First of all opens: were a second store of this process to open and close the database's file, the first one
    // would lose its locks on it (POSIX record locks).
    let lock = lock(&database)?;
    match private().write(true).create_new(true).open(&database) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(file_error(&database, "created", source)),
    }
    Ok((database, lock))
}

/// Checks folder and files, and returns the path without relative parts and links.
pub(super) fn check(path: &Path) -> Result<PathBuf, StoreError> {
    let name = path.file_name().ok_or_else(|| StoreError::NotAFile { path: path.to_owned() })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = match fs::canonicalize(folder) {
        Ok(folder) if folder.is_dir() => folder,
        Ok(_) => {
            return Err(StoreError::NotAFile { path: path.to_owned() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NoFolder { path: folder.to_owned() });
        }
        Err(source) => return Err(file_error(folder, "opened", source)),
    };
    refuse_wide(&folder, 0o700)?;

    let database = folder.join(name);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let file = with_suffix(&database, suffix);
        match fs::metadata(&file) {
            Ok(metadata) if metadata.is_file() => refuse_wide(&file, 0o600)?,
            Ok(_) => return Err(StoreError::NotAFile { path: file }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(file_error(&file, "opened", source)),
        }
    }
    Ok(database)
}

fn lock(database: &Path) -> Result<Lock, StoreError> {
    let path = with_suffix(database, ".lock");
    let file = private()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| file_error(&path, "opened", source))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { _file: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(file_error(&path, "locked", source)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn with_suffix(database: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(unix)]
fn refuse_wide(path: &Path, wanted: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_err(|source| file_error(path, "opened", source))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StoreError::Permissions { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_wide(_: &Path, _: u32) -> Result<(), StoreError> {
    Ok(())
}

fn file_error(path: &Path, what: &'static str, source: io::Error) -> StoreError {
    StoreError::File { path: path.to_owned(), what, source }
}
