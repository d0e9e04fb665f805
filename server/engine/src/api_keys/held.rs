//! Where keys are kept: a file for each, which nobody but the gateway's user may read.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use oauth4os_tokens::clock::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Longer ones are not the engine's.
const MAX_TOKEN: usize = 256;

/// A key of the engine, and which one it took the place of.
#[derive(Debug)]
pub struct Held {
    /// The engine's id of it.
    pub id: String,
    /// The engine's name for it.
    pub name: String,
    /// The key itself.
    pub token: SecretString,
    /// From then on the engine does not take it.
    pub expires_at: UnixTime,
    /// The id of the one before, which is left in force for a while: the gateway may not have been told of this one yet.
    pub previous: Option<String>,
}

/// A key cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum HeldError {
    /// There is no file.
    #[error(
        "there is no API key in `{}`; `oauth4os engine setup --apply` makes it, with an administrator's credentials",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("`{}` may be read by others than its owner; `chmod 600` it, and have the key made anew if others could", path.display())]
    Open {
        /// Which.
        path: PathBuf,
    },
    /// Not a key.
    #[error("`{}` holds no API key of the engine; take it away and run `oauth4os engine setup --apply`", path.display())]
    Form {
        /// Which.
        path: PathBuf,
    },
    /// The file or its folder cannot be used.
    #[error("`{}` cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Held {
    /// The file of the key of this name.
    #[must_use]
    pub fn path(directory: &Path, name: &str) -> PathBuf {
        directory.join(format!("{name}.json"))
    }

    /// The key of this name.
    ///
    /// # Errors
    /// [`HeldError`].
    pub fn read(directory: &Path, name: &str) -> Result<Self, HeldError> {
        let path = Self::path(directory, name);
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => HeldError::Missing { path: path.clone() },
            _ => HeldError::Io { path: path.clone(), source },
        };
        let mode = fs::metadata(&path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(HeldError::Open { path });
        }
        let text = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
        Self::parse(&text).ok_or(HeldError::Form { path })
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let string = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let token = string("token").filter(|token| is_token(token))?;
        Some(Self {
            id: string("id")?,
            name: string("name")?,
            token: token.into(),
            expires_at: UnixTime::from_millis(value.get("expires_at")?.as_i64()?),
            previous: string("previous"),
        })
    }

    /// Keeps the key under this name: whole, on the disk, and for its owner only, or not at all.
    ///
    /// # Errors
    /// [`HeldError::Io`].
    pub fn write(&self, directory: &Path, name: &str) -> Result<(), HeldError> {
        let path = Self::path(directory, name);
        let text = Zeroizing::new(
            json!({
                "id": self.id,
                "name": self.name,
                "token": self.token.expose_secret(),
                "expires_at": self.expires_at.as_millis(),
                "previous": self.previous,
            })
            .to_string(),
        );
        replace(directory, &path, text.as_bytes()).map_err(|source| HeldError::Io { path, source })
    }

    /// Makes sure that a key could be kept there.
    ///
    /// # Errors
    /// [`HeldError::Io`].
    pub fn prepare(directory: &Path) -> Result<(), HeldError> {
        let prepare = || {
            make_folder(directory)?;
            let trial = directory.join(".trial");
            new_file(&trial)?;
            fs::remove_file(&trial)
        };
        prepare().map_err(|source| HeldError::Io { path: directory.to_owned(), source })
    }

    /// Takes the file of this name away, if there is one.
    ///
    /// # Errors
    /// [`HeldError::Io`].
    pub fn remove(directory: &Path, name: &str) -> Result<(), HeldError> {
        let path = Self::path(directory, name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(HeldError::Io { path, source }),
            _ => Ok(()),
        }
    }
}

/// As the plugin makes them: `os_` and letters of base64url.
pub(super) fn is_token(token: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    token.len() <= MAX_TOKEN
        && token.strip_prefix("os_").is_some_and(|rest| rest.len() >= 32 && rest.bytes().all(is_letter))
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    make_folder(directory)?;
    let new = path.with_extension("new");
    let mut file = new_file(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

fn make_folder(directory: &Path) -> io::Result<()> {
    if !directory.is_dir() {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn new_file(path: &Path) -> io::Result<File> {
    // One that was left behind may be open to others.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held {
            id: "k-1".to_owned(),
            name: "oauth4os-a-logs-1".to_owned(),
            token: format!("os_{}", "b".repeat(43)).into(),
            expires_at: UnixTime::from_secs(5),
            previous: Some("k-0".to_owned()),
        }
    }

    #[test]
    fn what_is_kept_is_for_its_owner_and_is_read_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("keys");
        held().write(&directory, "logs").expect("to be kept");
        let mode = |path: &Path| fs::metadata(path).expect("it").permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&Held::path(&directory, "logs"))), (0o700, 0o600));
        let read = Held::read(&directory, "logs").expect("a key");
        assert_eq!(read.token.expose_secret(), held().token.expose_secret());
        assert_eq!((read.id, read.previous, read.expires_at), (held().id, held().previous, held().expires_at));
        assert_eq!(fs::read_dir(&directory).expect("it").count(), 1);
        assert!(!format!("{:?}", held()).contains("os_b"));
        Held::remove(&directory, "logs").expect("to be removed");
        Held::remove(&directory, "logs").expect("to be gone");
        assert!(matches!(Held::read(&directory, "logs"), Err(HeldError::Missing { .. })));
    }

    #[test]
    fn what_others_may_read_or_is_no_key_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        held().write(folder.path(), "logs").expect("to be kept");
        let path = Held::path(folder.path(), "logs");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("to be set");
        assert!(matches!(Held::read(folder.path(), "logs"), Err(HeldError::Open { .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("to be set");
        for text in [
            "",
            "os_x",
            "{}",
            r#"{"id":"1","name":"n","token":"os_short","expires_at":1}"#,
            "{\"id\":\"1\",\"name\":\"n\",\"token\":\"os_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\r\\nx: y\",\"expires_at\":1}",
        ] {
            fs::write(&path, text).expect("to be written");
            let error = Held::read(folder.path(), "logs").unwrap_err();
            assert!(matches!(error, HeldError::Form { .. }), "{text}: {error}");
        }
    }
}
