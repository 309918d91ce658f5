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

/// `Mon 17:09`, of an RFC 3339 time; anything else comes back as it is.
pub fn rfc3339(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), timestamp)
}

fn timestamp(timestamp: Timestamp) -> String {
    let zoned = timestamp.to_zoned(TimeZone::system());
    zoned.strftime(SHOWN).to_string()
}
