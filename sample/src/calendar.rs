//! Minutes since 1970-01-01 00:00 UTC, and how they are written.

/// Minutes of a day.
pub const DAY: i64 = 24 * 60;

/// `2025-07-14 17:09`, in UTC.
pub fn format(minute: i64) -> String {
    let (year, month, day) = civil(minute.div_euclid(DAY));
    let of_day = minute.rem_euclid(DAY);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        of_day / 60,
        of_day % 60
    )
}

/// Reads `2025-07-14` or `2025-07-14 17:09` (or with a `T` between), in UTC; `None` if it is no such time.
pub fn parse(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, time),
        None => (text, "00:00"),
    };
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (hour, minute) = time.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    let days = days_from_civil(year, month, day);
    let valid = civil(days) == (year, month, day) && hour < 24 && minute < 60;
    valid.then_some(days * DAY + hour * 60 + minute)
}

/// 0 is Monday, 6 Sunday.
pub fn weekday(minute: i64) -> i64 {
    // Day 0 was a Thursday.
    (minute.div_euclid(DAY) + 3).rem_euclid(7)
}

/// Digits only, at most five: no sign, and nothing that could overflow.
fn number(text: &str) -> Option<i64> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// Proleptic Gregorian date of a day since 1970-01-01. Counts in years that begin in March, so that the leap day is
/// a year's last, and in eras of 400 years, which all have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    // 0000-03-01 is day -719,468.
    let since = days + 719_468;
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
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil`]; a date that does not exist gives the day of another.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(parse("1970-01-01"), Some(0));
        assert_eq!(parse("2025-07-14 17:09"), Some(1_752_512_940 / 60));
        assert_eq!(parse("2024-02-29T00:01"), Some(1_709_164_860 / 60));
        assert_eq!(format(1_752_512_940 / 60), "2025-07-14 17:09");
        assert_eq!(format(-1), "1969-12-31 23:59");
    }

    #[test]
    fn every_day_of_two_centuries_comes_back() {
        for day in (-36_500..36_500).chain([-719_468, 2_932_896]) {
            let minute = day * DAY + 61;
            assert_eq!(parse(&format(minute)), Some(minute));
        }
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "2025",
            "2025-02-29",
            "2025-13-01",
            "2025-07-14 24:00",
            "2025-07-14 17:60",
            "2025-7-+4",
            "2025-07-14 17",
            "2025-07-14-1",
            "99999999999999999999-01-01",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn weekdays() {
        assert_eq!(weekday(parse("2025-07-14").unwrap()), 0);
        assert_eq!(weekday(parse("2025-07-13 23:59").unwrap()), 6);
        assert_eq!(weekday(-1), 2);
    }
}
