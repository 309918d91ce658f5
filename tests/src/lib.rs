//! A throw-away PostgreSQL cluster, and what a test needs to talk to it as a client does.
//!
//! ```no_run
//! let cluster = testbed::Cluster::start();
//! let mut client = cluster.connect();
//! client.batch_execute("CREATE EXTENSION cloudwalk_monitor").unwrap();
//! ```
//!
//! | variable | meaning |
//! |---|---|
//! | `TESTBED_BIN` | the server's programs; default: those that `make server-tree` laid out under `target/server-tree` |
//! | `TESTBED_DIR` | where clusters live; default: `target/testbed` |
//! | `TESTBED_KEEP` | if set, a stopped cluster's files stay, and its place is printed |
//! | `TESTBED_SECONDS` | how long the tests of concurrency keep up a load; default: 6 |
//! | `TESTBED_ROUNDS` | how often the test of crashes kills a process; default: 5 |
//! | `TESTBED_SEED` | what the tests that leave something to chance start from; they print it |

mod choices;
mod cluster;
mod error;
mod kept;
mod listener;
pub mod monitored;
mod owner;
mod places;
mod poll;
mod postmaster;
mod proxy;
mod receiver;
mod shared;
mod tools;

pub use choices::Choices;
pub use cluster::{Cluster, Options};
pub use error::Error;
pub use kept::Kept;
pub use listener::{Listener, Notice};
pub use monitored::Monitored;
pub use places::target_directory;
pub use poll::{eventually, poll_until};
pub use proxy::Proxy;
pub use receiver::{Post, Receiver};
pub use shared::SharedCluster;
pub use tools::ToolOutput;
