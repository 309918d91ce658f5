//! What the version before stored otherwise, and what becomes of it. Types that are not named here are laid out as they
//! were. With each new version this file is written anew, and `tests/states/` shows what it has to read.
//!
//! A series of version 4 kept the factor of its season and the run of zeros as doubles; it had no witness, which is called
//! when it is needed; and its habits did not know how great a surprise had been.

use serde::{Deserialize, Serialize};

use super::{read, State, StateError};
use crate::dispersion::Dispersions;
use crate::family::Model;
use crate::ground::Ground;
use crate::hour::Hour;
use crate::incident::{Incident, Watch, REMEMBERED};
use crate::level::Levels;
use crate::series::Series;
use crate::value::Values;
use crate::volume::{Others, Volume};
use crate::window::Windows;
use crate::witness::Witness;

#[derive(Serialize, Deserialize)]
struct Means(#[serde(with = "serde_big_array::BigArray")] [f32; 48]);

#[derive(Serialize, Deserialize)]
struct Profile {
    mean: Means,
    #[serde(with = "serde_big_array::BigArray")]
    days: [u8; 48],
}

#[derive(Deserialize)]
struct OldSeason {
    logs: [f64; 5],
    every: Means,
    of_kind: [Profile; 2],
    readings: u32,
    kept: [u8; 6],
    last_minute: u16,
    claim: u8,
    #[allow(dead_code)]
    spare: [u8; 3],
}

/// A surprise of 200 decades, as habits keep it.
const GREATEST: u8 = 92;

#[derive(Deserialize)]
struct OldHabit {
    sides: [[([u8; 7], u8); 2]; 2],
    since: [[u16; 2]; 2],
    age: u16,
    #[allow(dead_code)]
    spare: [u8; 6],
}

#[derive(Deserialize)]
struct OldSeries {
    recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    levels: Levels,
    path: f64,
    #[allow(dead_code)]
    factor: f64,
    /// The doubt and the long means.
    numbers: [f64; 3],
    run: [f64; 2],
    dispersions: Dispersions,
    season: OldSeason,
    watch: Watch,
    windows: Windows,
    others: Others,
    habit: OldHabit,
    hour: Hour,
    now: i64,
    run_length: u32,
    incidents: u32,
    was_known: u8,
    width: u8,
    minute: u16,
}

/// Fields of today in their order, as far as they are laid out otherwise: the types are private to where they belong, so
/// a state is made of its bytes.
type Season<'a> = (
    ([f64; 5], [f32; 2], &'a Means, &'a [Profile; 2]),
    (u32, [u8; 6], u16, u8),
    [u8; 3],
);

impl OldSeason {
    fn renewed(&self) -> Season<'_> {
        (
            (self.logs, [0.0; 2], &self.every, &self.of_kind),
            (self.readings, self.kept, self.last_minute, self.claim),
            // No witness, and a kind of day that has long begun.
            [0, u8::MAX, 0],
        )
    }
}

impl OldSeries {
    /// The bytes of the series of today.
    fn renewed(&self) -> Result<Vec<u8>, StateError> {
        let habit = &self.habit;
        // What was met is taken to have been as great as can be told: it fades.
        let sides = habit
            .sides
            .map(|views| views.map(|(occasions, reached)| (occasions, reached, GREATEST)));
        let fields = (
            (&self.recent, self.readings, self.last_bucket),
            (&self.levels, self.path, self.numbers),
            self.run.map(|of_run| of_run as f32),
            (&self.dispersions, self.season.renewed(), Witness::NONE),
            (&self.watch, &self.windows, &self.others),
            (sides, habit.since, habit.age, [0_u8; 2]),
            (&self.hour, self.now, self.run_length, self.incidents),
            (self.was_known, self.width, self.minute),
        );
        bytes_of(&fields)
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
