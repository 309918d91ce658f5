//! The row triggers. They read no table and write none, but for a change behind all stored
//! states (`unfolded`).

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use detector::Verdict;
use pgrx::{pg_guard, pg_sys};

use crate::calendar;
use crate::calling::finfo;
use crate::certain;
use crate::fault::{self, Boundary};
use crate::overlay::{self, Opinion, Overlay, Reading};
use crate::plan::{self, Plan};
use crate::quiet;
use crate::settings;
use crate::shared::{self, Seat, Segment, LIVE};
use crate::tuple;
use crate::unfolded;
use crate::unguarded;
use crate::worker;

/// A row taken apart and the key of its series, kept from row to row for their room.
#[derive(Default)]
struct Room {
    fields: plan::Fields,
    key: Vec<u8>,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
    /// Trigger function and extension it belongs to.
    static EXTENSION: Cell<Option<(pg_sys::Oid, pg_sys::Oid)>> = const { Cell::new(None) };
}

finfo!(pg_finfo_judge_row_wrapper);
finfo!(pg_finfo_record_row_wrapper);
finfo!(pg_finfo_record_truncate_wrapper);
finfo!(pg_finfo_rules_changed_wrapper);

/// The kind of trigger that a function is made for.
struct Kind {
    name: &'static str,
    /// Level and time, of [`pg_sys::TriggerEvent`].
    fires: u32,
    /// Whether it takes an event.
    takes: fn(u32) -> bool,
}

const JUDGES: Kind = Kind {
    name: "BEFORE INSERT FOR EACH ROW",
    fires: pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_BEFORE,
    takes: |event| event == pg_sys::TRIGGER_EVENT_INSERT,
};
const RECORDS: Kind = Kind {
    name: "AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW",
    fires: pg_sys::TRIGGER_EVENT_ROW,
    takes: |event| event != pg_sys::TRIGGER_EVENT_TRUNCATE,
};
const TRUNCATES: Kind = Kind {
    name: "AFTER TRUNCATE FOR EACH STATEMENT",
    fires: 0,
    takes: |event| event == pg_sys::TRIGGER_EVENT_TRUNCATE,
};
const OF_RULES: Kind = Kind {
    name: "AFTER, FOR EACH STATEMENT",
    fires: 0,
    takes: |_| true,
};

/// The trigger data of a call, or an error for a call that is not that of such a trigger: there would be no row, or one
/// that must not be given back.
unsafe fn trigger_data<'a>(
    fcinfo: pg_sys::FunctionCallInfo,
    kind: &Kind,
) -> &'a pg_sys::TriggerData {
    const FIRES: u32 = pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_TIMINGMASK;
    let context = (*fcinfo).context;
    let detail = if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
        "It is no function to be called.".into()
    } else {
        let data = &*(context as *const pg_sys::TriggerData);
        let event = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
        if data.tg_event & FIRES == kind.fires && (kind.takes)(event) {
            return data;
        }
        format!("It is made for a trigger {}.", kind.name)
    };
    fault::raise(
        pgrx::PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
        "function was not called as a trigger of its kind".into(),
        detail,
        "It is called by the triggers that watch_table creates.",
    )
}

/// The extension's segment, found through the trigger function's OID: a re-created extension has others.
unsafe fn segment(fcinfo: pg_sys::FunctionCallInfo) -> Option<Segment> {
    let function = (*(*fcinfo).flinfo).fn_oid;
    let extension = match EXTENSION.get() {
        Some((known, x)) if known == function => x,
        _ => {
            let x = pg_sys::get_extension_oid(c"cloudwalk_monitor".as_ptr(), true);
            EXTENSION.set(Some((function, x)));
            x
        }
    };
    if extension == pg_sys::InvalidOid {
        return None;
    }
    let segment = shared::attach(extension)?;
    fault::tell();
    worker::ensure(segment);
    Some(segment)
}

fn fault_in(segment: Option<Segment>, cause: &str, detail: String) {
    if let Some(s) = segment {
        s.header().stats.erred();
    }
    fault::once(cause, detail);
}

