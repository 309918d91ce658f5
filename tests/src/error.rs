//! What goes wrong with a cluster, in words a person can act on.

use std::fmt;

/// A message, with the tail of the server's log in it where that helps.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Error(message.into())
    }

    /// For `map_err`: `context` says what was being done.
    pub(crate) fn while_doing<E: fmt::Display>(
        context: impl fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |error| Error(format!("{context}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As `Display`, so that an `unwrap` in a test shows the log's lines as lines.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
