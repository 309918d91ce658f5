//! What the version before stored otherwise, and what becomes of it. Types that are not named here are laid out as they
//! were. With each new version this file is written anew, and `tests/states/` shows what it has to read.
//!
//! Version 3 knew counts only: in place of each [`Model`] stood the [`Series`] that it is made of now.

use serde::Deserialize;

use super::{read, State, StateError};
use crate::family::Model;
use crate::ground::Ground;
use crate::series::Series;
use crate::volume::Volume;

impl State for Model {
    fn is_sound(&self) -> bool {
        Model::is_sound(self)
    }

    fn from_previous(fields: &[u8]) -> Result<Model, StateError> {
        read(fields).map(Model::of_counts)
    }
}

/// The ground, with counts only.
#[derive(Deserialize)]
struct CountedGround {
    total: Series,
    blank: Series,
    sealed: i64,
    absent: u32,
    spare: u32,
    volume: Volume,
}

impl State for Ground {
    fn is_sound(&self) -> bool {
        self.total.is_sound() && self.blank.is_sound() && self.volume.is_finite()
    }

    fn from_previous(fields: &[u8]) -> Result<Ground, StateError> {
        let before: CountedGround = read(fields)?;
        Ok(Ground {
            total: Model::of_counts(before.total),
            blank: Model::of_counts(before.blank),
            sealed: before.sealed,
            absent: before.absent,
            spare: before.spare,
            volume: before.volume,
        })
    }
}
