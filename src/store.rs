//! The SQL of configuration, watched tables and states; `ledger` has that of alerts. Names of the extension's own objects are qualified with its schema, operators and
//! functions with pg_catalog through the pinned search_path of whoever calls.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::CStr;

use detector::Limits;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::spi::{quote_identifier, Spi, SpiTupleTable};
use pgrx::{pg_guard, pg_sys, PgSqlErrorCode};

use crate::calendar::Calendar;
use crate::fault;
use crate::key;
use crate::maintenance::{self, Stretch};
use crate::measure::{Measure, ENDLESS, MOST_AMOUNT};
use crate::monitor::{Monitor, Rule, SHIPPED, SHIPPED_NAME};
use crate::plan::{self, MOST};
use crate::ratio;
use crate::settings;
use crate::shared::Direction;
use crate::statement;

/// Rows fetched at a time.
const BATCH: i64 = 5_000;

/// The extension, as the catalog has it.
#[derive(Clone, Copy)]
struct Home {
    extension: pg_sys::Oid,
    schema: pg_sys::Oid,
    owner: pg_sys::Oid,
}

thread_local! {
    /// Until a relation changes: to drop the extension is to drop its tables, to give it to another owner is to
    /// give him its tables.
    static HOME: Cell<Option<Home>> = const { Cell::new(None) };
    /// Tables, views and sequences of the extension, until a relation changes.
    static OWN_RELATIONS: RefCell<Option<Vec<pg_sys::Oid>>> = const { RefCell::new(None) };
    /// Whether a relation, and whether a database, has changed since somebody asked.
    static CHANGED: Cell<bool> = const { Cell::new(true) };
    static DATABASES_CHANGED: Cell<bool> = const { Cell::new(true) };
}

/// Has what is remembered of the catalog forgotten in time; once per process.
pub fn follow_catalog() {
    // SAFETY: the function lives as long as the library, which is never unloaded.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(forget), pg_sys::Datum::from(0usize));
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::DATABASEOID as _,
            Some(note_database),
            pg_sys::Datum::from(0usize),
        );
    }
}

/// Whether a relation has changed since this was last asked. A transaction hears of it when it begins.
pub fn take_catalog_change() -> bool {
    CHANGED.replace(false)
}

/// Whether a database of the server has changed since this was last asked.
pub fn take_database_change() -> bool {
    DATABASES_CHANGED.replace(false)
}

#[pg_guard]
unsafe extern "C-unwind" fn note_database(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    DATABASES_CHANGED.set(true);
    CHANGED.set(true);
}

#[pg_guard]
unsafe extern "C-unwind" fn forget(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    HOME.set(None);
    // Not while it is being read: then it is read once more at the next transaction.
    OWN_RELATIONS.with(|known| {
        if let Ok(mut known) = known.try_borrow_mut() {
            *known = None;
        }
    });
    CHANGED.set(true);
    plan::relation_changed(relation);
}

fn home() -> Option<Home> {
    if let Some(known) = HOME.get() {
        return Some(known);
    }
    // SAFETY: a catalog lookup inside a transaction.
    let extension = unsafe { pg_sys::get_extension_oid(c"cloudwalk_monitor".as_ptr(), true) };
    if extension == pg_sys::InvalidOid {
        return None;
    }
    let sql = "SELECT extnamespace, extowner FROM pg_catalog.pg_extension WHERE oid = $1";
    let home = all(sql, &[extension.into()], |r| {
        Some(Home {
            extension,
            schema: get(r, 1)?,
            owner: get(r, 2)?,
        })
    })
    .pop()?;
    HOME.set(Some(home));
    Some(home)
}

/// OID of the extension, if it is installed.
pub fn extension() -> Option<pg_sys::Oid> {
    home().map(|h| h.extension)
}

/// Owner of the extension.
pub fn extension_owner() -> Option<pg_sys::Oid> {
    home().map(|h| h.owner)
}

/// Locks every relation of the extension, so that nobody can drop or rebuild one before the transaction ends; false,
/// and nothing is waited for, where somebody is at it. DROP EXTENSION locks them one by one in an order of its own:
/// whoever waited for one of them while holding another would meet it in a deadlock.
pub fn hold_own_relations() -> bool {
    let Some(extension) = extension() else {
        return true;
    };
    let known = OWN_RELATIONS.with(|known| known.borrow().clone());
    let relations = known.unwrap_or_else(|| {
        let sql = "WITH own AS (SELECT c.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid \
             WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1 AND d.deptype = 'e' \
               AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND c.relkind IN ('r', 'v', 'S')) \
           SELECT oid FROM own UNION SELECT c.oid FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind = 'S' \
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid IN (SELECT oid FROM own) \
            ORDER BY 1";
        let found: Vec<pg_sys::Oid> = all(sql, &[extension.into()], |r| get(r, 1));
        OWN_RELATIONS.set(Some(found.clone()));
        found
    });
    // SAFETY: takes locks of the transaction, without waiting.
    relations
        .into_iter()
        .all(|oid| unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessShareLock as _) })
}

fn missing_extension() -> ! {
    fault::raise(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        "extension \"cloudwalk_monitor\" does not exist in this database".into(),
        "Its tables are needed.".into(),
        "CREATE EXTENSION cloudwalk_monitor;",
    )
}

