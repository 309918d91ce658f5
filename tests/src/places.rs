//! Where the server's programs are, and where clusters may live.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::owner::Owner;
use crate::Error;

/// `make server-tree` leaves this file in the tree's root; it holds the programs' directory inside the tree.
const TREE_MARK: &str = "BINDIR";

/// The directory of `postgres`, `initdb`, `psql` and the others that `owner` can run.
///
/// Where the checkout lies behind a directory that `owner` may not enter, the tree is copied to `spare`.
pub(crate) fn server_programs(owner: &Owner, spare: &Path) -> Result<PathBuf, Error> {
    let bin = match env::var_os("TESTBED_BIN") {
        Some(bin) => PathBuf::from(bin),
        None => programs_in(&target_directory().join("server-tree"))?,
    };
    if !bin.join("postgres").is_file() {
        return Err(Error::new(format!(
            "there is no server to test with: {} is missing; run \"make test\", or \"make server-tree\" once",
            bin.join("postgres").display()
        )));
    }
    if owner.reaches(&bin) {
        return Ok(bin);
    }
    let tree = bin
        .ancestors()
        .find(|directory| directory.join(TREE_MARK).is_file())
        .ok_or_else(|| {
            Error::new(format!(
                "{} cannot be entered by the user that runs the server",
                bin.display()
            ))
        })?;
    copy_tree(tree, spare)?;
    programs_in(spare)
}

/// The programs' directory in the tree at `root`.
fn programs_in(root: &Path) -> Result<PathBuf, Error> {
    let mark = root.join(TREE_MARK);
    let inside = fs::read_to_string(&mark).map_err(Error::while_doing(format!(
        "there is no server to test with; run \"make test\", or \"make server-tree\" once ({})",
        mark.display()
    )))?;
    Ok(root.join(inside.trim().trim_start_matches('/')))
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), Error> {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .map_err(Error::while_doing("cannot run cp"))?;
    if copied.success() {
        Ok(())
    } else {
        Err(Error::new(format!(
            "cannot copy {} to {}",
            from.display(),
            to.display()
        )))
    }
}

/// The directory in which clusters are made, `$TESTBED_DIR` or `target/testbed`; the system's temporary
/// directory where `owner` cannot reach those.
pub(crate) fn clusters_directory(owner: &Owner) -> Result<PathBuf, Error> {
    let wanted = match env::var_os("TESTBED_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => target_directory().join("testbed"),
    };
    let made = fs::create_dir_all(&wanted).and_then(|()| wanted.canonicalize());
    let wanted = made.map_err(Error::while_doing(format!(
        "cannot make {}",
        wanted.display()
    )))?;
    if owner.reaches(&wanted) {
        Ok(wanted)
    } else {
        Ok(env::temp_dir())
    }
}

/// Cargo's target directory of this workspace.
pub fn target_directory() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    match env::var_os("CARGO_TARGET_DIR") {
        // Relative to where cargo was started, and it starts tests in the package's own directory.
        Some(directory) => workspace.join(directory),
        None => workspace.join("target"),
    }
}
