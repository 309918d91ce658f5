//! A monitor of the examples: series by name, with their ground, folded minute by minute.

use std::collections::BTreeMap;

use detector::{Ground, Model, Moment, Pace};
use sample::calendar::{weekday, DAY};

const PACE: Pace = Pace { minutes: 1.0 };

/// Series by name, with what belongs to none of them.
pub struct Monitor<'a> {
    pub ground: Ground,
    pub series: BTreeMap<&'a str, Model>,
    /// Whether each is judged beside the others.
    pub beside: bool,
}

impl<'a> Monitor<'a> {
    pub fn new() -> Monitor<'a> {
        Monitor {
            ground: Ground::new(),
            series: BTreeMap::new(),
            beside: true,
        }
    }

    /// Folds one minute (since 1970) with its counts; shows each series that has a reading.
    pub fn fold(
        &mut self,
        minute: i64,
        rows: &BTreeMap<&'a str, f64>,
        mut show: impl FnMut(&'a str, &Model),
    ) {
        let at = Moment {
            bucket: minute,
            minute: minute.rem_euclid(DAY) as u16,
            weekend: weekday(minute) >= 5,
        };
        for name in rows.keys() {
            self.series.entry(name).or_insert(self.ground.blank);
        }
        let sealing = self
            .ground
            .seal(at, !rows.is_empty(), rows.values().sum(), PACE);
        for (name, state) in &mut self.series {
            let reading = rows.get(name).copied().or(sealing.counted.then_some(0.0));
            if let Some(x) = reading {
                state.step(x, at, PACE);
                show(name, state);
            }
        }
        self.ground.close(at, &sealing, PACE);
        if sealing.counted && self.beside {
            let volume = self
                .ground
                .carry(self.series.values().map(Model::part).sum());
            for state in self.series.values_mut() {
                state.note_volume(&volume);
            }
        }
    }
}