/// Schema of the extension, quoted, by the name it has now.
pub fn schema() -> String {
    let name = home().and_then(|h| {
        // SAFETY: a lookup in the catalog cache; the text is copied before anything else is done.
        unsafe {
            let name = pg_sys::get_namespace_name(h.schema);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    });
    name.map_or_else(|| missing_extension(), quote_identifier)
}

pub(crate) type Args<'a> = [pgrx::datum::DatumWithOid<'a>];

pub(crate) fn failed<T>(e: pgrx::spi::SpiError) -> T {
    fault::raise(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "a query of the monitor failed".into(),
        e.to_string(),
        "Check that the extension's tables are as CREATE EXTENSION made them.",
    )
}

/// First column of the first row.
pub(crate) fn one<T: pgrx::FromDatum + pgrx::IntoDatum>(sql: &str, args: &Args) -> Option<T> {
    statement::read(sql, Some(1), args, first).unwrap_or_else(failed)
}

/// First column of the first row.
pub(crate) fn first<T: pgrx::FromDatum + pgrx::IntoDatum>(rows: SpiTupleTable) -> Option<T> {
    if rows.is_empty() {
        None
    } else {
        rows.first().get_one::<T>().unwrap_or_else(failed)
    }
}

/// Every row, turned into something by a closure.
pub(crate) fn all<T>(
    sql: &str,
    args: &Args,
    row: impl Fn(&pgrx::spi::SpiHeapTupleData) -> Option<T>,
) -> Vec<T> {
    statement::read(sql, None, args, |rows| {
        rows.filter_map(|r| row(&r)).collect()
    })
    .unwrap_or_else(failed)
}

pub(crate) fn write(sql: &str, args: &Args) {
    statement::write(sql, None, args, |_| ()).unwrap_or_else(failed)
}

pub(crate) fn get<T: pgrx::FromDatum + pgrx::IntoDatum>(
    row: &pgrx::spi::SpiHeapTupleData,
    n: usize,
) -> Option<T> {
    row.get::<T>(n).unwrap_or_else(failed)
}

/// A time as PostgreSQL's microseconds.
pub fn micros(t: TimestampWithTimeZone) -> i64 {
    t.into_inner()
}

/// The time of PostgreSQL's microseconds.
pub fn timestamp(us: i64) -> TimestampWithTimeZone {
    // Values outside of the calendar's range are clamped to its ends.
    const LEAST: i64 = -211_813_488_000_000_000;
    const MOST: i64 = 9_223_371_331_199_999_999;
    TimestampWithTimeZone::try_from(us.clamp(LEAST, MOST))
        .unwrap_or_else(|_| TimestampWithTimeZone::positive_infinity())
}

/// The same, with infinity at the ends of the numbers.
fn timestamp_or_infinity(us: i64) -> TimestampWithTimeZone {
    match us {
        i64::MIN => TimestampWithTimeZone::negative_infinity(),
        i64::MAX => TimestampWithTimeZone::positive_infinity(),
        _ => timestamp(us),
    }
}

const MONITOR_COLUMNS: &str =
    "id, name, relation::pg_catalog.oid, time_column::text, value_column::text, \
     series_columns::text[], (extract(epoch FROM bucket) * 1000000)::bigint, time_zone, \
     (SELECT a.atttypid IN ('numeric'::pg_catalog.regtype, 'float8'::pg_catalog.regtype, 'float4'::pg_catalog.regtype) \
        FROM pg_catalog.pg_attribute a \
       WHERE a.attrelid = relation AND a.attname = value_column AND NOT a.attisdropped)";

/// A table's name, schema-qualified and quoted, what is read of it, and whose it is; None where it is gone.
fn table_of(relation: pg_sys::Oid) -> Option<(String, String, pg_sys::Oid)> {
    all(
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), \
                pg_catalog.format('%s%I.%I', CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, n.nspname, c.relname), \
                c.relowner FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1",
        &[relation.into()],
        |r| Some((get(r, 1)?, get(r, 2)?, get(r, 3)?)),
    )
    .pop()
}

fn shipped() -> Monitor {
    let relation = format!("{}.transactions", schema());
    let oid: Option<pg_sys::Oid> = one(
        "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
        &[relation.as_str().into()],
    );
    let (relation, source, owner) =
        oid.and_then(table_of)
            .unwrap_or((relation.clone(), relation, pg_sys::InvalidOid));
    Monitor {
        id: SHIPPED,
        name: SHIPPED_NAME.into(),
        relation,
        source,
        owner,
        time_column: "time".into(),
        value_column: Some("count".into()),
        series_columns: vec!["status".into()],
        calendar: Calendar::new(crate::calendar::MINUTE_US, "UTC", Measure::Count),
        reopen_within: reopen_within(crate::calendar::MINUTE_US),
        sensitivity: None,
    }
}

/// Reads a watched table as the role that it belongs to, and may do nothing else: what an index, a column or a cast of
/// it calls is not to run with the rights of whoever watches it.
fn as_owner<T>(m: &Monitor, read: impl FnOnce() -> T) -> T {
    // SAFETY: as the server does for VACUUM and for the checks of foreign keys; an error puts both back with its
    // (sub)transaction.
    unsafe {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        let restricted =
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
        pg_sys::SetUserIdAndSecContext(m.owner, context | restricted as i32);
        let result = read();
        pg_sys::SetUserIdAndSecContext(user, context);
        result
    }
}

/// `reopen_window` in buckets of a width.
fn reopen_within(width: i64) -> u32 {
    let window = crate::settings::reopen_window();
    u32::try_from(window / width.max(1)).unwrap_or(u32::MAX)
}

