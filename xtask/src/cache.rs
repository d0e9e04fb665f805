//! The folder outside the clone where downloaded packages live: `$OAUTH4OS_CACHE`, else
//! `$XDG_CACHE_HOME/oauth4os`, else `~/.cache/oauth4os`. A file is in it under its final name only when it was
//! complete and had the pinned sum, and the sum is checked again at each use.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::files;

/// The cache folder.
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Opens it, creating the folder where it is missing.
    pub fn open() -> Result<Self> {
        let root = root_folder()?;
        std::fs::create_dir_all(root.join("parts")).with_context(|| {
            format!(
                "the cache folder {} cannot be created: set OAUTH4OS_CACHE to a folder you may write",
                root.display()
            )
        })?;
        Ok(Self { root })
    }

    /// The file of this name if it is there and has this sum; a broken one is deleted.
    pub fn verified(&self, name: &str, sha256: &str) -> Result<Option<PathBuf>> {
        let path = self.part(name);
        if !path.exists() {
            return Ok(None);
        }
        if files_sum(&path)? == sha256 {
            return Ok(Some(path));
        }
        crate::progress::say(&format!("{name} in the cache is broken: it is fetched again"));
        std::fs::remove_file(&path).with_context(|| format!("{} is broken and cannot be deleted", path.display()))?;
        Ok(None)
    }

    /// Takes a downloaded file into the cache if it has the pinned sum.
    pub fn adopt(&self, downloaded: &Path, name: &str, sha256: &str) -> Result<PathBuf> {
        let sum = files_sum(downloaded)?;
        if sum != sha256 {
            bail!(
                "{name} does not have the pinned SHA-256 (it has {sum}): the download is broken or the package was changed; do not use it"
            );
        }
        let path = self.part(name);
        std::fs::rename(downloaded, &path)
            .with_context(|| format!("{} cannot be moved into the cache", downloaded.display()))?;
        Ok(path)
    }

    /// A folder inside the cache for a download, emptied; on the same file system, so that adopting is a rename.
    /// To be used while holding the lock; what failed leaves its log there until the next one.
    pub fn download_folder(&self, purpose: &str) -> Result<PathBuf> {
        let folder = self.root.join("incoming").join(purpose);
        files::empty_folder(&folder)?;
        Ok(folder)
    }

    /// Holds the cache for one process at a time; the lock ends with the returned file.
    pub fn lock(&self) -> Result<File> {
        files::lock(&self.root.join("lock"), "another `cargo xtask` is downloading")
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where tools built for the checks are installed.
    pub fn tools(&self) -> PathBuf {
        self.root.join("tools")
    }

    fn part(&self, name: &str) -> PathBuf {
        self.root.join("parts").join(name)
    }
}

/// The SHA-256 of a file in lower-case hex.
pub fn files_sum(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(|| format!("{} cannot be read", path.display()))?;
        match buffer.get(..read) {
            Some(chunk) if !chunk.is_empty() => hash.update(chunk),
            _ => break,
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn root_folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("OAUTH4OS_CACHE") {
        return Ok(folder);
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(folder.join("oauth4os"));
    }
    match set("HOME") {
        Some(home) => Ok(home.join(".cache/oauth4os")),
        None => bail!("there is no folder to cache downloads in: set OAUTH4OS_CACHE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("parts")).unwrap();
        let cache = Cache { root: folder.path().to_owned() };
        (folder, cache)
    }

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_part_is_adopted_only_with_its_sum_and_verified_at_each_use() {
        let (_folder, cache) = cache();
        let incoming = cache.download_folder("test").unwrap().join("x");
        std::fs::write(&incoming, "abd").unwrap();
        assert!(cache.adopt(&incoming, "x", ABC).is_err());
        assert_eq!(cache.verified("x", ABC).unwrap(), None);

        std::fs::write(&incoming, "abc").unwrap();
        let path = cache.adopt(&incoming, "x", ABC).unwrap();
        assert_eq!(cache.verified("x", ABC).unwrap().as_ref(), Some(&path));

        std::fs::write(&path, "ab").unwrap();
        assert_eq!(cache.verified("x", ABC).unwrap(), None);
        assert!(!path.exists(), "the broken file is gone");
    }
}
