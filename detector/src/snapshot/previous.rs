//! What the version before stored otherwise, and what becomes of it. Types that are not named here are laid out as they
//! were. With each new version this file is written anew, and `tests/states/` shows what it has to read.
//!
//! Version 2 had no [`Lifecycle`]. In its place stood the watch over fixed limits, a part of what is heard today.

use serde::Deserialize;

use super::{read, State, StateError};
use crate::incident::{Incident, REMEMBERED};
use crate::lifecycle::Lifecycle;

/// The watch over fixed limits.
#[allow(dead_code)]
#[derive(Deserialize)]
struct LimitWatch {
    recent: [Incident; REMEMBERED],
    incidents: u32,
    quiet: u32,
}

impl State for Lifecycle {
    fn is_sound(&self) -> bool {
        self.is_finite()
    }

    /// One that has heard nothing: what was told by the rules of before says nothing of what they are now. What goes on
    /// is opened again after k of n readings.
    fn from_previous(fields: &[u8]) -> Result<Lifecycle, StateError> {
        read::<LimitWatch>(fields).map(|_| Lifecycle::new())
    }
}
