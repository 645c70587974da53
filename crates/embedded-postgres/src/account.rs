//! Whom root becomes to run `postgres`, which refuses to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::process;

/// In order of preference. `nobody` owns nothing else and exists nearly everywhere.
const NAMES: [&str; 2] = ["postgres", "nobody"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// For messages.
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account that is to run the programs and own the data; `None`: we are not root and run them as ourselves.
    ///
    /// Data that is there already decides: its owner stays the same when an account `postgres` appears later.
    pub fn for_data(data: &Path) -> Result<Option<Self>> {
        if process::own_uid() != 0 {
            return Ok(None);
        }
        match fs::metadata(data) {
            Ok(found) if found.uid() == 0 => bail!(
                "{} belongs to root, and PostgreSQL refuses to run as root",
                data.display()
            ),
            Ok(found) => Ok(Some(Self {
                name: format!("uid {}", found.uid()),
                uid: found.uid(),
                gid: found.gid(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let accounts =
                    fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
                let account = NAMES.iter().find_map(|name| named(name, &accounts));
                let account = account.context(
                    "PostgreSQL refuses to run as root, and there is no account `postgres` or \
                     `nobody` to run it as",
                )?;
                Ok(Some(account))
            }
            Err(error) => Err(error).with_context(|| format!("cannot look at {}", data.display())),
        }
    }

    /// Fails with the name of the first folder on the way to `folder` that this account may not pass.
    pub fn check_way_to(&self, folder: &Path) -> Result<()> {
        let mut way: Vec<&Path> = folder.ancestors().collect();
        way.reverse();
        for step in way {
            let found =
                fs::metadata(step).with_context(|| format!("cannot look at {}", step.display()))?;
            if !self.may_search(found.uid(), found.gid(), found.mode()) {
                bail!(
                    "PostgreSQL refuses to run as root, so it runs as {}, which may not search {} on the way to {}; \
                     choose another folder, for example below /var/lib",
                    self.name,
                    step.display(),
                    folder.display()
                );
            }
        }
        Ok(())
    }

    fn may_search(&self, owner: u32, group: u32, mode: u32) -> bool {
        let shift = match () {
            () if owner == self.uid => 6,
            () if group == self.gid => 3,
            () => 0,
        };
        mode >> shift & 1 == 1
    }
}

fn named(name: &str, passwd: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[..] {
            [found, _, uid, gid, ..] if found == name => Some(Account {
                name: format!("`{name}`"),
                uid: uid.parse().ok().filter(|uid| *uid != 0)?,
                gid: gid.parse().ok()?,
            }),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nnobody:x:65534:65533:nobody:/:/bin/false\nbad:x:a:b\nzero:x:0:0\n";

    #[test]
    fn an_account_is_read_by_its_exact_name_and_is_never_root() {
        let nobody = named("nobody", PASSWD).unwrap();
        assert_eq!((nobody.uid, nobody.gid), (65534, 65533));
        for name in ["nobod", "bad", "zero", "postgres", ""] {
            assert_eq!(named(name, PASSWD), None, "{name}");
        }
    }

    #[test]
    fn the_first_matching_class_of_rights_decides_who_may_search() {
        let account = Account {
            name: "a".into(),
            uid: 5,
            gid: 6,
        };
        for (owner, group, mode, may) in [
            (5, 0, 0o700, true),
            (5, 0, 0o611, false), // the owner's own bits decide, though others may
            (0, 6, 0o710, true),
            (0, 6, 0o701, false),
            (0, 0, 0o711, true),
            (0, 0, 0o770, false),
        ] {
            assert_eq!(
                account.may_search(owner, group, mode),
                may,
                "{owner} {group} {mode:o}"
            );
        }
    }

    #[test]
    fn a_closed_parent_is_named() {
        let stranger = Account {
            name: "`nobody`".into(),
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
        };
        stranger.check_way_to(Path::new("/usr/bin")).unwrap();
        let base = std::env::temp_dir().join(format!("unread-account-{}", std::process::id()));
        let closed = base.join("closed");
        fs::create_dir_all(closed.join("data")).unwrap();
        fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let error = stranger.check_way_to(&closed.join("data")).unwrap_err();
        fs::remove_dir_all(&base).unwrap();
        assert!(
            error.to_string().contains(&format!(
                "`nobody`, which may not search {}",
                closed.display()
            )),
            "{error}"
        );
    }
}
