//! What can go wrong with a store, in sentences for the operator.

use std::path::PathBuf;

use oauth4os_tokens::id::NoRandomness;
use oauth4os_tokens::keys::KeyError;

use crate::seal::SealError;

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the database is not there. It is never created: a wrong path must not become an empty store.
    #[error("the folder `{}` does not exist; create it (`mkdir -p -m 700 {}`), or correct the path of the store", path.display(), path.display())]
    NoFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The path of the database names no file.
    #[error("`{}` is not a file that can hold the store; give the path of a file in a folder of its own", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Group or others may read or write what only the gateway may.
    #[error("`{}` is open to other users (mode {mode:03o}); run `chmod {wanted:03o} {}`", path.display(), path.display())]
    Permissions {
        /// The file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it must have, or a narrower one.
        wanted: u32,
    },
    /// Another process has the store open.
    #[error("the store `{}` is in use by another process; one gateway works on one SQLite file, stop the other one", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("`{}` cannot be {what}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a past participle: `opened`, `created`.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The database was written by a newer release, or its schema was changed by hand.
    #[error("the store `{}` does not fit this release: {reason}; run the release that wrote it, or restore a backup", path.display())]
    Schema {
        /// The database.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Something secret in the store cannot be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// There is one of this name already.
    #[error("there is a {what} `{id}` already")]
    Exists {
        /// `client`, `token`, `key`, `secret`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The token that was shown for another one has been revoked, or is over.
    #[error("the token `{id}`, for which another one was to be given out, is not in force")]
    ParentEnded {
        /// Its id.
        id: String,
    },
    /// There is none of this name.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// `client`, `token`, `key`, `secret`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A client has as many secrets as it may have at a time.
    #[error("the client `{id}` has two secrets in force already; remove one first")]
    TooManySecrets {
        /// The client.
        id: String,
    },
    /// A change of state that does not happen in a key's life.
    #[error("the key `{kid}` is {from} and cannot become {to}")]
    KeyState {
        /// The key.
        kid: String,
        /// Its state.
        from: &'static str,
        /// The state asked for.
        to: &'static str,
    },
    /// A cursor that no list has given out.
    #[error("the cursor is not one this list has given out; start again without it")]
    Cursor,
    /// The store is being closed.
    #[error("the store is closed; the gateway is shutting down")]
    Closed,
    /// A row that cannot be understood.
    #[error("the store holds a {what} that cannot be read (`{id}`); restore a backup or remove it")]
    Corrupt {
        /// What kind of row.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The database reported a failure: a full disk, for example.
    #[error("the store could not {doing}: {reason}")]
    Database {
        /// What was being done, as an infinitive.
        doing: &'static str,
        /// The database's reason, without any value of a row.
        reason: String,
    },
}