fn watched(condition: &str, args: &Args) -> Vec<Monitor> {
    let sql = format!(
        "SELECT {MONITOR_COLUMNS} FROM {}.watched WHERE {condition} ORDER BY id",
        schema()
    );
    struct Found {
        monitor: Monitor,
        relation: pg_sys::Oid,
    }
    let found = all(&sql, args, |r| {
        let width = get(r, 7)?;
        let measure = if get(r, 9).unwrap_or(false) {
            Measure::Amount
        } else {
            Measure::Count
        };
        Some(Found {
            relation: get(r, 3)?,
            monitor: Monitor {
                id: get(r, 1)?,
                name: get(r, 2)?,
                relation: String::new(),
                source: String::new(),
                owner: pg_sys::InvalidOid,
                time_column: get(r, 4)?,
                value_column: get(r, 5),
                series_columns: get(r, 6)?,
                calendar: Calendar::new(width, &get::<String>(r, 8)?, measure),
                reopen_within: reopen_within(width),
                sensitivity: None,
            },
        })
    });
    // A table that was dropped is watched no more.
    found
        .into_iter()
        .filter_map(|f| {
            let (relation, source, owner) = table_of(f.relation)?;
            Some(Monitor {
                relation,
                source,
                owner,
                ..f.monitor
            })
        })
        .collect()
}

/// Keeps a monitor's table from being dropped until the transaction ends; false if that was done already, or somebody
/// is at it: nothing is waited for.
pub fn hold_table(m: &Monitor) -> bool {
    let oid: Option<pg_sys::Oid> = one(
        "SELECT pg_catalog.to_regclass($1)::pg_catalog.oid",
        &[m.relation.as_str().into()],
    );
    let Some(oid) = oid else { return false };
    // SAFETY: locked without waiting, since whoever has it may wait for us; opened by its OID and closed again; the
    // lock stays.
    unsafe {
        if !pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessShareLock as _) {
            return false;
        }
        let relation = pg_sys::try_relation_open(oid, pg_sys::NoLock as _);
        if !relation.is_null() {
            pg_sys::relation_close(relation, pg_sys::NoLock as _);
        }
        !relation.is_null()
    }
}

/// Every monitor.
pub fn monitors() -> Vec<Monitor> {
    let mut list = vec![shipped()];
    // While a dump is restored, a table's rows come before its triggers: until then there is nothing to follow.
    list.extend(watched(
        &format!(
            "EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = relation AND t.tgname = 'cloudwalk_monitor_record_' || id) \
             AND NOT {}",
            is_unreadable()
        ),
        &[],
    ));
    list
}

/// SQL for whether a row of `watched` names columns that cannot be read any more.
fn is_unreadable() -> String {
    format!(
        "EXISTS (SELECT FROM {}.unfit_columns(relation, time_column, value_column, series_columns))",
        schema()
    )
}

/// Drops the stored states of tables that cannot be read: rows come in that nobody counts.
pub fn forget_unreadable() {
    write(
        &format!(
            "DELETE FROM {0}.snapshots s USING {0}.watched w WHERE w.id = s.monitor AND {1}",
            schema(),
            is_unreadable()
        ),
        &[],
    );
}

/// The monitor of a name beside the shipped one, where its table can be read.
fn readable(name: &str) -> Option<Monitor> {
    let condition = format!("name = $1 AND NOT {}", is_unreadable());
    watched(&condition, &[name.into()]).pop()
}

/// The monitor of a name, or an error that says where to look.
pub fn monitor_by_name(name: &str) -> Monitor {
    if name == SHIPPED_NAME {
        return shipped();
    }
    readable(name).unwrap_or_else(|| {
        if watched("name = $1", &[name.into()]).is_empty() {
            fault::raise(
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!("monitor \"{name}\" does not exist"),
                "No table is watched under this name.".into(),
                "See the view monitors; watch_table adds one.",
            )
        }
        fault::raise(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("the table of monitor \"{name}\" cannot be read any more"),
            "A column that it reads is gone, or has a type that cannot be read.".into(),
            "See the view blind_spots; then unwatch_table and watch_table it anew.",
        )
    })
}

/// The monitor of a name as far as its incidents need it, which stay when its table cannot be read, is gone or is watched
/// no more.
pub fn monitor_of_record(name: &str) -> Monitor {
    if name == SHIPPED_NAME {
        return shipped();
    }
    readable(name).unwrap_or_else(|| Monitor {
        id: -1,
        name: name.into(),
        ..shipped()
    })
}

/// The rules of a monitor.
pub fn rules(monitor: &str) -> Vec<Rule> {
    let sql = format!(
        "SELECT series, direction, warn_above, critical_above, warn_below, critical_below, \
                numerator, denominator, min_volume, open_after, open_within, resolve_after, \
                sensitivity, min_abs, min_percent \
           FROM {}.rules WHERE monitor = $1 ORDER BY series",
        schema()
    );
    all(&sql, &[monitor.into()], |r| {
        let limit = |n| get::<f64>(r, n).unwrap_or(f64::NAN);
        let number = |n| get::<i32>(r, n).map_or(0, i32::unsigned_abs);
        Some(Rule {
            series: get(r, 1)?,
            direction: get::<String>(r, 2).and_then(|d| Direction::parse(&d)),
            limits: Limits {
                warn_above: limit(3),
                critical_above: limit(4),
                warn_below: limit(5),
                critical_below: limit(6),
            },
            ratio: get::<Vec<String>>(r, 7).map(|numerator| ratio::Definition {
                numerator,
                denominator: get(r, 8).unwrap_or_default(),
                min_volume: get(r, 9).unwrap_or(1.0),
            }),
            open_after: number(10),
            open_within: number(11),
            resolve_after: number(12),
            sensitivity: get::<f32>(r, 13).map(f64::from),
            min_abs: get(r, 14).unwrap_or(0.0),
            min_percent: get(r, 15).unwrap_or(0.0),
        })
    })
}

