//! What the version before stored otherwise, and what becomes of it. Types that are not named here are laid out as they
//! were. With each new version this file is written anew, and `tests/states/` shows what it has to read.
//!
//! A series of version 5 did not know whether what it counts comes in groups.

use serde::{Deserialize, Serialize};

use super::{read, State, StateError};
use crate::clump::Clumps;
use crate::dispersion::Dispersions;
use crate::family::Model;
use crate::ground::Ground;
use crate::habit::Habit;
use crate::hour::Hour;
use crate::incident::{Incident, Watch, REMEMBERED};
use crate::level::Levels;
use crate::season::Season;
use crate::series::Series;
use crate::value::Values;
use crate::volume::{Others, Volume};
use crate::window::Windows;
use crate::witness::Witness;

#[derive(Serialize, Deserialize)]
struct OldSeries {
    recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    levels: Levels,
    /// The path, the doubt and the long means.
    numbers: [f64; 4],
    run: [f32; 2],
    dispersions: Dispersions,
    season: Season,
    witness: Witness,
    watch: Watch,
    windows: Windows,
    others: Others,
    habit: Habit,
    hour: Hour,
    now: i64,
    run_length: u32,
    incidents: u32,
    was_known: u8,
    width: u8,
    minute: u16,
}

impl OldSeries {
    /// The bytes of the series of today: what is new comes last.
    fn renewed(&self) -> Result<Vec<u8>, StateError> {
        bytes_of(&(self, Clumps::NEW))
    }
}

fn bytes_of(fields: &impl Serialize) -> Result<Vec<u8>, StateError> {
    postcard::to_extend(fields, Vec::new()).map_err(|_| StateError::Malformed)
}

/// What a series knows of its kind of numbers, as it was and is.
type Chooser = (u32, u16, [f32; 5], u16, u8, u8);

#[derive(Deserialize)]
#[allow(clippy::large_enum_variant)]
enum OldState {
    Counts(OldSeries),
    Values(Values),
}

#[derive(Deserialize)]
struct OldModel {
    chooser: Chooser,
    state: OldState,
}

impl OldModel {
    fn renewed(&self) -> Result<Model, StateError> {
        let (variant, state) = match &self.state {
            OldState::Counts(series) => (0_u32, series.renewed()?),
            OldState::Values(values) => (1, bytes_of(values)?),
        };
        let mut bytes = bytes_of(&(self.chooser, variant))?;
        bytes.extend(state);
        read(&bytes)
    }
}

impl State for Series {
    fn is_sound(&self) -> bool {
        self.is_finite()
    }

    fn from_previous(fields: &[u8]) -> Result<Series, StateError> {
        read(&read::<OldSeries>(fields)?.renewed()?)
    }
}

#[derive(Deserialize)]
struct OldGround {
    total: OldModel,
    blank: OldModel,
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
        let old: OldGround = read(fields)?;
        Ok(Ground {
            total: old.total.renewed()?,
            blank: old.blank.renewed()?,
            sealed: old.sealed,
            absent: old.absent,
            spare: old.spare,
            volume: old.volume,
        })
    }
}

impl State for Model {
    fn is_sound(&self) -> bool {
        Model::is_sound(self)
    }

    fn from_previous(fields: &[u8]) -> Result<Model, StateError> {
        read::<OldModel>(fields)?.renewed()
    }
}
