//! The master key: 32 bytes that the operator keeps outside the store.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use oauth4os_tokens::id::{random_id, sha256};
use zeroize::Zeroizing;

use super::envelope::KEY_BYTES;

/// Something could not be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store was sealed with another master key.
    #[error(
        "the store cannot be decrypted with this master key (`{given}`); it needs the one it was sealed with (`{needed}`)"
    )]
    WrongMasterKey {
        /// The id of the key that was given.
        given: String,
        /// The id of the key that is needed.
        needed: String,
    },
    /// A sealed value was changed, cut, or moved from another place.
    #[error("the encrypted `{column}` of `{id}` in `{table}` is damaged or was changed from outside; restore a backup")]
    Tampered {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's primary key.
        id: String,
    },
    /// A text that is no master key.
    #[error("the master key must be 32 random bytes in base64 or hexadecimal; make one with `openssl rand -base64 32`")]
    MasterKeyText,
    /// The master key's file cannot be used.
    #[error("the master key file `{}` cannot be {what}: {source}", path.display())]
    MasterKeyFile {
        /// The file.
        path: PathBuf,
        /// What was tried, as a past participle.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The master key's file is open to others.
    #[error("the master key file `{}` is open to other users (mode {mode:03o}); run `chmod 600 {}`, and replace the key if it may have been read", path.display(), path.display())]
    MasterKeyPermissions {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The master key's file holds something else.
    #[error("the file `{}` holds no master key: it must be 32 random bytes in base64 or hexadecimal", path.display())]
    MasterKeyContent {
        /// The file.
        path: PathBuf,
    },
    /// The cryptographic library failed.
    #[error("the cryptographic library reported a failure; nothing was stored")]
    Failed,
}

/// The master key. Its bytes are in the cryptographic library's key schedule only, and are never shown.
pub struct MasterKey {
    id: String,
    aead: RandomizedNonceKey,
}

/// More than any text of a key; a file that is longer is none.
const MAX_FILE_BYTES: u64 = 256;

impl MasterKey {
    /// Reads the key from a file; makes the file when there is none.
    ///
    /// Two processes that start together end up with one key. The file is readable by its owner only.
    ///
    /// # Errors
    /// A file that group or others may read, or one that holds something else, is refused.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path)?,
            _ => {}
        }
        Self::load(path)
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// A missing file, one that group or others may read, or one that holds something else.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let failed = |source| SealError::MasterKeyFile { path: path.to_owned(), what: "read", source };
        let file = File::open(path).map_err(failed)?;
        // Asked of the open file, so that nothing can be exchanged between the question and the reading.
        let mode = mode(&file.metadata().map_err(failed)?);
        if mode & 0o077 != 0 {
            return Err(SealError::MasterKeyPermissions { path: path.to_owned(), mode });
        }
        // With its final size, since growing would leave a copy behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        let content = || SealError::MasterKeyContent { path: path.to_owned() };
        let text = std::str::from_utf8(&bytes).map_err(|_| content())?;
        Self::from_text(text).map_err(|_| content())
    }

    /// Reads the key from a text, an environment variable's value for example: 32 bytes in base64 (either alphabet,
    /// padded or not) or hexadecimal; space around it does not matter.
    ///
    /// # Errors
    /// [`SealError::MasterKeyText`].
    pub fn from_text(text: &str) -> Result<Self, SealError> {
        let text = text.trim();
        let bytes = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
            .iter()
            .find_map(|base64| base64.decode(text).ok().filter(|b| b.len() == KEY_BYTES))
            .or_else(|| hexadecimal(text))
            .map(Zeroizing::new)
            .ok_or(SealError::MasterKeyText)?;
        Self::from_bytes(&bytes)
    }

    /// A key of 32 bytes.
    ///
    /// # Errors
    /// [`SealError::MasterKeyText`] for another length, and for bytes that are all the same: that is no random key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        let first = bytes.first().ok_or(SealError::MasterKeyText)?;
        if bytes.len() != KEY_BYTES || bytes.iter().all(|byte| byte == first) {
            return Err(SealError::MasterKeyText);
        }
        let mut labelled = Zeroizing::new(b"oauth4os master key id\0".to_vec());
        labelled.reserve_exact(KEY_BYTES);
        labelled.extend_from_slice(bytes);
        let id = sha256(&labelled).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let aead = RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Failed)?;
        Ok(Self { id, aead })
    }

    /// The key's id: 16 hexadecimal digits of a hash, safe to show and to write into a runbook.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) const fn aead(&self) -> &RandomizedNonceKey {
        &self.aead
    }

    /// Makes the file, complete or not at all, and never in place of another.
    fn create(path: &Path) -> Result<(), SealError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError::Failed)?;
        let mut text = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        text.push('\n');
        let unique = random_id(".master-key-").map_err(|_| SealError::Failed)?;
        let temporary = path.with_file_name(unique);
        let created = write_private(&temporary, text.as_bytes())
            // A link, unlike a rename, fails when another process was faster; its key is then the key.
            .and_then(|()| match fs::hard_link(&temporary, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = fs::remove_file(&temporary);
        created.and(removed).and_then(|()| sync_folder(path)).map_err(|source| SealError::MasterKeyFile {
            path: path.to_owned(),
            what: "created",
            source,
        })
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            pair.iter().try_fold(0_u8, |value, digit| {
                let digit = char::from(*digit).to_digit(16)?;
                Some(value << 4 | u8::try_from(digit).ok()?)
            })
        })
        .collect()
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn mode(metadata: &fs::Metadata) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
}

#[cfg(not(unix))]
fn mode(_: &fs::Metadata) -> u32 {
    0o600
}
