//! What the sessions do.

use std::io::Write;

use crate::world::{World, HISTORY};

const STATUSES: [&str; 5] = ["approved", "denied", "failed", "reversed", "chargeback"];
const SHOPS: [&str; 3] = ["north", "east", "web"];
const KINDS: [&str; 4] = ["card", "cash", "wire", "gift"];
const ISOLATION: [&str; 3] = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"];

/// Takes one step.
pub fn one(w: &mut World) {
    let n = w.choices.below(w.sessions.len() as i64) as usize;
    match w.choices.below(100) {
        0..=21 => {
            let sql = insert(w, 1);
            w.run(n, &sql);
        }
        22..=31 => {
            let rows = 2 + w.choices.below(40);
            let sql = insert(w, rows);
            w.run(n, &sql);
        }
        32..=37 => copy(w, n),
        38..=43 => upsert(w, n),
        44..=51 => correct(w, n),
        56..=58 if w.amounts => sales(w, n),
        52..=58 => payments(w, n),
        59..=60 => partitions(w, n),
        61..=84 => transaction(w, n),
        85..=86 => prepared(w),
        87 => rare(w, n),
        88..=89 => switch_off(w, n),
        90 => w.reconnect(n),
        91..=92 => w.freeze_worker(),
        93 => {
            w.note("the worker is told to end".into());
            w.m.run("SELECT pg_terminate_backend(worker_pid) FROM monitor_health");
        }
        94 if w.choices.below(4) == 0 => match w.choices.below(3) {
            0 => w.crash(None),
            1 => w.crash(Some("SELECT worker_pid FROM monitor_health")),
            _ => w.crash(Some(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                    AND datname = current_database() AND pid <> pg_backend_pid() LIMIT 1",
            )),
        },
        95 => {
            w.run(n, "SELECT run_monitor()");
        }
        96 => {
            let pause = w.choices.below(150) as u64;
            w.note(format!("{pause} ms pass"));
            std::thread::sleep(std::time::Duration::from_millis(pause));
        }
        _ => {
            let sql = insert(w, 4);
            w.run(n, &sql);
        }
    }
}

/// A minute for a row: mostly now, often late within the ring, sometimes much later or of the future.
fn some_minute(w: &mut World) -> i64 {
    let ahead = |w: &mut World, by: i64| {
        let limit = if w.live { w.clock + 3 } else { i64::MAX };
        let minute = w.clock + by;
        if minute < limit {
            w.clock = minute;
            minute
        } else {
            w.clock
        }
    };
    match w.choices.below(100) {
        0..=39 => w.clock - w.choices.below(3),
        40..=59 => w.clock - w.choices.below(30),
        60..=79 => {
            let by = 1 + w.choices.below(3);
            ahead(w, by)
        }
        80..=89 => w.clock - 30 - w.choices.below(570),
        90..=92 => {
            let by = 20 + w.choices.below(200);
            ahead(w, by)
        }
        93..=96 => w.choices.below(HISTORY - 1440),
        97 => -40_000 - w.choices.below(1440),
        98 => 40_000_000 + w.choices.below(1440),
        // Just beyond what is judged, where the stream is that of today.
        _ => w.clock + if w.live { 6 } else { 0 },
    }
}

fn some_count(w: &mut World, usual: i64) -> i64 {
    match w.choices.below(12) {
        0 => usual * 7 + 40,
        1 => 0,
        _ => usual + w.choices.below(usual / 4 + 3),
    }
}

fn usual(series: &str) -> i64 {
    match series {
        "approved" => 110,
        "card" => 20,
        "denied" => 5,
        _ => 1,
    }
}

fn value(w: &mut World, series: &str) -> String {
    let minute = some_minute(w);
    let seconds = w.choices.below(60);
    let count = some_count(w, usual(series));
    format!(
        "({} + interval '{seconds} s', '{series}', {count})",
        w.minute(minute)
    )
}

