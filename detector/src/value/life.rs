//! The life of an incident of values: when it opens, goes on and ends.

use serde::{Deserialize, Serialize};

use crate::incident::{Closing, Event};

use super::governor::Ruling;

/// Longest quiet after which an incident is over, readings: five hours of five minutes, one of minutes.
const QUIET_MOST: f64 = 60.0;
/// Time after which what an incident shows is the new level: eight hours, between so many readings.
const ACCEPTED: f64 = 28_800.0;
const ACCEPTED_LEAST: f64 = 8.0;
const ACCEPTED_MOST: f64 = 480.0;
/// Readings in a row on the other side that end an incident.
const FLIPS: u8 = 3;

/// Readings without an anomaly after which an incident is over.
pub(super) fn quiet_after(apart: u32) -> u32 {
    apart.min(QUIET_MOST as u32)
}

/// Readings after which an incident is accepted as the new level.
fn accepted_after(seconds: f64) -> u32 {
    (ACCEPTED / seconds).clamp(ACCEPTED_LEAST, ACCEPTED_MOST) as u32
}

/// Whether an incident is open, and for how long it has been so.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Life {
    /// Readings since it opened.
    age: u32,
    /// Readings since the latest anomaly.
    quiet: u32,
    /// Side of the open incident, 0 where none is open.
    direction: i8,
    /// Anomalies in a row on the other side.
    flips: u8,
    /// Side of the level that was accepted last, until it has been quiet for as long as ends an
    /// incident; 0 where there is none.
    accepted: i8,
    /// While an incident is open: whether a reading by itself opened it, and whether the last reading was
    /// calm.
    by_itself: u8,
    calm: u8,
    spare: [u8; 3],
}

impl Life {
    pub const NEW: Life = Life {
        age: 0,
        quiet: 0,
        direction: 0,
        flips: 0,
        accepted: 0,
        by_itself: 0,
        calm: 0,
        spare: [0; 3],
    };

    pub fn is_open(&self) -> bool {
        self.direction != 0
    }

    /// Side of the open incident, 0 where none is open.
    pub fn direction(&self) -> i8 {
        self.direction.signum()
    }

    /// Whether an incident may open on a side: none is open, and that side is not the level that was
    /// accepted last.
    pub fn may_open(&self, direction: i8) -> bool {
        !self.is_open() && direction != 0 && !self.is_accepted(direction)
    }

    /// Whether a side is the level that was accepted last.
    pub fn is_accepted(&self, direction: i8) -> bool {
        direction != 0 && direction == self.accepted
    }

    /// Whether the last reading was calm in what opened the incident that is open: the reading itself, or with it all
    /// that is heard.
    pub fn is_calm(&self) -> bool {
        self.calm != 0
    }

    /// Notes what a reading means for the incident that is open once it was observed. `by_itself`: whether by itself it
    /// opened that; `quiet`: whether by itself it is quiet on the incident's side.
    pub fn note(&mut self, event: Event, by_itself: bool, quiet: bool) {
        if event == Event::Opens {
            (self.by_itself, self.calm) = (u8::from(by_itself), 0);
        } else if self.is_open() {
            let calm = quiet && (self.by_itself != 0 || self.quiet > 0);
            self.calm = u8::from(calm);
        }
    }

    /// What a ruling on a reading means: nothing, or that an incident opens or ends with it.
    /// `quiet_after`: readings without an anomaly after which it is over.
    pub fn observe(
        &mut self,
        ruling: Ruling,
        direction: i8,
        quiet_after: u32,
        seconds: f64,
    ) -> Event {
        if !self.is_open() {
            if !ruling.anomalous || !self.may_open(direction) {
                self.observe_accepted(ruling, direction, quiet_after);
                return Event::Nothing;
            }
            *self = Life {
                direction,
                ..Life::NEW
            };
            return Event::Opens;
        }
        self.age = self.age.saturating_add(1);
        if ruling.anomalous {
            self.quiet = 0;
            self.flips = if direction == self.direction {
                0
            } else {
                self.flips.saturating_add(1)
            };
        } else {
            self.quiet = self.quiet.saturating_add(1);
            self.flips = 0;
        }
        let event = if self.quiet >= quiet_after || self.flips >= FLIPS {
            Event::Closes(Closing::Resolved)
        } else if self.age >= accepted_after(seconds) {
            Event::Closes(Closing::Accepted)
        } else {
            return Event::Nothing;
        };
        *self = Life {
            accepted: match event {
                Event::Closes(Closing::Accepted) => self.direction,
                _ => 0,
            },
            ..Life::NEW
        };
        event
    }

    /// What was accepted is not reported again, until it has been quiet for long.
    fn observe_accepted(&mut self, ruling: Ruling, direction: i8, quiet_after: u32) {
        if ruling.anomalous && direction == self.accepted {
            self.quiet = 0;
            return;
        }
        self.quiet = self.quiet.saturating_add(1);
        if self.quiet >= quiet_after {
            *self = Life::NEW;
        }
    }
}
