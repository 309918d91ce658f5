//! A database with the extension in it, and what the tests ask of it.

use std::fmt::Write as _;
use std::time::Duration;

use postgres::{Client, SimpleQueryMessage};

use crate::{eventually, Cluster, Listener};

/// How long the worker may take for something that takes it milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(30);

/// First minute of the data that tests make up: a Monday, 08:00 UTC.
pub const EPOCH: &str = "2025-07-14 08:00+00";

/// A monitored database of a cluster.
pub struct Monitored<'a> {
    /// The cluster it is in.
    pub cluster: &'a Cluster,
    /// Its name.
    pub database: String,
    /// A superuser's connection to it.
    pub client: Client,
}

impl<'a> Monitored<'a> {
    /// Creates a database with the extension. Buckets of any age page, so that dated data can be used.
    pub fn create(cluster: &'a Cluster, database: &str) -> Monitored<'a> {
        let mut m = Self::create_with_default_horizon(cluster, database);
        m.run(&format!(
            "ALTER DATABASE {database} SET cloudwalk_monitor.alert_horizon = '100 years'"
        ));
        // A session has the value that was set when it began.
        m.reconnect();
        m
    }

    /// The same with `alert_horizon` as it ships.
    pub fn create_with_default_horizon(cluster: &'a Cluster, database: &str) -> Monitored<'a> {
        cluster.create_database(database);
        let mut m = Self::of(cluster, database);
        m.run("CREATE EXTENSION cloudwalk_monitor");
        m.quiesce();
        m
    }

    /// A database that is there, with the extension or still without.
    pub fn of(cluster: &'a Cluster, database: &str) -> Monitored<'a> {
        Monitored {
            cluster,
            database: database.into(),
            client: cluster.connect_to(database),
        }
    }

    /// The database again, after its cluster was restarted or the connection was lost.
    pub fn reconnect(&mut self) {
        let (cluster, database) = (self.cluster, &self.database);
        self.client = eventually(SOON, || cluster.try_connect_as("postgres", database).ok());
    }

    /// Another superuser's connection.
    pub fn connect(&self) -> Client {
        self.cluster.connect_to(&self.database)
    }

    /// A client that listens for alerts.
    pub fn listen(&self) -> Listener {
        self.cluster.listen(&self.database, "cloudwalk_alerts")
    }

    /// Runs statements; an error fails the test.
    pub fn run(&mut self, sql: &str) {
        self.client
            .batch_execute(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// First column of the first row, as text; empty for NULL and for no row.
    pub fn text(&mut self, sql: &str) -> String {
        self.rows(sql)
            .into_iter()
            .next()
            .and_then(|r| r.into_iter().next())
            .unwrap_or_default()
    }

    /// First column of the first row as a number.
    pub fn number(&mut self, sql: &str) -> i64 {
        let t = self.text(sql);
        t.parse().unwrap_or_else(|_| panic!("{sql} gives {t:?}"))
    }

    /// Every row of the last statement, as text; NULL is empty.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let messages = self
            .client
            .simple_query(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        messages
            .iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(r) => Some(
                    (0..r.len())
                        .map(|i| r.get(i).unwrap_or("").to_string())
                        .collect(),
                ),
                _ => None,
            })
            .collect()
    }

    /// SQLSTATE of a statement that must fail.
    pub fn refused(&mut self, sql: &str) -> postgres::error::DbError {
        match self.client.batch_execute(sql) {
            Ok(()) => panic!("{sql} was not refused"),
            Err(e) => e
                .as_db_error()
                .unwrap_or_else(|| panic!("{sql}: {e:?}"))
                .clone(),
        }
    }

    /// Waits until every model is loaded, exact, and reconciled.
    pub fn quiesce(&mut self) {
        let quiet = |m: &mut Self| {
            m.text(
                "SELECT loading = 0 AND dirty = 0 AND worker_alive AND monitors > 0 FROM monitor_health",
            ) == "t"
        };
        let mut calm = 0;
        eventually(SOON, || {
            // A COMMIT wakes the worker a moment later, so one look is not enough.
            calm = if quiet(self) { calm + 1 } else { 0 };
            (calm >= 4).then_some(())
        });
        let rounds = |m: &mut Self| m.number("SELECT rounds FROM monitor_stats");
        let before = rounds(self);
        crate::poll_until(Duration::from_millis(300), || {
            (rounds(self) > before + 1).then_some(())
        });
    }

    /// Asserts that the shared models equal a fold of the table, bit for bit.
    pub fn assert_models(&mut self) {
        self.assert_models_of("transactions");
    }

    /// The same for another monitor.
    pub fn assert_models_of(&mut self, monitor: &str) {
        // The worker may just have learned of the monitor, or of rows that it has to fold first.
        let rows = eventually(SOON, || {
            self.quiesce();
            let rows = self.rows(&format!(
                "SELECT series, sealed_at, same, detail FROM verify_models('{monitor}')"
            ));
            let waiting = rows.iter().any(|r| r[3].contains("wait to be loaded"));
            (!waiting).then_some(rows)
        });
        assert!(!rows.is_empty(), "nothing was compared");
        let mut wrong = String::new();
        for r in rows.iter().filter(|r| r[2] != "t") {
            let _ = writeln!(wrong, "{}", r.join(" | "));
        }
        assert!(
            wrong.is_empty(),
            "models differ from a refold of {monitor}:\n{wrong}"
        );
    }

    /// How many alerts of an event are recorded.
    pub fn events(&mut self, event: &str) -> i64 {
        self.number(&format!(
            "SELECT count(*) FROM alerts WHERE event = '{event}'"
        ))
    }

    /// Payloads that a listener has heard, once all that was announced until now has arrived: a notification of our
    /// own comes after them, since notifications arrive in the order of their commits.
    pub fn announced(&mut self, listener: &Listener) -> Vec<String> {
        const END: &str = "end of what was announced";
        self.run(&format!("SELECT pg_notify('cloudwalk_alerts', '{END}')"));
        let mut payloads = eventually(SOON, || {
            let payloads = listener.payloads();
            payloads.iter().any(|p| p == END).then_some(payloads)
        });
        payloads.retain(|p| p != END);
        payloads
    }

    /// Waits until a query gives a value.
    pub fn until(&mut self, sql: &str, wanted: &str) {
        let mut last = String::new();
        let reached = crate::poll_until(SOON, || {
            last = self.text(sql);
            (last == wanted).then_some(())
        });
        assert!(
            reached.is_some(),
            "{sql} stays {last:?}, not {wanted:?}\n{:?}",
            self.rows("SELECT id, incident, event, series, time, reason FROM alerts ORDER BY id DESC LIMIT 20")
        );
    }

    /// Inserts calm minutes from EPOCH on: `approved` about 120, `denied` about 6, `failed` 0, by one COPY-like
    /// statement. Deterministic noise.
    pub fn calm(&mut self, minutes: i64) {
        self.run(&calm_sql(EPOCH, 0, minutes));
        self.quiesce();
    }
}

/// The statement behind `Monitored::calm`, for minutes `from..to` after a start.
pub fn calm_sql(start: &str, from: i64, to: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) \
         SELECT timestamptz '{start}' + make_interval(mins => m), s.status, \
                greatest(0, s.mean + (s.spread * (abs(hashint4(m * 31 + s.salt)) % 1000 - 500) / 500.0)::int) \
           FROM generate_series({from}, {to} - 1) AS m, \
                (VALUES ('approved', 120, 15, 1), ('denied', 6, 3, 2), ('failed', 0, 0, 3)) AS s(status, mean, spread, salt) \
          ORDER BY m"
    )
}

/// Storms of `denied`, each an incident of its own: five bad minutes, then twenty calm ones.
pub fn storms(from: i64, n: i64) -> String {
    format!(
        "INSERT INTO transactions (time, status, count) \
         SELECT timestamptz '{EPOCH}' + make_interval(mins => m), s.status, \
                CASE WHEN s.status = 'approved' THEN 118 + m % 5 WHEN (m - {from}) % 25 < 5 THEN 60 ELSE 5 + m % 3 END \
           FROM generate_series({from}, {from} + 25 * {n} - 1) AS m, (VALUES ('approved'), ('denied')) AS s (status) \
          ORDER BY m"
    )
}

/// SQL for a moment that many minutes after EPOCH.
pub fn minute(m: i64) -> String {
    format!("timestamptz '{EPOCH}' + interval '{m} minutes'")
}