/// Maintenance of a monitor, in buckets: in order of time and apart from each other.
pub fn maintenance(m: &Monitor) -> Vec<Stretch> {
    let sql = format!(
        "SELECT lower(during), upper(during) FROM {}.maintenance WHERE monitor = $1",
        schema()
    );
    let list = all(&sql, &[m.name.as_str().into()], |r| {
        let (from, to) = (micros(get(r, 1)?), micros(get(r, 2)?));
        Some(maintenance::stretch(&m.calendar, from, to))
    });
    maintenance::joined(list)
}

/// The newest bucket with a row that is not later than `before`.
pub fn newest(m: &Monitor, before: i64) -> Option<i64> {
    let sql = format!(
        "SELECT max({t}) FROM {r} WHERE {t} <= $1 AND {t} > '-infinity'",
        t = quote_identifier(&m.time_column),
        r = m.source
    );
    as_owner(m, || {
        one::<TimestampWithTimeZone>(&sql, &[timestamp(before).into()])
    })
    .and_then(|t| m.calendar.bucket(micros(t)))
}

/// Whether a bucket has a row.
pub fn has_row_in(m: &Monitor, bucket: i64) -> bool {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {r} WHERE {t} >= $1 AND {t} < $2)",
        t = quote_identifier(&m.time_column),
        r = m.source
    );
    let bounds = [bucket, bucket.saturating_add(1)].map(|b| timestamp(m.calendar.start(b)));
    as_owner(m, || {
        one::<bool>(&sql, &[bounds[0].into(), bounds[1].into()])
    })
    .unwrap_or(false)
}

/// The oldest bucket with a row later than `after`, within a stretch of time.
pub fn oldest_after(m: &Monitor, after: i64) -> Option<i64> {
    let sql = format!(
        "SELECT min({t}) FROM {r} WHERE {t} > $1 AND {t} < 'infinity'",
        t = quote_identifier(&m.time_column),
        r = m.source
    );
    as_owner(m, || {
        one::<TimestampWithTimeZone>(&sql, &[timestamp(after).into()])
    })
    .and_then(|t| m.calendar.bucket(micros(t)))
}

/// One group of the watched table: bucket, key of the series, sum, rows.
pub type Group<'a> = (i64, &'a [u8], i64, i64);

/// A column of amounts in millionths, as `measure::micros` has them: NULL where one is no number.
fn amount(column: &str) -> String {
    // A numeric that is larger cannot be cast.
    let number =
        format!("CASE WHEN pg_catalog.abs({column}) < 1e301 THEN {column}::pg_catalog.float8 END");
    format!(
        "CASE WHEN pg_catalog.abs({number}) < {ENDLESS:e} \
              THEN pg_catalog.round(GREATEST(LEAST({number}, {MOST_AMOUNT:e}), -{MOST_AMOUNT:e}) \
                                    * 1000000::pg_catalog.float8)::pg_catalog.int8 END"
    )
}

/// What a row counts for at most, either way. LEAST and GREATEST pass over NULL.
fn bounded(column: &str, measure: Measure) -> String {
    match measure {
        Measure::Count => {
            format!("GREATEST(LEAST({column}, {MOST}::pg_catalog.int8), -{MOST}::pg_catalog.int8)")
        }
        Measure::Amount => amount(column),
    }
}

/// The sum of a column, as the shared ring has it: each row bounded, and wrapped at the ends of an int8.
fn bounded_sum(column: &str, measure: Measure) -> String {
    let bounded = bounded(column, measure);
    let sum = format!("pg_catalog.sum({bounded}) FILTER (WHERE {column} IS NOT NULL)");
    let (half, whole) = (1i128 << 63, 1i128 << 64);
    format!(
        "CASE WHEN {sum} >= -{half} AND {sum} < {half} THEN {sum} \
              ELSE pg_catalog.mod(pg_catalog.mod({sum} + {half}, {whole}) + {whole}, {whole}) - {half} \
          END::pg_catalog.int8"
    )
}

/// Whether an index has the rows of a watched table in order of time.
fn is_in_order(m: &Monitor) -> bool {
    one(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a \
                          ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
                         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
                         JOIN pg_catalog.pg_am o ON o.oid = c.relam AND o.amname = 'btree' \
                         WHERE i.indrelid = $1::pg_catalog.text::pg_catalog.regclass AND i.indisvalid \
                           AND i.indpred IS NULL AND a.attname = $2)",
        &[m.relation.as_str().into(), m.time_column.as_str().into()],
    )
    .unwrap_or(false)
}

