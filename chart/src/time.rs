//! The axis of time. Times are seconds since 1970 as the clock on the wall shows them: where a time zone's clock is
//! put forward or back, they jump.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// A Monday, so that whole weeks begin on one.
const MONDAY: i64 = 4 * DAY;

/// Steps from tick to tick, in seconds.
const STEPS: [i64; 24] = [
    1,
    2,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    28 * DAY,
    84 * DAY,
    364 * DAY,
    3640 * DAY,
];
/// Free columns between two names.
const AIR: usize = 3;

/// Where the ticks stand, and what they are called.
pub struct Ticks {
    columns: usize,
    named: Vec<(usize, String)>,
}

impl Ticks {
    /// `walls` is when each column begins, and when the last one ends.
    pub fn new(walls: &[i64]) -> Ticks {
        let columns = walls.len() - 1;
        let span = (walls[columns] - walls[0]).max(1);
        for step in STEPS {
            let spaced = step * columns as i64 / span;
            if spaced < (example(step).len() + AIR) as i64 {
                continue;
            }
            let named: Vec<(usize, String)> = (0..columns)
                .filter_map(|c| round_within(walls, c, step).map(|t| (c, name(t, step))))
                .collect();
            if !named.is_empty() {
                return Ticks { columns, named };
            }
            break;
        }
        // Too short for a round time, or too long for a step: the beginning is named.
        let step = STEPS.into_iter().rev().find(|s| *s <= span).unwrap_or(1);
        Ticks {
            columns,
            named: vec![(0, name(walls[0], step.min(DAY)))],
        }
    }

    /// Whether there is a tick in a column.
    pub fn at(&self, column: usize) -> bool {
        self.named.iter().any(|(c, _)| *c == column)
    }

    /// The names, each under its tick as far as the edges and its neighbours let it.
    pub fn names(&self) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (column, name) in &self.named {
            let width = name.chars().count();
            let last = (self.columns + 1).saturating_sub(width);
            let at = column.saturating_sub(width / 2).min(last);
            if used > 0 && at <= used {
                continue;
            }
            line.extend(std::iter::repeat_n(' ', at - used));
            line.push_str(name);
            used = at + width;
        }
        line
    }
}

/// The round time in a column, if there is one.
fn round_within(walls: &[i64], column: usize, step: i64) -> Option<i64> {
    let (from, end) = (walls[column], walls[column + 1]);
    // Of a bucket's columns, the first begins with it; the others have the same beginning.
    let before = column.checked_sub(1).map(|c| walls[c]);
    let origin = if step % (7 * DAY) == 0 { MONDAY } else { 0 };
    let round = origin + -(-(from - origin)).div_euclid(step) * step;
    (before != Some(from) && (round < end || round == from)).then_some(round)
}

fn example(step: i64) -> &'static str {
    match step {
        s if s < MINUTE => "00:00:00",
        s if s < DAY => "00:00",
        s if s < 84 * DAY => "24 Nov",
        _ => "2026-11",
    }
}

fn name(wall: i64, step: i64) -> String {
    let (year, month, day) = date(wall);
    let month_name = MONTHS[month as usize - 1];
    match step {
        s if s < MINUTE => format!("{}:{:02}", clock(wall), wall.rem_euclid(MINUTE)),
        // A new day is named as such.
        s if (6 * HOUR..DAY).contains(&s) && wall.rem_euclid(DAY) == 0 => {
            format!("{day} {month_name}")
        }
        s if s < DAY => clock(wall),
        s if s < 84 * DAY => format!("{day} {month_name}"),
        _ => format!("{year:04}-{month:02}"),
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// `2025-07-14 15:46 to 17:46`.
pub fn span(from: i64, to: i64) -> String {
    let day = |wall| {
        let (year, month, day) = date(wall);
        format!("{year:04}-{month:02}-{day:02}")
    };
    let end = if day(from) == day(to) {
        clock(to)
    } else {
        format!("{} {}", day(to), clock(to))
    };
    format!("{} {} to {end}", day(from), clock(from))
}

/// `17:46`.
fn clock(wall: i64) -> String {
    let minutes = wall.rem_euclid(DAY) / MINUTE;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Proleptic Gregorian date. Counts in years that begin in March, so that the leap day is a year's last, and in eras
/// of 400 years, which all have 146,097 days.
fn date(wall: i64) -> (i64, i64, i64) {
    // 0000-03-01 is day -719,468.
    let since = wall.div_euclid(DAY) + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March have 31 30 31 30 31 days, again and again: 153 in five.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-07-14 15:46, a Monday.
    const START: i64 = 1_752_507_960;

    fn axis(columns: usize, seconds: f64) -> String {
        let walls: Vec<i64> = (0..=columns)
            .map(|c| START + (c as f64 * seconds) as i64)
            .collect();
        Ticks::new(&walls).names()
    }

    #[test]
    fn ticks_are_at_round_times() {
        assert_eq!(
            axis(60, 120.0),
            "     16:00          16:30          17:00          17:30"
        );
        assert_eq!(axis(30, 10.0), "15:46     15:48       15:50");
        assert_eq!(
            axis(60, 3600.0),
            "     15 Jul       12:00      16 Jul       12:00      17 Jul"
        );
        assert_eq!(
            axis(60, 43_200.0),
            "         21 Jul        28 Jul         4 Aug        11 Aug"
        );
    }

    #[test]
    fn every_span_has_a_name_and_none_runs_into_another() {
        for columns in 1..=200 {
            for seconds in [0.01, 0.5, 1.0, 7.0, 60.0, 250.0, 3600.0, 40_000.0, 3e6, 1e9] {
                let names = axis(columns, seconds);
                assert!(!names.trim().is_empty(), "{columns} of {seconds}");
                assert!(names.chars().count() <= columns.max(8) + 1, "{names:?}");
            }
        }
    }

    #[test]
    fn spans_leave_out_what_is_the_same() {
        assert_eq!(span(START, START + 7200), "2025-07-14 15:46 to 17:46");
        assert_eq!(
            span(START, START + 12 * HOUR),
            "2025-07-14 15:46 to 2025-07-15 03:46"
        );
        assert_eq!(span(-1, 0), "1969-12-31 23:59 to 1970-01-01 00:00");
    }

    #[test]
    fn a_clock_put_back_is_no_harm() {
        let walls = [0, 1800, 3600, 0, 1800, 3600, 5400];
        assert!(!Ticks::new(&walls).names().is_empty());
    }
}
