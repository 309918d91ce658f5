//! Now, and how a time is shown to the person who looks on: in that person's own time zone.

use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::Timestamp;

const SHOWN: &str = "%a %H:%M";

/// The minute that is under way, since 1970 in UTC.
pub fn this_minute() -> i64 {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    (seconds / 60) as i64
}

/// `Mon 17:09`, of a minute since 1970 in UTC.
pub fn minute(minute: i64) -> String {
    Timestamp::from_second(minute * 60).map_or_else(|_| minute.to_string(), timestamp)
}

/// `Monday 23 November`, the day on which a minute lies in UTC.
pub fn date(minute: i64) -> String {
    Timestamp::from_second(minute * 60).map_or_else(
        |_| minute.to_string(),
        |t| t.to_zoned(TimeZone::UTC).strftime("%A %-d %B").to_string(),
    )
}

/// The name of the time zone in which times are shown.
pub fn zone() -> String {
    let zone = TimeZone::system();
    zone.iana_name().unwrap_or("local").to_owned()
}

/// `Mon 17:09`, of an RFC 3339 time; anything else comes back as it is.
pub fn rfc3339(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), timestamp)
}

fn timestamp(timestamp: Timestamp) -> String {
    let zoned = timestamp.to_zoned(TimeZone::system());
    zoned.strftime(SHOWN).to_string()
}