/// What is read of the watched table: groups of a bucket and series; but its rows, where each is a count of several things,
/// so that a group is often one row, and they come in order of time.
fn scan_sql(m: &Monitor) -> String {
    let time = quote_identifier(&m.time_column);
    let columns: Vec<String> = m.series_columns.iter().map(quote_identifier).collect();
    let keys: String = columns.iter().map(|c| format!(", {c}")).collect();
    let these = format!(
        "FROM {relation} WHERE {time} >= $1 AND {time} < $2 AND {time} > '-infinity'",
        relation = m.source
    );
    let value = m.value_column.as_ref().map(quote_identifier);
    match value {
        Some(v) if m.calendar.measure == Measure::Count && is_in_order(m) => {
            format!(
                "SELECT {time}, CASE WHEN {v} IS NOT NULL THEN {} END, 1::pg_catalog.int8{keys} {these} ORDER BY 1",
                bounded(&v, Measure::Count)
            )
        }
        value => format!(
            "SELECT pg_catalog.date_bin('{width} microseconds'::pg_catalog.interval, {time}, \
                    '2000-01-01 00:00:00+00'::pg_catalog.timestamptz), {sum}, pg_catalog.count(*){keys} \
               {these} GROUP BY 1{keys} ORDER BY 1",
            width = m.calendar.width,
            sum = value.map_or("pg_catalog.count(*)".into(), |v| {
                bounded_sum(&v, m.calendar.measure)
            }),
        ),
    }
}

/// Reads the watched table between two times (`from` included, `to` not), in order of the bucket, each bucket and series
/// once or several times. Uses the active snapshot.
pub fn scan(m: &Monitor, from: i64, to: i64, each: &mut dyn FnMut(Group)) {
    as_owner(m, || scan_as_it_is(m, from, to, each));
}

fn scan_as_it_is(m: &Monitor, from: i64, to: i64, each: &mut dyn FnMut(Group)) {
    Spi::connect(|c| {
        let mut cursor = c.open_cursor(
            &scan_sql(m),
            &[timestamp(from).into(), timestamp(to).into()],
        );
        let mut key = Vec::new();
        let mut fields = plan::Fields::default();
        let mut reader = None;
        loop {
            cursor.fetch(BATCH).unwrap_or_else(failed);
            if crate::worker::must_stop() {
                crate::fault::raise(
                    pgrx::PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
                    "the worker is to stop".into(),
                    "It was reading the rows of a monitor.".into(),
                    "It reads them again when it is started.",
                );
            }
            // SAFETY: the rows just fetched, which stay until they are freed; their columns are those of the query.
            unsafe {
                let table = pg_sys::SPI_tuptable;
                if table.is_null() || (*table).numvals == 0 {
                    break;
                }
                let reader = reader
                    .get_or_insert_with(|| Reader::of((*table).tupdesc, m.series_columns.len()));
                let rows = std::slice::from_raw_parts((*table).vals, (*table).numvals as usize);
                for row in rows {
                    fields.take(*row, (*table).tupdesc);
                    if let Some((bucket, sum, rows)) = reader.read(&m.calendar, &fields, &mut key) {
                        each((bucket, &key, sum, rows));
                    }
                }
                pg_sys::SPI_freetuptable(table);
            }
        }
    });
}

/// How the key of a series is read from the rows of [`scan_sql`]: as the trigger reads it from those of the table.
struct Reader(Vec<plan::KeyColumn>);

impl Reader {
    /// # Safety
    /// `columns` must be the descriptor of such rows.
    unsafe fn of(columns: pg_sys::TupleDesc, keys: usize) -> Reader {
        let column = |number: i32| plan::Column {
            number,
            type_id: pg_sys::SPI_gettypeid(columns, number),
        };
        let keys = (0..keys as i32).map(|n| plan::KeyColumn::of(column(4 + n)));
        Reader(keys.collect())
    }

    /// The bucket, the sum and the number of rows; the key of the series is written into `key`.
    ///
    /// # Safety
    /// `row` must be such a row, and still be there.
    unsafe fn read(
        &self,
        calendar: &Calendar,
        row: &plan::Fields,
        key: &mut Vec<u8>,
    ) -> Option<(i64, i64, i64)> {
        let number = |column| row.get(column).map(|d| d.value() as i64);
        let bucket = calendar.bucket(number(1)?)?;
        key.clear();
        for k in &self.0 {
            k.push(row, key);
        }
        key::bound(key);
        Some((bucket, number(2).unwrap_or(0), number(3)?))
    }
}

