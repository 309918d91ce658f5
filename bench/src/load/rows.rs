//! Rows to load: files that the server itself writes and reads, so that no client is measured.

use std::path::PathBuf;

use postgres::Client;
use testbed::Cluster;

/// The seven statuses of the challenge's files.
pub const STATUSES: [&str; 7] = [
    "approved",
    "denied",
    "failed",
    "reversed",
    "backend_reversed",
    "refunded",
    "processing",
];

/// Rows of some series in order of time, one a series and minute, the last in the minute that ended before now
/// less an offset.
pub struct Rows {
    pub series: usize,
    pub minutes: usize,
    /// Minutes before now that the last row lies.
    pub ago: usize,
    /// Every series has a row each so many minutes; the series take turns.
    pub every: usize,
}

impl Rows {
    /// About so many rows in all.
    pub fn of(rows: usize, series: usize) -> Rows {
        Rows {
            series,
            minutes: rows.div_ceil(series),
            ago: 0,
            every: 1,
        }
    }

    /// As a query of (time, status, count). Deterministic but for the minute it ends in.
    pub fn query(&self) -> String {
        let name = if self.series == STATUSES.len() {
            format!("('{{{}}}'::text[])[s]", STATUSES.join(","))
        } else {
            "'merchant-' || s".into()
        };
        let Rows {
            series,
            minutes,
            ago,
            every,
        } = self;
        format!(
            "SELECT date_trunc('minute', now()) - make_interval(mins => {minutes} + {ago} - m) AS time, {name} AS status, \
                    (CASE s WHEN 1 THEN 120 ELSE 4 END \
                     + (abs(hashint4(m * 31 + s)) % CASE s WHEN 1 THEN 30 ELSE 4 END))::int AS count \
               FROM generate_series(0, {minutes} - 1) AS m, generate_series(1, {series}) AS s \
              WHERE (m + s) % {every} = 0 ORDER BY m, s"
        )
    }

    /// Writes them into a file beside the cluster's data, and gives how many there are.
    pub fn write(&self, cluster: &Cluster, client: &mut Client, name: &str) -> (PathBuf, usize) {
        let path = cluster.data_dir().join(name);
        let rows = client
            .execute(
                &format!("COPY ({}) TO '{}'", self.query(), path.display()),
                &[],
            )
            .expect("the server can write beside its data");
        (path, rows as usize)
    }
}

/// The COPY that reads such a file.
pub fn copy(table: &str, path: &std::path::Path) -> String {
    let third = if table == "payments" {
        "amount"
    } else {
        "count"
    };
    format!(
        "COPY {table} (time, status, {third}) FROM '{}'",
        path.display()
    )
}
