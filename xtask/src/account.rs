//! Who the real parts run as. OpenSearch refuses to run as root: started by root, it runs as the user behind
//! `sudo`, or as an unprivileged user that every system has.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, bail};

/// An unprivileged user of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, for messages.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Account {
    /// The account to run a part as; `None` where we are not root and run it as ourselves.
    pub fn for_parts() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let number =
            |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok()).filter(|id| *id != 0);
        if let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) {
            let name = std::env::var("SUDO_USER").unwrap_or_else(|_| uid.to_string());
            return Ok(Some(Self { name, uid, gid }));
        }
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        match ["opensearch", "nobody", "daemon"].iter().find_map(|name| in_passwd(&users, name)) {
            Some(account) => Ok(Some(account)),
            None => bail!(
                "OpenSearch does not run as root and no unprivileged user was found: run this command as an ordinary user"
            ),
        }
    }

    /// Whether the account may reach `path` through all the folders above it and, for a folder, enter it.
    pub fn can_enter(&self, path: &Path) -> bool {
        path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()).all(|folder| match folder.metadata() {
            Err(_) => true,
            Ok(found) => {
                let bit = if found.uid() == self.uid {
                    0o100
                } else if found.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                found.mode() & bit != 0
            }
        })
    }
}

fn in_passwd(users: &str, name: &str) -> Option<Account> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    (uid != 0).then(|| Account { name: name.to_owned(), uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn accounts_are_read_and_root_is_never_one() {
        let users =
            "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nfake:x:0:5::/:/\n";
        let nobody = Account { name: "nobody".into(), uid: 65534, gid: 65534 };
        assert_eq!(in_passwd(users, "nobody"), Some(nobody));
        assert_eq!(in_passwd(users, "fake"), None);
        assert_eq!(in_passwd(users, "nobo"), None);
    }

    #[test]
    fn a_private_folder_above_cannot_be_entered() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let stranger = Account { name: "stranger".into(), uid: 4_000_000, gid: 4_000_000 };
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        assert!(stranger.can_enter(&inner) || !stranger.can_enter(folder.path()));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.can_enter(&inner));
    }
}