/// A snapshot: time of its bucket, and states by key.
pub struct Snapshot {
    pub bucket: i64,
    pub states: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The newest snapshot whose bucket is not later than `before`.
pub fn snapshot(m: &Monitor, before: i64) -> Option<Snapshot> {
    let schema = schema();
    let time: TimestampWithTimeZone = one(
        &format!("SELECT max(time) FROM {schema}.snapshots WHERE monitor = $1 AND time <= $2"),
        &[m.id.into(), timestamp(m.calendar.start(before)).into()],
    )?;
    // Where a dump brought states for the same bucket, the latest ones count, and are not mixed with others.
    let states = all(
        &format!(
            "SELECT series, state FROM {schema}.snapshots WHERE monitor = $1 AND time = $2 AND stored_at = \
               (SELECT max(stored_at) FROM {schema}.snapshots WHERE monitor = $1 AND time = $2)"
        ),
        &[m.id.into(), time.into()],
        |r| Some((get(r, 1)?, get(r, 2)?)),
    );
    Some(Snapshot {
        bucket: m.calendar.bucket(micros(time))?,
        states,
    })
}

/// How many bytes the rows of a monitor take, those of its partitions included: estimates of rows are only there after an
/// ANALYZE.
pub fn table_size(m: &Monitor) -> i64 {
    one(
        // A table that was dropped meanwhile has none.
        "SELECT pg_catalog.pg_relation_size(r.id) + (SELECT coalesce(sum(pg_catalog.pg_relation_size(t.relid)), 0) \
            FROM pg_catalog.pg_partition_tree(r.id) t WHERE t.relid <> r.id)::bigint \
           FROM (SELECT pg_catalog.to_regclass($1) AS id) r",
        &[m.relation.as_str().into()],
    )
    .unwrap_or(0)
}

/// The series that had a place of their own when states were last stored, where others had none.
pub fn stored_places(m: &Monitor) -> Option<HashSet<Vec<u8>>> {
    let sql = format!(
        "SELECT series FROM {0}.snapshots WHERE monitor = $1 \
            AND time = (SELECT max(time) FROM {0}.snapshots WHERE monitor = $1)",
        schema()
    );
    let keys: HashSet<Vec<u8>> = all(&sql, &[m.id.into()], |r| get(r, 1))
        .into_iter()
        .collect();
    keys.contains(key::ROOM_KEY).then_some(keys)
}

/// Bucket of the newest snapshot.
pub fn newest_snapshot(m: &Monitor) -> Option<i64> {
    let time: TimestampWithTimeZone = one(
        &format!(
            "SELECT max(time) FROM {}.snapshots WHERE monitor = $1",
            schema()
        ),
        &[m.id.into()],
    )?;
    m.calendar.bucket(micros(time))
}

/// A table or partition with rows in it, as it is now or was when it was last looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    pub relation: u32,
    /// Where the rows of a partition are stored: another file after TRUNCATE. 0 for a table of its own, whose trigger tells of
    /// that.
    pub file: i64,
    /// Number of each column that is read, and its type as far as it matters to what is read.
    pub read_as: String,
    /// The transaction that made it a partition.
    pub attached_by: i64,
    /// Its rows lie from here on; -infinity where its bounds do not tell.
    pub since: i64,
    /// And not after this.
    pub until: i64,
}

fn partition(r: &pgrx::spi::SpiHeapTupleData) -> Option<Partition> {
    Some(Partition {
        relation: get::<pg_sys::Oid>(r, 1)?.to_u32(),
        file: get(r, 2)?,
        read_as: get(r, 3)?,
        attached_by: get(r, 4)?,
        since: micros(get(r, 5)?),
        until: micros(get(r, 6)?),
    })
}

/// A monitor's table, and the partitions that hold its rows where it has any. Bounds are those of partitions by range of
/// the time column; others may hold rows of any time.
pub fn partitions(m: &Monitor) -> Vec<Partition> {
    let read: Vec<String> = [&m.time_column]
        .into_iter()
        .chain(&m.value_column)
        .chain(&m.series_columns)
        .cloned()
        .collect();
    all(
        "SELECT c.oid, CASE WHEN c.relkind = 'r' AND t.level = 0 THEN 0 ELSE c.relfilenode::bigint END, \
                (SELECT string_agg(a.attnum || ' ' || CASE WHEN a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN 'integer' \
                                                           WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype) THEN 'text' \
                                                           ELSE a.atttypid::text END, ',' ORDER BY array_position($3, a.attname::text)) \
                   FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = ANY ($3) AND NOT a.attisdropped), \
                coalesce((i.xmin::text)::bigint, 0), \
                coalesce((SELECT b.bound::timestamptz FROM substring(d.bounds FROM $re$^FOR VALUES FROM \\('([^']*)'$re$) AS b(bound) \
                           WHERE d.by_time), '-infinity'), \
                coalesce((SELECT b.bound::timestamptz FROM substring(d.bounds FROM $re$ TO \\('([^']*)'$re$) AS b(bound) \
                           WHERE d.by_time), 'infinity') \
           FROM (SELECT $1::regclass AS relid, 0 AS level UNION ALL \
                 SELECT relid, level FROM pg_catalog.pg_partition_tree($1::regclass) WHERE isleaf AND level > 0) t \
           JOIN pg_catalog.pg_class c ON c.oid = t.relid \
           LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid = c.oid AND t.level > 0 \
           LEFT JOIN LATERAL (SELECT pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS bounds, \
                p.partstrat = 'r' AND a.attname = $2 AS by_time \
                  FROM pg_catalog.pg_partitioned_table p JOIN pg_catalog.pg_attribute a \
                    ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] \
                 WHERE p.partrelid = i.inhparent) d ON true \
          ORDER BY t.level, c.oid",
        &[
            m.relation.as_str().into(),
            m.time_column.as_str().into(),
            read.into(),
        ],
        partition,
    )
}

/// What `partitions` gave when it was last looked at.
pub fn known_partitions(m: &Monitor) -> Vec<Partition> {
    let sql = format!(
        "SELECT relation, file, read_as, attached_by, since, until FROM {}.watched_partitions WHERE monitor = $1",
        schema()
    );
    all(&sql, &[m.id.into()], partition)
}

/// Remembers them.
pub fn set_known_partitions(m: &Monitor, list: &[Partition]) {
    let table = format!("{}.watched_partitions", schema());
    write(
        &format!("DELETE FROM {table} WHERE monitor = $1"),
        &[m.id.into()],
    );
    for p in list {
        write(
            &format!(
                "INSERT INTO {table} (monitor, relation, file, read_as, attached_by, since, until) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)"
            ),
            &[
                m.id.into(),
                pg_sys::Oid::from(p.relation).into(),
                p.file.into(),
                p.read_as.as_str().into(),
                p.attached_by.into(),
                timestamp_or_infinity(p.since).into(),
                timestamp_or_infinity(p.until).into(),
            ],
        );
    }
}

