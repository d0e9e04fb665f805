//! The state directory: the store and the key it is encrypted with.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oauth4os_config::State;
use oauth4os_store::seal::{MasterKey, SealError, Sealer};
use oauth4os_store::{EngineKeys, KeyUse, Keyring, SqliteStore, StoreError, signing_keys};
use oauth4os_tokens::clock::Clock;
use secrecy::ExposeSecret;

const DATABASE: &str = "oauth4os.db";
const MASTER_KEY: &str = "master.key";

/// The state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error("cannot make the state directory `{}`: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the store `{}` was sealed with a master key that is not there; put `{MASTER_KEY}` back beside it, or give `state.master_key`", path.display())]
    KeyLost { path: PathBuf },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the store; makes directory, master key and store when there are none.
pub(crate) async fn open(state: &State, clock: Arc<dyn Clock>) -> Result<SqliteStore, StateError> {
    make_directory(&state.directory)?;
    let database = state.directory.join(DATABASE);
    let sealer = Sealer::new(master_key(state, &database)?);
    Ok(SqliteStore::open(database, sealer, clock).await?)
}

/// The keys of internal tokens, also while the gateway is running.
pub(crate) async fn engine_keys(state: &State, clock: Arc<dyn Clock>) -> Result<Keyring, StateError> {
    match open(state, Arc::clone(&clock)).await {
        Ok(store) => {
            // Made, when there is none yet.
            signing_keys(&store, KeyUse::Internal, clock.now()).await?;
            Ok(store.engine_keys().await?)
        }
        Err(StateError::Store(StoreError::InUse { .. })) => {
            let database = state.directory.join(DATABASE);
            let sealer = Sealer::new(master_key(state, &database)?);
            Ok(SqliteStore::peek_engine_keys(database, &sealer).await?)
        }
        Err(error) => Err(error),
    }
}

fn master_key(state: &State, database: &Path) -> Result<MasterKey, StateError> {
    if let Some(text) = &state.master_key_value {
        return Ok(MasterKey::from_text(text.expose_secret())?);
    }
    let path = state.directory.join(MASTER_KEY);
    // A new key would open nothing that is there already, and would look as if all was lost.
    if database.exists() && !path.exists() {
        return Err(StateError::KeyLost { path: database.to_owned() });
    }
    Ok(MasterKey::load_or_create(&path)?)
}

fn make_directory(path: &Path) -> Result<(), StateError> {
    let failed = |source| StateError::Directory { path: path.to_owned(), source };
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
        }
        Err(source) => Err(failed(source)),
    }
}
