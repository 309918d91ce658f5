//! What the version before stored otherwise, and what becomes of it. Types that are not named here are laid out as they
//! were. With each new version this file is written anew, and `tests/states/` shows what it has to read.
//!
//! Version 3 knew counts only: in place of each [`Model`] stood the [`Series`] that it is made of now.
//!
//! A series of version 3 had no habits and no jobs, kept more fast levels than anybody looked at and the trends as
//! floats, and the days behind every half hour beside those of each kind of day. Of the others of its monitor it knew the
//! rise over five windows: that is noted anew with each bucket.

use serde::{Deserialize, Serialize};

use super::{read, State, StateError};
use crate::dispersion::Dispersions;
use crate::family::Model;
use crate::ground::Ground;
use crate::habit::Habit;
use crate::hour::Hour;
use crate::incident::{Incident, Watch, REMEMBERED};
use crate::level::Levels;
use crate::series::Series;
use crate::volume::{Others, Volume};
use crate::window::{kept_trend, FAST_LENGTH, LENGTH};

/// Windows of the volume.
const WINDOWS: usize = 5;

#[derive(Serialize, Deserialize)]
struct Means(#[serde(with = "serde_big_array::BigArray")] [f32; 48]);

#[derive(Serialize, Deserialize)]
struct Days(#[serde(with = "serde_big_array::BigArray")] [u8; 48]);

#[derive(Serialize, Deserialize)]
struct Profile {
    mean: Means,
    days: Days,
}

#[derive(Deserialize)]
struct OldSeason {
    logs: [f64; 5],
    every: Profile,
    weekday: Profile,
    weekend: Profile,
    readings: u32,
    kept: [u8; 6],
    last_minute: u16,
    spare: [u8; 4],
}

#[derive(Deserialize)]
struct OldWindows {
    reading: [f32; LENGTH],
    factor: [f32; LENGTH],
    fast: [f32; LENGTH],
    slow: [f32; LENGTH],
    trend: [f32; LENGTH],
}

#[allow(dead_code)]
#[derive(Deserialize)]
struct OldOthers {
    stand: [f32; WINDOWS],
    doubt: [f32; WINDOWS],
    bucket: i64,
}

#[derive(Deserialize)]
struct OldSeries {
    recent: [Incident; REMEMBERED],
    readings: u64,
    last_bucket: i64,
    levels: Levels,
    /// `path`, `factor`, `doubt`, the long means, the run of zeros.
    numbers: [f64; 7],
    dispersions: Dispersions,
    season: OldSeason,
    watch: Watch,
    windows: OldWindows,
    #[allow(dead_code)]
    others: OldOthers,
    now: i64,
    run_length: u32,
    incidents: u32,
    was_known: u8,
    #[allow(dead_code)]
    spare: [u8; 3],
}

impl OldSeries {
    /// The series of today: its fields are private to where they belong, so it is made of its bytes.
    fn renewed(self) -> Result<Series, StateError> {
        let (s, w) = (&self.season, &self.windows);
        let season = (
            s.logs,
            &s.every.mean,
            &s.weekday,
            &s.weekend,
            s.readings,
            s.kept,
            s.last_minute,
            s.spare,
        );
        let mut fast = [0.0_f32; FAST_LENGTH];
        for back in 1..=FAST_LENGTH as u64 {
            let number = self.readings.wrapping_sub(back);
            if back <= self.readings {
                fast[(number % FAST_LENGTH as u64) as usize] =
                    w.fast[(number % LENGTH as u64) as usize];
            }
        }
        let trend = w.trend.map(|t| kept_trend(f64::from(t)));
        let windows = (w.reading, w.factor, fast, w.slow, trend);
        let fields = (
            (&self.recent, self.readings, self.last_bucket),
            (&self.levels, self.numbers, &self.dispersions),
            (season, &self.watch, windows),
            (Others::NEW, Habit::NEW, Hour::NEW),
            (self.now, self.run_length, self.incidents),
            // No width and no minute until the next bucket.
            (self.was_known, 0_u8, 0_u16),
        );
        let bytes = postcard::to_extend(&fields, Vec::new());
        read(&bytes.map_err(|_| StateError::Malformed)?)
    }
}

impl State for Series {
    fn is_sound(&self) -> bool {
        self.is_finite()
    }

    fn from_previous(fields: &[u8]) -> Result<Series, StateError> {
        read::<OldSeries>(fields)?.renewed()
    }
}

#[derive(Deserialize)]
struct OldGround {
    total: OldSeries,
    blank: OldSeries,
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
            total: Model::of_counts(old.total.renewed()?),
            blank: Model::of_counts(old.blank.renewed()?),
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
        Ok(Model::of_counts(read::<OldSeries>(fields)?.renewed()?))
    }
}