fn of(w: &mut World, names: &[&'static str]) -> &'static str {
    // The first are more frequent.
    let n = names.len() as i64;
    names[w.choices.below(n).min(w.choices.below(n)) as usize]
}

fn insert(w: &mut World, rows: i64) -> String {
    let values: Vec<String> = (0..rows)
        .map(|_| {
            let status = of(w, &STATUSES);
            value(w, status)
        })
        .collect();
    format!(
        "INSERT INTO transactions (time, status, count) VALUES {}",
        values.join(", ")
    )
}

fn copy(w: &mut World, n: usize) {
    let mut lines = String::new();
    for _ in 0..1 + w.choices.below(120) {
        let status = of(w, &STATUSES);
        let (minute, count) = (some_minute(w), some_count(w, usual(status)));
        let time = w.m.text(&format!("SELECT {}", w.minute(minute)));
        lines += &format!("{time}\t{status}\t{count}\n");
    }
    // Some end in the middle of it.
    if w.choices.below(4) == 0 {
        lines += "now\tdenied\tmany\n";
    }
    let what = format!("COPY transactions (time, status, count) FROM STDIN:\n{lines}");
    w.act(n, &what, |c| {
        let mut sink = c.copy_in("COPY transactions (time, status, count) FROM STDIN")?;
        let _ = sink.write_all(lines.as_bytes());
        sink.finish().map(|_| ())
    });
}

fn upsert(w: &mut World, n: usize) {
    let id = 1_000_000_000 + w.choices.below(12);
    let value = {
        let status = of(w, &STATUSES);
        value(w, status)
    };
    let action = match w.choices.below(4) {
        0 => "DO NOTHING",
        1 => "DO UPDATE SET count = transactions.count + excluded.count",
        2 => "DO UPDATE SET status = excluded.status, time = excluded.time",
        _ => "DO UPDATE SET count = excluded.count WHERE transactions.status <> excluded.status",
    };
    let recent = recent(w, "transactions.time");
    // A row that is older than the horizon is not to be corrected.
    let action = match action {
        "DO NOTHING" => action.to_string(),
        a if a.contains(" WHERE ") => format!("{a} AND {recent}"),
        a => format!("{a} WHERE {recent}"),
    };
    let sql = format!(
        "INSERT INTO transactions (id, time, status, count) VALUES ({id}, {} ON CONFLICT (id) {action}",
        &value[1..]
    );
    w.run(n, &sql);
}

/// A condition for rows well within the horizon of corrections.
fn recent(w: &World, column: &str) -> String {
    format!(
        "{column} > {} AND {column} < {}",
        w.minute(w.clock - 900),
        w.minute(w.clock + 10)
    )
}

/// Rows to be corrected: some of the last hours.
fn some_rows(w: &mut World, table: &str, time: &str) -> String {
    let recent = recent(w, time);
    let (skip, rows) = (w.choices.below(400), 1 + w.choices.below(6));
    format!(
        "id IN (SELECT id FROM {table} WHERE {recent} ORDER BY {time} DESC, id OFFSET {skip} LIMIT {rows}) AND {recent}"
    )
}

fn correct(w: &mut World, n: usize) {
    let rows = some_rows(w, "transactions", "time");
    let sql = match w.choices.below(6) {
        0 => format!("UPDATE transactions SET count = count * 3 + 1 WHERE {rows}"),
        1 => format!("UPDATE transactions SET status = 'denied' WHERE {rows}"),
        2 => {
            let minute = w.clock - w.choices.below(300);
            let to = w.minute(minute);
            format!("UPDATE transactions SET time = {to} WHERE {rows}")
        }
        3 => format!("UPDATE transactions SET verdict = NULL WHERE {rows}"),
        4 => format!("DELETE FROM transactions WHERE {rows}"),
        _ => {
            let recent = recent(w, "time");
            format!(
                "DELETE FROM transactions WHERE {recent} AND count > 60 AND status <> 'approved'"
            )
        }
    };
    w.run(n, &sql);
}

fn payments(w: &mut World, n: usize) {
    let rows = some_rows(w, "payments", "at");
    let sql = match w.choices.below(8) {
        0..=3 => {
            let values: Vec<String> = (0..1 + w.choices.below(20))
                .map(|_| {
                    let kind = of(w, &KINDS);
                    format!("(nextval('payments_id'), {}", &value(w, kind)[1..])
                })
                .collect();
            format!(
                "INSERT INTO payments (id, at, kind, n) VALUES {}",
                values.join(", ")
            )
        }
        4 => format!("UPDATE payments SET n = n + 11 WHERE {rows}"),
        5 => {
            // Rows wander to another partition.
            let minute = w.clock - w.choices.below(800);
            format!("UPDATE payments SET at = {} WHERE {rows}", w.minute(minute))
        }
        6 => format!("UPDATE payments SET kind = 'cash', n = NULL WHERE {rows}"),
        _ => format!("DELETE FROM payments WHERE {rows}"),
    };
    w.run(n, &sql);
}

/// An amount with decimals: mostly usual, sometimes nothing, large, of many digits, or given back.
fn some_amount(w: &mut World, shop: &str) -> String {
    let usual = if shop == "north" { 83_170 } else { 4_050 };
    let thousandths = match w.choices.below(12) {
        0 => usual * 30,
        1 => 0,
        2 => -usual,
        3 => 1 + w.choices.below(9),
        4 => 123_456_789_123 + w.choices.below(1000),
        _ => usual * (80 + w.choices.below(40)) / 100 + w.choices.below(100),
    };
    format!("{thousandths} * 0.001")
}

/// Rows of amounts, which are judged as values.
fn sales(w: &mut World, n: usize) {
    let rows = some_rows(w, "sales", "at");
    let sql = match w.choices.below(8) {
        0..=3 => {
            let values: Vec<String> = (0..1 + w.choices.below(20))
                .map(|_| {
                    let shop = of(w, &SHOPS);
                    let (minute, seconds) = (some_minute(w), w.choices.below(60));
                    let (at, amount) = (w.minute(minute), some_amount(w, shop));
                    format!("({at} + interval '{seconds} s', '{shop}', {amount})")
                })
                .collect();
            format!(
                "INSERT INTO sales (at, shop, amount) VALUES {}",
                values.join(", ")
            )
        }
        4 => format!("UPDATE sales SET amount = amount * 1.1 + 0.007 WHERE {rows}"),
        5 => {
            let minute = w.clock - w.choices.below(800);
            format!("UPDATE sales SET at = {} WHERE {rows}", w.minute(minute))
        }
        6 => format!("UPDATE sales SET shop = 'east', amount = NULL WHERE {rows}"),
        _ => format!("DELETE FROM sales WHERE {rows}"),
    };
    w.run(n, &sql);
}

/// Partitions come and go, with rows younger than the horizon in them.
fn partitions(w: &mut World, n: usize) {
    if w.sessions[n].open {
        return;
    }
    let today = w.clock.div_euclid(1440);
    let day = today - w.choices.below(2);
    let name = format!("payments_{}", World::name_of(day));
    if let Some(i) = w.detached.iter().position(|d| *d == day) {
        let sql = match w.choices.below(3) {
            0 => format!("DROP TABLE {name}; CREATE TABLE {}", w.partition_sql(day)),
            1 => format!(
                "UPDATE {name} SET n = n + 7 WHERE id % 3 = 0; ALTER TABLE payments ATTACH PARTITION {name} {}",
                w.bounds(day)
            ),
            _ => format!(
                "ALTER TABLE payments ATTACH PARTITION {name} {}",
                w.bounds(day)
            ),
        };
        if w.run(n, &sql) {
            w.detached.remove(i);
        }
        return;
    }
    match w.choices.below(3) {
        0 => {
            w.run(n, &format!("TRUNCATE {name}"));
        }
        1 => {
            let sql = format!("DROP TABLE {name}; CREATE TABLE {}", w.partition_sql(day));
            w.run(n, &sql);
        }
        _ => {
            if w.run(n, &format!("ALTER TABLE payments DETACH PARTITION {name}")) {
                w.detached.push(day);
            }
        }
    }
}

fn transaction(w: &mut World, n: usize) {
    let (open, savepoints) = (w.sessions[n].open, w.sessions[n].savepoints);
    if !open {
        let isolation = ISOLATION[w.choices.below(3) as usize];
        w.sessions[n].open = w.run(n, &format!("BEGIN ISOLATION LEVEL {isolation}"));
        return;
    }
    match w.choices.below(10) {
        0..=2 => {
            w.sessions[n].savepoints += 1;
            w.run(n, &format!("SAVEPOINT s{}", savepoints + 1));
        }
        3 if savepoints > 0 => {
            w.run(n, &format!("ROLLBACK TO s{savepoints}"));
        }
        4 if savepoints > 0 => {
            w.sessions[n].savepoints -= 1;
            w.run(n, &format!("RELEASE s{savepoints}"));
        }
        5 => w.end(n, "ROLLBACK"),
        6 if w.prepared.len() < 5 => {
            let name = format!("{}_{}", w.m.database, w.choices.below(i64::from(i32::MAX)));
            w.sessions[n].open = false;
            w.sessions[n].savepoints = 0;
            if w.run(n, &format!("PREPARE TRANSACTION '{name}'")) && exists(w, &name) {
                w.prepared.push(name);
            }
        }
        _ => w.end(n, "COMMIT"),
    }
}

/// A transaction that had failed is rolled back by PREPARE.
fn exists(w: &mut World, name: &str) -> bool {
    w.m.number(&format!(
        "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '{name}'"
    )) == 1
}

fn prepared(w: &mut World) {
    if w.prepared.is_empty() {
        return;
    }
    let i = w.choices.below(w.prepared.len() as i64) as usize;
    let name = w.prepared.remove(i);
    let how = ["COMMIT", "ROLLBACK"][w.choices.below(2) as usize];
    let sql = format!("{how} PREPARED '{name}'");
    w.note(sql.clone());
    w.m.run(&sql);
}

fn rare(w: &mut World, n: usize) {
    match w.choices.below(4) {
        0 if w.choices.below(3) == 0 => {
            w.run(n, "TRUNCATE transactions");
        }
        1 if w.choices.below(3) == 0 => {
            w.run(n, "TRUNCATE payments");
        }
        2 => {
            // More entries than a journal takes.
            let from = w.clock - 1200;
            let sql = format!(
                "INSERT INTO transactions (time, status, count) SELECT {} + make_interval(mins => m), s, 1 + m % 4 \
                   FROM generate_series(0, 1190) m, unnest('{{denied,approved,failed,reversed}}'::text[]) s",
                w.minute(from)
            );
            w.run(n, &sql);
        }
        _ => {
            let recent = recent(w, "time");
            w.run(n, &format!("DELETE FROM transactions WHERE {recent}"));
        }
    }
}

fn switch_off(w: &mut World, n: usize) {
    let row = insert(w, 2);
    let sql = match w.choices.below(3) {
        0 => format!(
            "SET cloudwalk_monitor.enabled = off; {row}; SET cloudwalk_monitor.enabled = on"
        ),
        1 => format!(
            "SET session_replication_role = replica; {row}; SET session_replication_role = DEFAULT"
        ),
        _ => {
            let values = value(w, "denied");
            format!(
                "INSERT INTO transactions (time, status, count, verdict) VALUES {}, 'normal')",
                values.trim_end_matches(')')
            )
        }
    };
    if !w.run(n, &sql) && !w.sessions[n].open {
        w.run(n, "RESET ALL; SET lock_timeout = '40ms'");
    }
}