/// Whether a partition may have rows. Asked without reading it: its own rights may be others than its parent's.
pub fn has_rows(partition: u32) -> bool {
    one::<i64>(
        "SELECT pg_catalog.pg_relation_size($1)",
        &[pg_sys::Oid::from(partition).into()],
    )
    .is_some_and(|bytes| bytes > 0)
}

/// Notes on disk, with this transaction, that the stored states do not know of a change.
pub fn note_unfolded(m: &Monitor, since: i64) {
    write(
        &format!(
            "INSERT INTO {}.unfolded (monitor, since, xid) \
             VALUES ($1, $2, (pg_catalog.pg_current_xact_id()::text)::bigint)",
            schema()
        ),
        &[m.id.into(), timestamp_or_infinity(since).into()],
    );
}

/// The rows of `unfolded` for a monitor: transaction, and the bucket from which on it changed something.
pub fn unfolded(m: &Monitor) -> Vec<(i64, i64)> {
    let sql = format!(
        "SELECT xid, since FROM {}.unfolded WHERE monitor = $1",
        schema()
    );
    all(&sql, &[m.id.into()], |r| {
        let since = micros(get(r, 2)?);
        Some((get(r, 1)?, m.calendar.bucket(since).unwrap_or(i64::MIN)))
    })
}

/// Deletes the rows of `unfolded` that transactions left.
pub fn forget_unfolded(m: &Monitor, xids: &[i64]) {
    if !xids.is_empty() {
        write(
            &format!(
                "DELETE FROM {}.unfolded WHERE monitor = $1 AND xid = ANY ($2)",
                schema()
            ),
            &[m.id.into(), xids.to_vec().into()],
        );
    }
}

/// Start of the newest bucket of a monitor whose rows came from a dump, i64::MIN where none did; None: the
/// monitor itself came from a dump and has not been looked at yet.
pub fn quiet_until(monitor: i32) -> Option<i64> {
    let sql = format!(
        "SELECT quiet_until FROM {}.adopted WHERE monitor = $1",
        schema()
    );
    one::<TimestampWithTimeZone>(&sql, &[monitor.into()]).map(micros)
}

/// Stores it.
pub fn set_quiet_until(monitor: i32, until: i64) {
    let until = if until == i64::MIN {
        TimestampWithTimeZone::negative_infinity()
    } else {
        timestamp(until)
    };
    write(
        &format!(
            "INSERT INTO {}.adopted AS a (monitor, quiet_until) VALUES ($1, $2) \
             ON CONFLICT (monitor) DO UPDATE SET quiet_until = greatest(a.quiet_until, excluded.quiet_until)",
            schema()
        ),
        &[monitor.into(), until.into()],
    );
}

/// Drops the snapshots of buckets from one on.
pub fn drop_snapshots(m: &Monitor, from: i64) {
    write(
        &format!(
            "DELETE FROM {}.snapshots WHERE monitor = $1 AND time >= $2",
            schema()
        ),
        &[m.id.into(), timestamp(m.calendar.start(from)).into()],
    );
}

/// Stores a snapshot, in place of one of the same bucket.
pub fn store_snapshot(m: &Monitor, snapshot: &Snapshot) {
    /// States written by one statement.
    const BATCH: usize = 500;
    let time = m.calendar.start(snapshot.bucket);
    drop_snapshots_of(m, &[time]);
    let sql = format!(
        "INSERT INTO {}.snapshots (monitor, time, series, state) \
         SELECT $1, $2, s.series, s.state FROM ROWS FROM (pg_catalog.unnest($3), pg_catalog.unnest($4)) AS s(series, state)",
        schema()
    );
    for batch in snapshot.states.chunks(BATCH) {
        let (series, states): (Vec<_>, Vec<_>) = batch.iter().cloned().unzip();
        write(
            &sql,
            &[
                m.id.into(),
                timestamp(time).into(),
                series.into(),
                states.into(),
            ],
        );
    }
}

/// Start of the buckets that a monitor has snapshots of, in order of time.
pub fn snapshot_times(m: &Monitor) -> Vec<i64> {
    let sql = format!(
        "SELECT DISTINCT time FROM {}.snapshots WHERE monitor = $1 AND series = ''::bytea ORDER BY time",
        schema()
    );
    all(&sql, &[m.id.into()], |r| Some(micros(get(r, 1)?)))
}

/// Drops the snapshots of some times.
pub fn drop_snapshots_of(m: &Monitor, times: &[i64]) {
    if times.is_empty() {
        return;
    }
    let times: Vec<_> = times.iter().map(|t| timestamp(*t)).collect();
    write(
        &format!(
            "DELETE FROM {}.snapshots WHERE monitor = $1 AND time = ANY ($2)",
            schema()
        ),
        &[m.id.into(), times.into()],
    );
}

/// Drops the snapshots that are older than a time.
pub fn prune_snapshots(m: &Monitor, before: i64) {
    write(
        &format!(
            "DELETE FROM {}.snapshots WHERE monitor = $1 AND time < $2",
            schema()
        ),
        &[m.id.into(), timestamp(before).into()],
    );
}

/// NOTIFY, in the transaction that goes on.
pub fn pg_notify(channel: &str, payload: &str) {
    write(
        "SELECT pg_catalog.pg_notify($1, $2)",
        &[channel.into(), payload.into()],
    );
}

