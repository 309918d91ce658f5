//! Whether a row that the BEFORE trigger returns is sure to be inserted, or its statement to fail. Then the BEFORE trigger
//! records it, and the server need not remember it for the AFTER trigger and read it again.
//!
//! It is sure where nothing comes between (`Plan::recorder`) and the statement is a COPY, or an INSERT that has no ON
//! CONFLICT. For each of its statements the executor keeps a copy of the table's triggers. In that copy the AFTER
//! trigger is switched off and the BEFORE trigger is marked, so what is known of a statement is kept with that
//! statement, and ends with it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use pgrx::pg_sys;

use crate::fault;
use crate::plan::{self, Plan};

mod server {
    use pgrx::pg_sys;
    use std::ffi::{c_int, c_void};

    extern "C-unwind" {
        // Without pgrx's guard: an error goes through to whoever waits for it, with all its fields.
        pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
        // Never called, only compared: as a function of its own, which a wrapped one is not.
        pub fn CopyFromErrorCallback(arg: *mut c_void);
    }
}

thread_local! {
    /// Who was told of starting statements before.
    static NEXT: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
}

/// From now on statements that start are looked at.
pub fn follow_statements() {
    // SAFETY: the function lives as long as the library, which is never unloaded; a process has one thread.
    unsafe {
        NEXT.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(statement_starts);
    }
}

/// # Safety
/// Called by the server as its hook. An error of the server leaves through this frame, which has nothing to drop.
unsafe extern "C-unwind" fn statement_starts(query: *mut pg_sys::QueryDesc, flags: c_int) {
    match NEXT.get() {
        Some(next) => next(query, flags),
        None => server::standard_ExecutorStart(query, flags),
    }
    if (*query).operation == pg_sys::CmdType::CMD_INSERT {
        // Where it fails, the AFTER trigger records.
        let _ = fault::pure(|| mark_insert(&*query));
    }
}

/// Marks the triggers of an INSERT whose rows are inserted, or else it fails.
unsafe fn mark_insert(query: &pg_sys::QueryDesc) {
    let (statement, Some(state)) = (&*query.plannedstmt, query.estate.as_ref()) else {
        return;
    };
    let node = statement.planTree.cast::<pg_sys::ModifyTable>();
    // Another command in a WITH may write to the same table.
    if statement.hasModifyingCTE || !is_a(node.cast(), pg_sys::NodeTag::T_ModifyTable) {
        return;
    }
    let node = &*node;
    let rows = node.nominalRelation as usize;
    if node.onConflictAction != pg_sys::OnConflictAction::ONCONFLICT_NONE
        || state.es_result_relations.is_null()
        || !(1..=state.es_range_table_size as usize).contains(&rows)
    {
        return;
    }
    let Some(target) = (*state.es_result_relations.add(rows - 1)).as_ref() else {
        return;
    };
    let Some(all) = target.ri_TrigDesc.as_mut() else {
        return;
    };
    if !all.trig_insert_before_row || !all.trig_insert_after_row || all.triggers.is_null() {
        return;
    }
    let relation = (*target.ri_RelationDesc).rd_id;
    let triggers = std::slice::from_raw_parts_mut(all.triggers, all.numtriggers as usize);
    let Some(judge) = triggers.iter().rposition(plan::is_before_insert) else {
        return;
    };
    let Some(recorder) = plan::known(triggers[judge].tgoid, relation).and_then(|p| p.recorder)
    else {
        return;
    };
    let Some(at) = triggers.iter().position(|t| t.tgoid == recorder.trigger) else {
        return;
    };
    mark(&mut triggers[judge]);
    switch_off(&mut triggers[at]);
    // Where no other needs it, the server need not even begin to remember rows.
    let fires = |t: &pg_sys::Trigger| {
        plan::is_after_insert(t) && t.tgenabled as u8 != pg_sys::TRIGGER_DISABLED
    };
    all.trig_insert_after_row = triggers.iter().any(fires);
}

unsafe fn is_a(node: *const pg_sys::Node, tag: pg_sys::NodeTag) -> bool {
    node.as_ref().is_some_and(|n| n.type_ == tag)
}

/// A field of a trigger that says nothing of one that fires before: only constraints are deferred.
fn mark(judge: &mut pg_sys::Trigger) {
    judge.tginitdeferred = true;
}

fn switch_off(recorder: &mut pg_sys::Trigger) {
    recorder.tgenabled = pg_sys::TRIGGER_DISABLED as _;
}

/// Whether the statement at hand leaves recording to its BEFORE trigger.
#[inline]
pub fn is_marked(data: &pg_sys::TriggerData) -> bool {
    // SAFETY: a trigger that is called has a description.
    unsafe { (*data.tg_trigger).tginitdeferred }
}

/// Marks the statement at hand, where it is a COPY whose rows are inserted, or else it fails. Whether it is marked then.
///
/// # Safety
/// `data` must be the trigger data of a call of the trigger that `plan` is of.
#[inline]
pub unsafe fn mark_copy(data: &pg_sys::TriggerData, plan: &Plan) -> bool {
    if is_marked(data) {
        return true;
    }
    let Some(recorder) = plan.recorder.filter(|_| is_called_by_copy()) else {
        return false;
    };
    let Some(cached) = (*data.tg_relation).trigdesc.as_ref() else {
        return false;
    };
    // Never in the cache of the relation, which outlives the statement.
    let cached = std::slice::from_raw_parts(cached.triggers, cached.numtriggers as usize);
    if cached
        .as_ptr_range()
        .contains(&data.tg_trigger.cast_const())
    {
        return false;
    }
    // The copy was made of what is in the cache when the COPY began, and the plan of the same.
    let at = data.tg_trigger.offset(recorder.from_judge);
    if (*at).tgoid != recorder.trigger {
        return false;
    }
    switch_off(&mut *at);
    mark(&mut *data.tg_trigger);
    true
}

/// Whether nothing lies between a COPY FROM and the call at hand: functions that run statements, and these, say where
/// they are if there is an error, and then it would be they who say it first.
unsafe fn is_called_by_copy() -> bool {
    type Callback = unsafe extern "C-unwind" fn(*mut c_void);
    let of_copy: Callback = server::CopyFromErrorCallback;
    pg_sys::error_context_stack
        .as_ref()
        .and_then(|c| c.callback)
        .is_some_and(|c| std::ptr::fn_addr_eq(c, of_copy))
}
