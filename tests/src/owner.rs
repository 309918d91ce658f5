//! Which operating system user runs the server: PostgreSQL refuses to run as root.

use std::fs;
use std::os::unix::fs::{chown, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{geteuid, User};

use crate::Error;

/// The unprivileged user to step down to, or `None` where the caller already is one.
#[derive(Clone)]
pub(crate) struct Owner(Option<User>);

impl Owner {
    /// `postgres` if there is such a user, else `nobody`, if the caller is root.
    pub(crate) fn find() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Owner(None));
        }
        for name in ["postgres", "nobody"] {
            let found = User::from_name(name)
                .map_err(Error::while_doing(format!("cannot look up user {name}")))?;
            if found.is_some() {
                return Ok(Owner(found));
            }
        }
        Err(Error::new(
            "the server cannot run as root, and there is neither a user postgres nor nobody to run it as",
        ))
    }

    /// Makes `command` run as this user.
    pub(crate) fn run(&self, command: &mut Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }

    /// Hands `path` over to this user.
    pub(crate) fn give(&self, path: &Path) -> Result<(), Error> {
        let Some(user) = &self.0 else {
            return Ok(());
        };
        chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).map_err(Error::while_doing(
            format!("cannot give {} to {}", path.display(), user.name),
        ))
    }

    /// Whether this user can reach what is in `directory`: every directory on the way must let it through.
    pub(crate) fn reaches(&self, directory: &Path) -> bool {
        let Some(user) = &self.0 else {
            return true;
        };
        directory.ancestors().all(|step| {
            let Ok(meta) = fs::metadata(step) else {
                return false;
            };
            let bit = if meta.uid() == user.uid.as_raw() {
                0o100
            } else if meta.gid() == user.gid.as_raw() {
                0o010
            } else {
                0o001
            };
            meta.mode() & bit != 0
        })
    }
}
