//! One cluster for all the tests of a test binary.

use std::ops::Deref;
use std::sync::OnceLock;

use nix::libc;

use crate::Cluster;

static SHARED: OnceLock<Cluster> = OnceLock::new();

/// The shared cluster, in the hands of one test. If that test fails, the end of the server's log is printed.
pub struct SharedCluster(&'static Cluster);

impl Cluster {
    /// The cluster that all tests of this binary share; each makes a database of its own in it, and
    /// none stops or kills it.
    ///
    /// It is started by the first that asks, and stopped when the process exits.
    #[track_caller]
    pub fn shared() -> SharedCluster {
        SharedCluster(SHARED.get_or_init(|| {
            let cluster = Cluster::start();
            // SAFETY: registers a function without arguments that does not unwind.
            unsafe { libc::atexit(stop_at_exit) };
            cluster
        }))
    }
}

/// Statics are never dropped, so this does what `Drop` would.
extern "C" fn stop_at_exit() {
    if let Some(cluster) = SHARED.get() {
        cluster.tear_down();
    }
}

impl Deref for SharedCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0
    }
}

impl Drop for SharedCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the shared server's log ends with:\n{}", self.log_tail());
        }
    }
}