/// A row's bucket, when it may be judged: not at infinity, not beyond the tolerance.
fn judged_bucket(segment: Option<Segment>, plan: &Plan, time: Option<i64>) -> Option<i64> {
    let time = time?;
    let bucket = plan.calendar.bucket(time)?;
    let tolerance = segment.map_or(5 * calendar::MINUTE_US, |s| {
        s.header().future_tolerance.load(Ordering::Relaxed)
    });
    let fits = |now: i64| time <= now.saturating_add(tolerance);
    // A statement may go on for hours; the clock is read where its start is not enough.
    (fits(unguarded::statement_start()) || fits(calendar::now())).then_some(bucket)
}

/// BEFORE ROW INSERT: judges the row and fills `expected`, `score` and `verdict`. Records it as well, where it is sure to
/// be inserted.
///
/// # Safety
/// Called by the server as a trigger.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn judge_row_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let data = trigger_data(fcinfo, &JUDGES);
    let tuple = data.tg_trigtuple;
    if !settings::enabled() && !certain::is_marked(data) {
        return tuple.into();
    }
    let plan = match plan::of_trigger(data) {
        Ok(p) => p,
        Err(detail) => {
            lost_if_marked(data);
            fault_in(segment(fcinfo), "the table cannot be read", detail);
            return tuple.into();
        }
    };
    let columns = (*data.tg_relation).rd_att;
    if plan.verdict.is_none() {
        lost_if_marked(data);
        return tuple.into();
    }
    let certain = certain::mark_copy(data, &plan);
    // A restored row keeps the verdict it had.
    let mut room = ROOM.take();
    room.fields.take(tuple, columns);
    let enabled = settings::enabled();
    let judged = enabled && !plan.has_verdict(&room.fields);
    if enabled && !judged && quiet::session_restores(data.tg_relation) {
        overlay::with(Overlay::restores);
    }
    if !judged && !certain {
        ROOM.set(room);
        return tuple.into();
    }
    let segment = segment(fcinfo);
    let row = plan.read(&room.fields, &mut room.key);
    let mut recorded = false;
    let mut filled = tuple;
    if judged {
        let opinion = match segment {
            None => Opinion::LEARNING,
            Some(s) => {
                let (opinion, noted) = judge(s, &plan, &room.key, &row, certain);
                recorded = noted;
                opinion
            }
        };
        filled = fill(&plan, tuple, columns, &mut room.fields, opinion);
    }
    if certain && !recorded {
        note(fcinfo, segment, &plan, &room.key, &row, 1, false);
    }
    ROOM.set(room);
    filled.into()
}

/// Nobody else records the row of a marked statement.
fn lost_if_marked(data: &pg_sys::TriggerData) {
    if certain::is_marked(data) {
        overlay::with(Overlay::has_lost);
    }
}

/// What is said of a row, and whether it was recorded with that, as it may be where it is `certain`.
fn judge(
    segment: Segment,
    plan: &Rc<Plan>,
    key: &[u8],
    row: &plan::Row,
    certain: bool,
) -> (Opinion, bool) {
    let Some(bucket) = judged_bucket(Some(segment), plan, row.time) else {
        return (Opinion::LEARNING, false);
    };
    let now = unguarded::statement_start();
    let reading = Reading {
        bucket,
        count: row.count.unwrap_or(0),
        complete: plan.calendar.start(bucket + 1) <= now && row.count != Some(1),
    };
    let judged = fault::pure(|| {
        fault::at(Boundary::Judge);
        let seat = segment.seat(plan.monitor);
        if let Some(seat) = seat {
            worker::help_sealing(segment, seat, plan, bucket);
        }
        // Others need more than to be added.
        let simple = certain
            && row.count.is_some()
            && matches!(Age::of(segment, seat, plan, bucket), Age::Recent);
        let (opinion, place) = overlay::with(|o| o.judge(segment, plan, key, reading, certain));
        (opinion, place.filter(|_| simple))
    });
    match judged {
        Ok((opinion, place)) => {
            segment
                .header()
                .stats
                .scored
                .fetch_add(1, Ordering::Relaxed);
            let recorded = place.is_some_and(|p| {
                // What fails here is tried once more, and told of.
                fault::pure(|| {
                    fault::at(Boundary::Record);
                    overlay::with(|o| o.record_judged(p, reading));
                })
                .is_ok()
            });
            (opinion, recorded)
        }
        Err(detail) => {
            fault_in(Some(segment), "a reading could not be judged", detail);
            (Opinion::LEARNING, false)
        }
    }
}