/// How full the server's notification queue is, 0 to 1.
pub fn queue_usage() -> f64 {
    one("SELECT pg_catalog.pg_notification_queue_usage()", &[]).unwrap_or(0.0)
}

/// The id of the newest alert; 0 before the first.
pub fn last_alert() -> i64 {
    one(&format!("SELECT max(id) FROM {}.alerts", schema()), &[]).unwrap_or(0)
}

/// What `monitor_health` says.
pub fn health_status() -> String {
    one(
        &format!("SELECT status FROM {}.monitor_health", schema()),
        &[],
    )
    .unwrap_or_default()
}

/// The name of this database.
pub fn database_name() -> String {
    one("SELECT pg_catalog.current_database()::text", &[]).unwrap_or_default()
}

/// `alert_horizon` as configured for the server or the database, microseconds. A session's own value, and
/// one set for the database after this process connected, do not reach the worker by themselves.
pub fn configured_alert_horizon() -> i64 {
    let text: Option<String> = one(
        "SELECT pg_catalog.split_part(c, '=', 2) FROM pg_catalog.pg_db_role_setting s, \
                pg_catalog.unnest(s.setconfig) AS c \
          WHERE s.setrole = 0 AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d \
                WHERE d.datname = pg_catalog.current_database())) \
            AND c LIKE 'cloudwalk_monitor.alert_horizon=%' ORDER BY s.setdatabase DESC",
        &[],
    );
    text.and_then(|t| std::ffi::CString::new(t).ok())
        .and_then(|t| settings::interval_us(&t))
        .unwrap_or_else(settings::alert_horizon)
}

/// Transactions of this database that are prepared now.
pub fn prepared_transactions() -> Vec<u32> {
    all(
        "SELECT transaction FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()",
        &[],
        |r| get::<pg_sys::TransactionId>(r, 1).map(|x| x.into_inner()),
    )
}

/// Deletes alerts of incidents that ended, were last heard of before a time, and lie before the horizon: later ones
/// would be opened anew by a refold. Looks at a few after a given one; gives the last of them where there may be more.
pub fn prune_alerts(before: i64, horizon: i64, after: i64) -> Option<i64> {
    const FEW: i64 = 1_000;
    crate::ledger::append_lock();
    let s = schema();
    let sql = format!(
        "WITH seen AS MATERIALIZED \
           (SELECT id, incident, at FROM {s}.alerts WHERE id > $1 ORDER BY id LIMIT $2), \
         ended AS (SELECT c.incident FROM (SELECT DISTINCT incident FROM seen WHERE at < $3) c \
           WHERE NOT EXISTS (SELECT FROM {s}.alerts a WHERE a.incident = c.incident AND (a.at >= $3 OR a.time >= $4)) \
             AND (SELECT a.event IN ('resolved', 'retracted') FROM {s}.alerts a WHERE a.incident = c.incident \
                     AND a.event IN ('opened', 'reopened', 'flapping', 'resolved', 'retracted') \
                   ORDER BY a.id DESC LIMIT 1) IS NOT FALSE), \
         gone AS (DELETE FROM {s}.alerts a USING ended e WHERE a.incident = e.incident) \
         SELECT max(id) FROM seen HAVING count(*) = $2 AND bool_and(at < $3)"
    );
    let args = [
        after.into(),
        FEW.into(),
        timestamp(before).into(),
        timestamp(horizon).into(),
    ];
    statement::write(&sql, None, &args, first).unwrap_or_else(failed)
}

/// Deletes silences that ended before a time and have been settled, once no alert is left that they hid.
pub fn prune_silences(before: i64) {
    let s = schema();
    let sql = format!(
        "DELETE FROM {s}.silences x WHERE coalesce(x.ended_at, x.until) < $1 AND x.settled_at IS NOT NULL \
           AND NOT EXISTS (SELECT FROM {s}.alerts a WHERE a.silence = x.id)"
    );
    write(&sql, &[timestamp(before).into()]);
}

/// Notes anew what is open, where rows came into `alerts` with its trigger switched off.
pub fn recover_open_incidents() {
    let s = schema();
    write(
        &format!(
            "INSERT INTO {s}.open_incidents (incident, monitor, group_id, acknowledged, flapping) \
             SELECT o.id, o.monitor, coalesce(o.group_id, o.id), false, l.event = 'flapping' FROM {s}.alerts o \
               JOIN LATERAL (SELECT x.event FROM {s}.alerts x WHERE x.incident = o.id \
                     AND x.event IN ('opened', 'reopened', 'flapping', 'resolved', 'retracted') ORDER BY x.id DESC LIMIT 1) l \
                 ON l.event NOT IN ('resolved', 'retracted') \
              WHERE o.event = 'opened' AND NOT EXISTS (SELECT FROM {s}.open_incidents) ON CONFLICT DO NOTHING"
        ),
        &[],
    );
}

/// Every database there is.
pub fn all_databases() -> Vec<pg_sys::Oid> {
    all("SELECT oid FROM pg_catalog.pg_database", &[], |r| get(r, 1))
}

/// Databases that accept connections.
pub fn databases() -> Vec<pg_sys::Oid> {
    all(
        "SELECT oid FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate",
        &[],
        |r| get(r, 1),
    )
}

/// Name of the session's time zone.
pub fn session_zone() -> String {
    one("SELECT pg_catalog.current_setting('TimeZone')", &[]).unwrap_or_default()
}
