//! A day again, minute by minute, as an application would insert it.

use std::thread;
use std::time::{Duration, Instant};

use postgres::Client;
use sample::Row;

use crate::clock;
use crate::day::Day;
use crate::table;
use crate::Outcome;

/// How fast the day passes.
pub const MINUTES_A_SECOND: u32 = 180;

/// Transactions a minute that one character of a bar stands for.
const PER_CHARACTER: f64 = 8.0;

/// What a row was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: String,
    pub count: i32,
    pub expected: Option<f32>,
    pub score: Option<f32>,
    pub verdict: String,
}

const INSERT: &str = "
    INSERT INTO transactions (time, status, count)
    SELECT to_timestamp($1), r.status, r.count FROM unnest($2::text[], $3::integer[]) AS r (status, count)
    RETURNING status, count, expected, score, verdict::text";

/// Inserts the day, a transaction a minute, and gives what the rows of the minute `asked` were answered.
pub fn play(client: &mut Client, day: &Day, asked: i64) -> Outcome<Vec<Answer>> {
    let insert = client.prepare(INSERT)?;
    let mut answers = Vec::new();
    let minutes = day.minutes();
    let began = Instant::now();
    for hour in minutes.clone().step_by(60) {
        let rows = day.rows(hour..(hour + 60).min(minutes.end));
        println!("{}", hour_line(hour, &rows));
        for of_minute in rows.chunk_by(|a, b| a.minute == b.minute) {
            let minute = of_minute[0].minute;
            let passed = (minute - minutes.start) as f64 / f64::from(MINUTES_A_SECOND);
            wait_until(began + Duration::from_secs_f64(passed));
            let statuses: Vec<&str> = of_minute.iter().map(|row| row.status).collect();
            let counts: Vec<i32> = of_minute.iter().map(|row| row.count).collect();
            let answered = client.query(&insert, &[&((minute * 60) as f64), &statuses, &counts])?;
            if minute == asked {
                answers = answered
                    .iter()
                    .map(|row| {
                        Ok(Answer {
                            status: row.try_get(0)?,
                            count: row.try_get(1)?,
                            expected: row.try_get(2)?,
                            score: row.try_get(3)?,
                            verdict: row.try_get::<_, Option<String>>(4)?.unwrap_or_default(),
                        })
                    })
                    .collect::<Result<_, postgres::Error>>()?;
            }
        }
    }
    Ok(answers)
}

fn wait_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// `  Mon 14:00   166 a minute  ████████████████████▊`
fn hour_line(hour: i64, rows: &[Row]) -> String {
    let sum: i32 = rows.iter().map(|row| row.count).sum();
    let mean = f64::from(sum) / 60.0;
    format!(
        "  {} {mean:>5.0} a minute  {}",
        clock::minute(hour),
        bar(mean / PER_CHARACTER)
    )
}

/// A bar so many characters long, to an eighth.
fn bar(length: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (length.max(0.0) * 8.0).round() as usize;
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

/// The statement and its answers, as psql shows them.
pub fn transcript(asked: i64, answers: &[Answer]) -> String {
    let time = sample::calendar::format(asked);
    let values: Vec<String> = answers
        .iter()
        .map(|a| format!("('{time}+00', '{}', {})", a.status, a.count))
        .collect();
    let figure = |v: Option<f32>| v.map_or_else(String::new, |v| format!("{v:.1}"));
    let rows: Vec<[String; 5]> = answers
        .iter()
        .map(|a| {
            [
                a.status.clone(),
                a.count.to_string(),
                figure(a.expected),
                figure(a.score),
                a.verdict.clone(),
            ]
        })
        .collect();
    format!(
        "  INSERT INTO transactions (time, status, count)\n  VALUES {}\n  RETURNING status, count, expected, score, verdict;\n\n{}",
        values.join(",\n         "),
        table::layout(["status", "count", "expected", "score", "verdict"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_eighths() {
        assert_eq!([0.0, 0.1, 1.0, 2.5].map(bar), ["", "▏", "█", "██▌"]);
    }

    #[test]
    fn a_transcript_can_be_typed_again() {
        let answer = Answer {
            status: "denied".into(),
            count: 31,
            expected: Some(6.14),
            score: Some(97.2),
            verdict: "critical".into(),
        };
        let text = transcript(29_208_549, &[answer.clone(), answer]);
        assert!(
            text.contains("VALUES ('2025-07-14 17:09+00', 'denied', 31),\n"),
            "{text}"
        );
        assert!(
            text.contains("  denied  31     6.1       97.2   critical\n"),
            "{text}"
        );
    }
}
