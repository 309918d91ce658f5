//! The database of one seed, its sessions, and the log of what was done.

use std::time::Duration;

use postgres::Client;
use testbed::monitored::{Monitored, SOON};
use testbed::{eventually, Choices, Cluster};

use crate::incidents;

/// Errors that the steps may meet: they lie in the data given, in the isolation level, or in waiting for a lock.
const EXPECTED: [&str; 13] = [
    "23505", "23514", "22P02", "22P04", "40001", "40P01", "55P03", "0A000", "55000", "42P01",
    "42P07", "55006", "25001",
];

/// One client.
pub struct Session {
    pub client: Client,
    /// Whether a transaction is open.
    pub open: bool,
    /// How many savepoints it has.
    pub savepoints: usize,
}

pub struct World<'a> {
    pub choices: Choices,
    pub m: Monitored<'a>,
    pub sessions: Vec<Session>,
    /// Time of minute 0.
    pub epoch: String,
    /// The newest minute that rows were made for.
    pub clock: i64,
    /// The stream is that of today, so that the clock counts.
    pub live: bool,
    /// There is a table of amounts too, which are judged as values.
    pub amounts: bool,
    /// Names of transactions that wait to be committed.
    pub prepared: Vec<String>,
    /// Partitions that are tables of their own now.
    pub detached: Vec<i64>,
    log: Vec<String>,
    seed: u64,
}

/// Minutes of history that a database begins with.
pub const HISTORY: i64 = 3 * 1440;

