//! A folder of public keys, each of which makes its owner a client.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::backend::BackendUser;
use crate::clients::{ClientConfig, ClientKind};
use crate::problem::Problems;
use crate::units::Span;

/// The longest file that is read, in bytes: a public key of 8192 bits takes a tenth of it.
const MAX_FILE: u64 = 16 * 1024;
/// The most keys of a folder.
const MAX_KEYS: usize = 1_000;

/// Public keys of people who work with the gateway. The file `ada.pem` (PEM, `-----BEGIN PUBLIC KEY-----`) makes a client `ada`, who
/// signs an assertion with the private half to get a token (`private_key_jwt`). The folder is read again by a reload.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeveloperKeys {
    /// The folder. Files that do not end in `.pem` are left alone. Only their owner may be able to write the others.
    pub directory: PathBuf,

    /// The scopes each of them may ask for.
    pub scopes: Vec<String>,

    /// What they are to policies: `machine` (Cedar type `Client`) or `agent` (`Agent`).
    #[serde(default)]
    pub kind: ClientKind,

    /// Groups for Cedar: `principal in Group::"developers"`.
    #[serde(default)]
    pub groups: BTreeSet<String>,

    /// How long their tokens are valid. Default: `tokens.lifetime`.
    #[serde(default)]
    pub token_lifetime: Option<Span>,

    /// The namespace they are in.
    #[serde(default)]
    pub namespace: Option<String>,

    /// With `driver: basic`: the user of the cluster as which their requests are sent.
    #[serde(default)]
    pub backend_user: Option<BackendUser>,
}

impl DeveloperKeys {
    /// The clients that the folder makes, by their names.
    pub(crate) fn clients(&self, base: &Path, problems: &mut Problems) -> Vec<ClientConfig> {
        let folder = base.join(&self.directory);
        match self.read(&folder, problems) {
            Ok(clients) => clients,
            Err(error) => {
                problems.add("developer_keys.directory", format!("cannot read `{}`: {error}", folder.display()));
                Vec::new()
            }
        }
    }

    fn read(&self, folder: &Path, problems: &mut Problems) -> std::io::Result<Vec<ClientConfig>> {
        let owner = fs::metadata(folder)?.uid();
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            // A name that begins with a dot is the work of a tool: mounted volumes have such.
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !is_hidden && path.extension().is_some_and(|extension| extension == "pem") {
                paths.push(path);
            }
        }
        if paths.len() > MAX_KEYS {
            problems.add("developer_keys.directory", format!("holds more than {MAX_KEYS} keys"));
            paths.clear();
        }
        paths.sort_unstable();
        let mut clients = Vec::new();
        for path in paths {
            match self.client(&path, owner) {
                Ok(client) => clients.push(client),
                Err(sentence) => {
                    problems.add(
                        format!("developer_keys.directory: `{}`", path.display().to_string().escape_debug()),
                        sentence,
                    );
                }
            }
        }
        Ok(clients)
    }

    fn client(&self, path: &Path, owner: u32) -> Result<ClientConfig, String> {
        let id = path.file_stem().and_then(|stem| stem.to_str()).ok_or("the name of the file is not a name")?;
        // Looked at by the name that is read, so that a link is what it leads to.
        let found = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
        check_file(&found, owner)?;
        let pem = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
        Ok(ClientConfig {
            id: id.to_owned(),
            kind: self.kind,
            public_key: Some(pem),
            scopes: self.scopes.clone(),
            groups: self.groups.clone(),
            token_lifetime: self.token_lifetime,
            namespace: self.namespace.clone(),
            backend_user: self.backend_user.clone(),
            ..ClientConfig::default()
        })
    }
}

/// Whoever can write a key is a client.
fn check_file(found: &Metadata, owner: u32) -> Result<(), String> {
    if !found.is_file() || found.len() > MAX_FILE {
        return Err(format!("is not a file of at most {MAX_FILE} bytes"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(
            "can be written by others than its owner, who could make themselves a client; run `chmod go-w` on it"
                .to_owned(),
        );
    }
    if found.uid() != owner && found.uid() != 0 {
        return Err("belongs neither to the owner of the folder nor to root; whoever put it there could make themselves a client".to_owned());
    }
    Ok(())
}