/// A copy of the row with its three columns filled.
unsafe fn fill(
    plan: &Plan,
    tuple: pg_sys::HeapTuple,
    columns: pg_sys::TupleDesc,
    fields: &mut plan::Fields,
    opinion: Opinion,
) -> pg_sys::HeapTuple {
    let Some(v) = &plan.verdict else {
        return tuple;
    };
    // A float4 is passed by value, as its bits.
    let float = |x: f64| (x.clamp(-3e38, 3e38) as f32).to_bits();
    let (expected, score) = (opinion.expected.map(float), opinion.score.map(float));
    let label = v.labels[match opinion.verdict {
        Verdict::Learning => 0,
        Verdict::Normal => 1,
        Verdict::Warning => 2,
        Verdict::Critical => 3,
    }];
    if let (true, Some(expected), Some(score)) = (v.are_last, expected, score) {
        if let Some(new) = tuple::with_last(tuple, columns, [expected, score, label.to_u32()]) {
            return new;
        }
    }
    let filled = [
        (v.expected, expected),
        (v.score, score),
        (v.verdict, Some(label.to_u32())),
    ];
    for (number, value) in filled {
        let i = number as usize - 1;
        fields.values[i] = pg_sys::Datum::from(value.unwrap_or(0));
        fields.nulls[i] = value.is_none();
    }
    let new = pg_sys::heap_form_tuple(
        columns,
        fields.values.as_mut_ptr(),
        fields.nulls.as_mut_ptr(),
    );
    // As heap_modify_tuple does: it is the same row.
    (*(*new).t_data).t_ctid = (*(*tuple).t_data).t_ctid;
    (*new).t_self = (*tuple).t_self;
    (*new).t_tableOid = (*tuple).t_tableOid;
    new
}

/// AFTER ROW INSERT, UPDATE or DELETE: records what was really done.
///
/// # Safety
/// Called by the server as a trigger.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn record_row_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let data = trigger_data(fcinfo, &RECORDS);
    let plan = match plan::of_trigger(data) {
        Ok(p) => p,
        Err(detail) => {
            fault_in(segment(fcinfo), "the table cannot be read", detail);
            return pg_sys::Datum::from(0usize);
        }
    };
    let segment = segment(fcinfo);
    let columns = (*data.tg_relation).rd_att;
    let event = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
    let inserted = event == pg_sys::TRIGGER_EVENT_INSERT;
    let updated = event == pg_sys::TRIGGER_EVENT_UPDATE;
    let mut room = ROOM.take();
    let mut read = |tuple: pg_sys::HeapTuple, sign: i64| {
        room.fields.take(tuple, columns);
        let row = plan.read(&room.fields, &mut room.key);
        note(fcinfo, segment, &plan, &room.key, &row, sign, !inserted);
    };
    if inserted {
        read(data.tg_trigtuple, 1);
    } else {
        read(data.tg_trigtuple, -1);
        if updated {
            read(data.tg_newtuple, 1);
        }
    }
    ROOM.set(room);
    pg_sys::Datum::from(0usize)
}

/// Records one change. What fails is told of, and lost until the models are folded again.
unsafe fn note(
    fcinfo: pg_sys::FunctionCallInfo,
    segment: Option<Segment>,
    plan: &Rc<Plan>,
    key: &[u8],
    row: &plan::Row,
    sign: i64,
    correction: bool,
) {
    let result = fault::pure(|| record(segment, plan, key, row, sign, correction));
    let written = result.and_then(|unfolded| match unfolded {
        Some(since) => write_unfolded(fcinfo, plan, since),
        None => Ok(()),
    });
    if let Err(detail) = written {
        overlay::with(Overlay::has_lost);
        fault_in(segment, "a row could not be recorded", detail);
    } else if row.count.is_none() && sign > 0 {
        let detail = "The value column holds NaN or infinity; the row counts as zero.";
        fault_in(segment, "a value is no number", detail.into());
    }
}

unsafe fn write_unfolded(
    fcinfo: pg_sys::FunctionCallInfo,
    plan: &Plan,
    since: i64,
) -> Result<(), String> {
    let function = (*(*fcinfo).flinfo).fn_oid;
    fault::contained(|| unfolded::write(function, plan.monitor, since))
}