impl<'a> World<'a> {
    pub fn create(cluster: &'a Cluster, seed: u64, amounts: bool) -> World<'a> {
        let mut choices = Choices::new(seed);
        let m = Monitored::create(cluster, &format!("seed_{seed}"));
        let live = choices.below(3) == 0;
        let mut world = World {
            sessions: Vec::new(),
            epoch: String::new(),
            clock: HISTORY,
            live,
            amounts,
            prepared: Vec::new(),
            detached: Vec::new(),
            log: Vec::new(),
            choices,
            m,
            seed,
        };
        world.epoch = if live {
            let sql = format!("SELECT date_trunc('minute', now()) - interval '{HISTORY} minutes'");
            world.m.text(&sql)
        } else {
            testbed::monitored::EPOCH.into()
        };
        world.furnish();
        for _ in 0..4 {
            let client = world.connect();
            world.sessions.push(Session {
                client,
                open: false,
                savepoints: 0,
            });
        }
        world
    }

    /// The tables and their history.
    fn furnish(&mut self) {
        self.m.run(
            "CREATE TABLE payments (id bigint, at timestamptz, kind text, n integer, PRIMARY KEY (id, at)) \
               PARTITION BY RANGE (at); \
             CREATE TABLE payments_rest PARTITION OF payments DEFAULT; \
             CREATE SEQUENCE payments_id",
        );
        for day in -1..6 {
            let sql = self.partition_sql(day);
            self.m.run(&format!("CREATE TABLE {sql}"));
        }
        self.m
            .run("SELECT watch_table('payments', 'at', 'n', '{kind}')");
        let epoch = self.epoch.clone();
        self.m
            .run(&testbed::monitored::calm_sql(&epoch, 0, HISTORY));
        self.m.run(&format!(
            "INSERT INTO payments SELECT nextval('payments_id'), timestamptz '{epoch}' + make_interval(mins => m), \
                    kind, mean + abs(hashint4(m + mean)) % 5 \
               FROM generate_series(0, {HISTORY} - 1, 2) m, (VALUES ('card', 20), ('cash', 3)) k(kind, mean) ORDER BY m"
        ));
        if self.amounts {
            self.furnish_amounts();
        }
        self.m.quiesce();
    }

    fn furnish_amounts(&mut self) {
        let epoch = self.epoch.clone();
        self.m.run(&format!(
            "CREATE TABLE sales (id bigserial PRIMARY KEY, at timestamptz, shop text, amount numeric(15,3)); \
             SELECT watch_table('sales', 'at', 'amount', '{{shop}}'); \
             INSERT INTO sales (at, shop, amount) SELECT timestamptz '{epoch}' + make_interval(mins => m), \
                    shop, mean * (0.8 + 0.001 * (abs(hashint4(m + length(shop))) % 397)) \
               FROM generate_series(0, {HISTORY} - 1, 2) m, (VALUES ('north', 83.17), ('east', 4.05)) s(shop, mean) \
              ORDER BY m"
        ));
        self.m.quiesce();
        assert_eq!(
            self.m
                .rows("SELECT DISTINCT family FROM series_models('sales')"),
            [["values"]]
        );
    }

    /// Name and bounds of the partition of a day.
    pub fn partition_sql(&self, day: i64) -> String {
        format!(
            "payments_{} PARTITION OF payments {}",
            Self::name_of(day),
            self.bounds(day)
        )
    }

    pub fn bounds(&self, day: i64) -> String {
        let (from, to) = (self.minute(day * 1440), self.minute((day + 1) * 1440));
        format!("FOR VALUES FROM ({from}) TO ({to})")
    }

    /// What distinguishes the partition of a day.
    pub fn name_of(day: i64) -> String {
        if day < 0 {
            format!("before_{}", -day)
        } else {
            format!("day_{day}")
        }
    }

    pub fn minute(&self, minute: i64) -> String {
        format!(
            "(timestamptz '{}' + interval '{minute} minutes')",
            self.epoch
        )
    }

    fn connect(&self) -> Client {
        let mut client = eventually(SOON, || {
            self.m
                .cluster
                .try_connect_as("postgres", &self.m.database)
                .ok()
        });
        // One thread takes the steps of all sessions: none may wait for another for long.
        client
            .batch_execute("SET lock_timeout = '40ms'")
            .expect("a setting");
        client
    }

    /// Writes down what is about to be done.
    pub fn note(&mut self, text: String) {
        self.log.push(text);
    }

    /// Writes down how it ended.
    pub fn remark(&mut self, text: &str) {
        if let Some(last) = self.log.last_mut() {
            last.push_str(text);
        }
    }

    /// Does something in a session. An error that the steps may meet ends the transaction, or goes back to its last
    /// savepoint.
    pub fn act(
        &mut self,
        n: usize,
        what: &str,
        f: impl FnOnce(&mut Client) -> Result<(), postgres::Error>,
    ) -> bool {
        self.note(format!("session {n}: {what}"));
        let outcome = f(&mut self.sessions[n].client);
        let Err(e) = outcome else { return true };
        let code = e.code().map(|c| c.code().to_string());
        match &code {
            Some(c) if EXPECTED.contains(&c.as_str()) => {}
            _ => panic!("{what}: {e:?}"),
        }
        self.remark(&format!(
            "   -- {}",
            e.as_db_error().map_or("", |d| d.message())
        ));
        let back = self.choices.below(2) == 0;
        let s = &mut self.sessions[n];
        if s.open {
            if s.savepoints > 0 && back {
                let sql = format!("ROLLBACK TO s{}", s.savepoints);
                self.note(format!("session {n}: {sql}"));
                self.sessions[n]
                    .client
                    .batch_execute(&sql)
                    .expect("a rollback");
            } else {
                self.end(n, "ROLLBACK");
            }
        }
        false
    }

    /// Runs statements in a session.
    pub fn run(&mut self, n: usize, sql: &str) -> bool {
        self.act(n, sql, |c| c.batch_execute(sql))
    }

    /// Ends a session's transaction.
    pub fn end(&mut self, n: usize, sql: &str) {
        self.sessions[n].open = false;
        self.sessions[n].savepoints = 0;
        self.run(n, sql);
    }

    /// A new connection for a session; what it had not committed is gone.
    pub fn reconnect(&mut self, n: usize) {
        self.note(format!("session {n}: reconnects"));
        let client = self.connect();
        self.sessions[n] = Session {
            client,
            open: false,
            savepoints: 0,
        };
    }

    /// Ends the server's processes without warning.
    pub fn crash(&mut self, sql: Option<&str>) {
        let pid = sql.map(|sql| self.m.text(sql).parse().ok());
        match pid {
            None => {
                self.note("the server is killed".into());
                self.m.cluster.kill9_postmaster_tree();
                self.m.cluster.start_again();
            }
            Some(Some(pid)) => {
                self.note(format!("killed: {}", sql.unwrap_or("")));
                self.m.cluster.kill9(pid);
                let client = &mut self.m.client;
                eventually(SOON, || client.batch_execute("SELECT 1").err());
            }
            Some(None) => return,
        }
        self.m.reconnect();
        for n in 0..self.sessions.len() {
            self.reconnect(n);
        }
    }

    /// Stops the worker for a moment, as a machine that is too busy does.
    pub fn freeze_worker(&mut self) {
        let Ok(pid) = self
            .m
            .text("SELECT worker_pid FROM monitor_health")
            .parse::<i32>()
        else {
            return;
        };
        self.note("the worker is stopped for 300 ms".into());
        self.m.cluster.freeze_for(pid, Duration::from_millis(300));
    }

    /// Ends what is open, one way or the other.
    pub fn settle(&mut self) {
        for n in 0..self.sessions.len() {
            if self.sessions[n].open {
                let how = ["COMMIT", "COMMIT", "ROLLBACK"][self.choices.below(3) as usize];
                self.end(n, how);
            }
        }
    }

    /// What must hold once it is quiet.
    pub fn assert_exact(&mut self) {
        self.note("-- quiet".into());
        // Long enough for a worker that was stopped, or that ended and is started again.
        self.m.run("SELECT start_monitor()");
        self.m.until("SELECT worker_alive FROM monitor_health", "t");
        self.m.run("SELECT run_monitor()");
        let sales = self.amounts.then_some("sales");
        for monitor in ["transactions", "payments"].into_iter().chain(sales) {
            self.m.assert_models_of(monitor);
            incidents::assert_recorded(&mut self.m, monitor);
        }
        let errors = self.m.number("SELECT errors FROM monitor_stats");
        assert_eq!(errors, 0, "faults");
    }

    /// Gives the database up.
    pub fn leave(mut self) {
        for name in std::mem::take(&mut self.prepared) {
            self.m.run(&format!("ROLLBACK PREPARED '{name}'"));
        }
        self.sessions.clear();
        let (cluster, database) = (self.m.cluster, self.m.database.clone());
        self.m.client = cluster.connect();
        self.m
            .run(&format!("DROP DATABASE {database} WITH (FORCE)"));
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, live) = (self.seed, self.live);
            eprintln!("TESTBED_SEED={seed}, epoch {}, live {live}:", self.epoch);
            for line in &self.log {
                eprintln!("  {line}");
            }
        }
    }
}
