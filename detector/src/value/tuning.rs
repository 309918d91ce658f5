//! The constants of the value family, in one place.

/// What is fixed for every series of values.
///
/// There is one set, [`Tuning::SHIPPED`]. That it is a struct is for the benchmark, which perturbs
/// it; how far each number can be moved before anything is lost stands in `bench/RESULTS.md`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Governed surprise, decades, from which a reading is not normal.
    pub open: f64,
    /// Readings before a series of values is judged.
    pub warm: f64,
    /// Horizon of the level, readings.
    pub level: f64,
    /// Horizon of the short means, seconds: from one reading up to [`Tuning::short_most`].
    pub short: f64,
    /// Most readings of a short mean: well below the level's, or they would be the same.
    pub short_most: f64,
    /// Horizon of the typical size of a residual, readings.
    pub scale: f64,
    /// Levels and hours learn a residual of at most this many typical deviations.
    pub clip: f64,
    /// Readings by which an hour of a kind of day is drawn to that hour of any day, and that to the
    /// slow mean.
    pub shrink: f64,
    /// Rate from which an hour follows.
    pub hour_rate: f64,
    /// Degrees of freedom of the severity's tail.
    pub freedom: f64,
    /// Weight of severity beside rarity, 0 to 1.
    pub severity: f64,
    /// Decades of rarity, in an exponential law, that a size is learned as, at most.
    pub learned: f64,
    /// Surprise, decades, from which a size is looked up and remembered.
    pub memorable: f64,
    /// What the reading itself gives away to the short means, in decades per decade of readings
    /// they hold: there are so many more of it to be wrong in.
    pub handicap: f64,
    /// Share of the quieter of both short means.
    pub quieter: f64,
    /// What the drift gives away, decades: it is there for what the others cannot see.
    pub drift: f64,
    /// Time without an anomaly after which one is a new one, seconds.
    pub apart: f64,
    /// Decades the governor takes off per decade of alerts it remembers.
    pub governor: f64,
    /// Readings that the governor remembers, at five minutes a reading.
    pub governor_memory: f64,
}

impl Tuning {
    /// The constants that ship.
    pub const SHIPPED: Tuning = Tuning {
        open: 2.1,
        warm: 50.0,
        level: 80.0,
        short: 2400.0,
        short_most: 32.0,
        scale: 2000.0,
        clip: 15.0,
        shrink: 3.0,
        hour_rate: 0.015,
        freedom: 6.0,
        severity: 0.5,
        learned: 5.0,
        memorable: 1.5,
        handicap: 0.5,
        quieter: 0.25,
        drift: 2.2,
        apart: 18_000.0,
        governor: 1.5,
        governor_memory: 4000.0,
    };
}