/// Takes one change into the journal. Gives the time to be written to `unfolded`, where that is needed.
fn record(
    segment: Option<Segment>,
    plan: &Rc<Plan>,
    key: &[u8],
    row: &plan::Row,
    sign: i64,
    correction: bool,
) -> Option<i64> {
    fault::at(Boundary::Record);
    let Some(bucket) = judged_bucket(segment, plan, row.time) else {
        if let Some(s) = segment.filter(|_| sign > 0) {
            s.header().stats.rejected.fetch_add(1, Ordering::Relaxed);
            if let Some(bucket) = row.time.and_then(|t| plan.calendar.bucket(t)) {
                overlay::with(|o| o.note_future(s, plan, bucket));
            }
        }
        return None;
    };
    let age = segment.map_or(Age::Unknown, |s| {
        Age::of(s, s.seat(plan.monitor), plan, bucket)
    });
    if correction && matches!(age, Age::Old) {
        // Retention, not correction.
        return None;
    }
    overlay::with(|o| {
        if !settings::enabled() {
            o.pass_over(segment, plan, bucket);
        } else {
            o.record(
                segment,
                plan,
                key,
                bucket,
                sign.wrapping_mul(row.count.unwrap_or(0)),
                sign as i32,
            );
        }
        if matches!(age, Age::Recent) {
            return None;
        }
        let since = unfolded::since(plan.calendar.start(bucket));
        o.note_unfolded(segment, plan, since).then_some(since)
    })
}

/// How old a bucket is beside `sealed_horizon`: a change of an older one may lie before the stored state that a
/// restart would begin with.
enum Age {
    Recent,
    /// Older than the horizon, seen from the newest row.
    Old,
    /// Which rows there are is not known, and it may be older.
    Unknown,
}

impl Age {
    fn of(segment: Segment, seat: Option<Seat>, plan: &Plan, bucket: i64) -> Age {
        let Some(seat) = seat else {
            return Age::Unknown;
        };
        let cell = &segment.header().cells[seat.cell as usize];
        let horizon = segment.header().sealed_horizon.load(Ordering::Relaxed);
        let newest = cell.newest.load(Ordering::Acquire);
        if newest != i64::MIN && bucket < newest.saturating_sub(plan.calendar.buckets_in(horizon)) {
            return Age::Old;
        }
        // Until the models are loaded, rows of now are taken for recent ones.
        if cell.state.load(Ordering::Acquire) != LIVE
            && plan.calendar.start(bucket) < calendar::now().saturating_sub(horizon)
        {
            return Age::Unknown;
        }
        Age::Recent
    }
}

/// AFTER TRUNCATE: nothing of the table is left.
///
/// # Safety
/// Called by the server as a trigger.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn record_truncate_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    let data = trigger_data(fcinfo, &TRUNCATES);
    let segment = segment(fcinfo);
    match plan::of_trigger(data) {
        Ok(plan) => {
            let noted = fault::pure(|| {
                fault::at(Boundary::Truncate);
                overlay::with(|o| {
                    o.mark_dirty(segment, &plan, i64::MIN);
                    o.note_unfolded(segment, &plan, i64::MIN)
                })
            });
            let written = noted.and_then(|needed| {
                let write = || write_unfolded(fcinfo, &plan, i64::MIN);
                if needed {
                    write()
                } else {
                    Ok(())
                }
            });
            if let Err(detail) = written {
                overlay::with(Overlay::has_lost);
                fault_in(segment, "a TRUNCATE could not be recorded", detail);
            }
        }
        Err(detail) => fault_in(segment, "the table cannot be read", detail),
    }
    pg_sys::Datum::from(0usize)
}

/// AFTER any change of `rules`: the worker reads them at commit.
///
/// # Safety
/// Called by the server as a trigger.
#[no_mangle]
#[pg_guard]
pub unsafe extern "C-unwind" fn rules_changed_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    trigger_data(fcinfo, &OF_RULES);
    if segment(fcinfo).is_some() {
        overlay::with(|o| o.rules_changed());
    }
    pg_sys::Datum::from(0usize)
}
