//! A notification as one line for a person.

use serde::Deserialize;

use crate::clock;

/// What a line needs of a notification's JSON.
#[derive(Deserialize)]
struct Alert<'a> {
    event: &'a str,
    series: String,
    severity: &'a str,
    time: &'a str,
    /// Text, in which quotes are escaped: not borrowed.
    #[serde(default)]
    reason: Option<String>,
}

/// `         Mon 17:09  opened    critical  denied            denied 31 in the minute, expected 6.1 …`
pub fn line(payload: &str) -> String {
    match serde_json::from_str::<Alert>(payload) {
        Ok(alert) => format!(
            "         {}  {:<9} {:<9} {:<17} {}",
            clock::rfc3339(alert.time),
            alert.event,
            alert.severity,
            alert.series,
            alert.reason.unwrap_or_default()
        ),
        Err(error) => format!("  not understood ({error}): {payload}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_becomes_a_line() {
        let shown = line(
            r#"{"v":1,"alert":123,"incident":45,"event":"opened","monitor":"transactions","series":"denied",
            "labels":{"status":"denied"},"severity":"critical","direction":1,"time":"2025-07-12T17:09:00Z",
            "observed":31,"expected":6.1,"reason":"denied 31 in the \"minute\", expected 6.1 (1 to 14), +408 %"}"#,
        );
        assert!(
            shown
                .contains("opened    critical  denied            denied 31 in the \"minute\", exp"),
            "{shown}"
        );
    }

    #[test]
    fn nonsense_is_shown_as_it_is() {
        assert!(line("hello").ends_with(": hello"));
    }
}
