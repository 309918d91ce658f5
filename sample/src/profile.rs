//! What is normal: how many transactions of each status a minute has, by the hour and the day of the week.

use std::f64::consts::TAU;

use crate::calendar::{weekday, DAY};

/// The statuses, in the order in which a minute's rows come.
pub const STATUSES: [&str; 7] = [
    "approved",
    "denied",
    "failed",
    "reversed",
    "backend_reversed",
    "refunded",
    "processing",
];

/// The mean of a minute on a weekday, by status, for [`Profile::Busy`].
const MEANS: [f64; STATUSES.len()] = [110.0, 6.0, 0.02, 0.8, 0.01, 1.0, 0.03];

/// The hour (UTC) at which a day is busiest.
const PEAK_HOUR: f64 = 15.0;

/// How the change between weekday and weekend is spread around midnight, in minutes to each side.
const BLEND: i64 = 30;

/// How much goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// About 115 transactions a minute over the day; the night has a seventh of the afternoon.
    #[default]
    Busy,
    /// About 8 a minute over the day, and less than one in the dead of night: some minutes have no row at all.
    Quiet,
    /// Customers of one time zone: about 45 a minute over the day, 170 in the afternoon, and one in the dead of
    /// night, where some minutes have no row.
    Local,
}

impl Profile {
    /// The mean count of the status `STATUSES[status]` in `minute`, before noise and incidents.
    pub(crate) fn rate(self, status: usize, minute: i64) -> f64 {
        let weekend = weekend_share(minute);
        let week = 1.0 - weekend * (1.0 - self.weekend());
        MEANS[status] * self.volume() * self.daily_curve(minute) * week
    }

    /// Share of [`Profile::Busy`]'s counts.
    fn volume(self) -> f64 {
        match self {
            Profile::Busy => 1.0,
            Profile::Quiet => 0.07,
            Profile::Local => 0.4,
        }
    }

    /// Half the logarithm of the afternoon's rate over the night's.
    fn swing(self) -> f64 {
        match self {
            Profile::Busy => 1.0,
            Profile::Quiet => 1.5,
            Profile::Local => 2.5,
        }
    }

    /// A weekend's rates over a weekday's.
    fn weekend(self) -> f64 {
        match self {
            Profile::Busy => 0.7,
            Profile::Quiet => 0.8,
            Profile::Local => 0.8,
        }
    }

    /// exp(a cos), which has the mean I₀(a) over a day (the modified Bessel function), so divided by that.
    fn daily_curve(self, minute: i64) -> f64 {
        let hour = minute.rem_euclid(DAY) as f64 / 60.0;
        let swing = self.swing();
        (swing * (TAU * (hour - PEAK_HOUR) / 24.0).cos()).exp() / bessel_i0(swing)
    }
}

/// 1 on Saturday and Sunday, 0 on other days, and a straight line from one to the other around midnight.
fn weekend_share(minute: i64) -> f64 {
    let share = |minute| if weekday(minute) >= 5 { 1.0 } else { 0.0 };
    let to_midnight = (minute + DAY / 2).rem_euclid(DAY) - DAY / 2;
    if to_midnight.abs() >= BLEND {
        return share(minute);
    }
    let (before, after) = (share(minute - BLEND), share(minute + BLEND));
    let way = (to_midnight + BLEND) as f64 / (2 * BLEND) as f64;
    before + (after - before) * way
}

/// I₀(x) = Σ (x²/4)ᵏ / k!², which for x ≤ 3 is exact to a double after 16 terms.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..=16 {
        term *= x * x / 4.0 / f64::from(k * k);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: i64 = 20_283 * DAY;

    fn mean(profile: Profile, status: usize, from: i64) -> f64 {
        let sum: f64 = (from..from + DAY).map(|m| profile.rate(status, m)).sum();
        sum / DAY as f64
    }

    #[test]
    fn a_weekday_has_the_stated_means() {
        let tuesday = MONDAY + DAY;
        for (status, expected) in MEANS.iter().enumerate() {
            let found = mean(Profile::Busy, status, tuesday);
            assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn a_weekend_is_quieter_and_no_minute_jumps() {
        let weekday = mean(Profile::Busy, 0, MONDAY + DAY);
        let sunday = mean(Profile::Busy, 0, MONDAY + 6 * DAY);
        assert!((sunday / weekday - 0.7).abs() < 0.01, "{sunday} {weekday}");
        for minute in MONDAY..MONDAY + 7 * DAY {
            let step = Profile::Busy.rate(0, minute + 1) / Profile::Busy.rate(0, minute);
            assert!((step - 1.0).abs() < 0.02, "{minute}: {step}");
        }
    }

    #[test]
    fn a_quiet_night_has_less_than_one_a_minute() {
        let all = |minute| -> f64 { (0..7).map(|s| Profile::Quiet.rate(s, minute)).sum() };
        let (night, afternoon) = (all(MONDAY + 3 * 60), all(MONDAY + 15 * 60));
        assert!((0.5..1.5).contains(&night), "{night}");
        assert!(afternoon > 15.0 * night, "{afternoon}");
    }

    #[test]
    fn customers_of_one_time_zone_sleep_at_night() {
        let all = |minute| -> f64 { (0..7).map(|s| Profile::Local.rate(s, minute)).sum() };
        let (night, afternoon) = (all(MONDAY + 3 * 60), all(MONDAY + 15 * 60));
        assert!((1.0..1.4).contains(&night), "{night}");
        assert!((160.0..190.0).contains(&afternoon), "{afternoon}");
    }
}
