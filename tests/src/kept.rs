//! A cluster that outlived the process that made it, and how the next process finds it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::{poll_until, postmaster, Error};

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What [`Cluster::keep_running`](crate::Cluster::keep_running) leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(crate) pid: i32,
    pub(crate) port: u16,
    pub(crate) home: PathBuf,
    pub(crate) socket_dir: PathBuf,
    pub(crate) programs: PathBuf,
}

impl Kept {
    /// Writes it down, one value a line.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let Kept {
            pid,
            port,
            home,
            socket_dir,
            programs,
        } = self;
        let text = format!(
            "{pid}\n{port}\n{}\n{}\n{}\n",
            home.display(),
            socket_dir.display(),
            programs.display()
        );
        fs::write(path, text).map_err(Error::while_doing(format!(
            "cannot write {}",
            path.display()
        )))
    }

    /// Reads what [`Kept::save`] wrote; `None` if there is no such file.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(path).map_err(Error::while_doing(format!(
            "cannot read {}",
            path.display()
        )))?;
        Self::parse(&text)
            .map(Some)
            .ok_or_else(|| Error::new(format!("{} is damaged", path.display())))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        Some(Kept {
            pid: lines.next()?.parse().ok()?,
            port: lines.next()?.parse().ok()?,
            home: lines.next()?.into(),
            socket_dir: lines.next()?.into(),
            programs: lines.next()?.into(),
        })
    }

    /// A client program aimed at it.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command
            .env("PGHOST", &self.socket_dir)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres");
        command
    }

    /// Whether the process id is still that of this server: the server writes both into `postmaster.pid`.
    pub fn is_running(&self) -> bool {
        let noted = fs::read_to_string(self.home.join("data").join("postmaster.pid"));
        let ours = noted.is_ok_and(|text| text.lines().next() == Some(&self.pid.to_string()));
        ours && postmaster::is_running(self.pid)
    }

    /// Stops it, if it is running, and removes its files.
    pub fn stop(&self) -> Result<(), Error> {
        if self.is_running() {
            postmaster::send(self.pid, Signal::SIGINT);
            poll_until(STOP_TIMEOUT, || {
                (!postmaster::is_running(self.pid)).then_some(())
            })
            .ok_or_else(|| {
                Error::new(format!(
                    "server {} did not stop within {STOP_TIMEOUT:?}",
                    self.pid
                ))
            })?;
        }
        for directory in [&self.home, &self.socket_dir] {
            if directory.exists() {
                fs::remove_dir_all(directory).map_err(Error::while_doing(format!(
                    "cannot remove {}",
                    directory.display()
                )))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded() {
        let kept = Kept {
            pid: 4711,
            port: 5433,
            home: "/a/cluster home".into(),
            socket_dir: "/tmp/pg-1".into(),
            programs: "/a/bin".into(),
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept");
        assert_eq!(Kept::load(&path).unwrap(), None);
        kept.save(&path).unwrap();
        assert_eq!(Kept::load(&path).unwrap(), Some(kept));
        fs::write(&path, "not a number\n").unwrap();
        assert!(Kept::load(&path).is_err());
    }
}
