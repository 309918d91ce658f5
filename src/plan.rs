//! How a trigger reads a row: the columns of its monitor, resolved once per backend and trigger, and anew when a
//! relation has changed.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::rc::Rc;

use pgrx::pg_sys;

use crate::calendar::Calendar;
use crate::hash::QuickMap;
use crate::measure::{self, Measure};
use crate::{key, unguarded};

/// A column to read.
#[derive(Clone, Copy)]
pub struct Column {
    pub number: i32,
    pub type_id: pg_sys::Oid,
}

impl Column {
    /// What a row counts for in a value column: a count, or an amount in millionths. None where it is no number.
    ///
    /// # Safety
    /// `row` must have this column, of this type, and still be there.
    #[inline]
    unsafe fn count(&self, row: &Fields) -> Option<i64> {
        row.get(self.number)
            .map_or(Some(0), |d| match self.type_id {
                pg_sys::INT2OID => Some(i64::from(d.value() as i16)),
                pg_sys::INT4OID => Some(i64::from(d.value() as i32)),
                pg_sys::INT8OID => Some((d.value() as i64).clamp(-MOST, MOST)),
                amounts => measure::micros(amount(d, amounts)),
            })
    }
}

/// A column of a series' key.
pub struct KeyColumn {
    column: Column,
    /// Output function, for types that are not text.
    output: Option<pg_sys::Oid>,
}

impl KeyColumn {
    /// How a column is read.
    pub fn of(column: Column) -> KeyColumn {
        let output = (!is_text(column.type_id)).then(|| {
            let (mut function, mut varlena) = (pg_sys::InvalidOid, false);
            // SAFETY: looks up the catalog.
            unsafe { pg_sys::getTypeOutputInfo(column.type_id, &mut function, &mut varlena) };
            function
        });
        KeyColumn { column, output }
    }

    /// Appends its value of a row to a key.
    ///
    /// # Safety
    /// `row` must have this column, of this type, and still be there.
    #[inline]
    pub unsafe fn push(&self, row: &Fields, key: &mut Vec<u8>) {
        match (row.get(self.column.number), self.output) {
            (None, _) => key::push(key, None),
            (Some(datum), None) => {
                let text = packed(datum.cast_mut_ptr());
                let bytes = pgrx::varlena::varlena_to_byte_slice(text);
                key::push(key, Some(bytes));
            }
            (Some(datum), Some(function)) => {
                let text = pg_sys::OidOutputFunctionCall(function, datum);
                key::push(key, Some(CStr::from_ptr(text).to_bytes()));
                pg_sys::pfree(text.cast());
            }
        }
    }
}

/// The columns that a BEFORE trigger fills, and the values of the enum.
pub struct VerdictColumns {
    pub expected: i32,
    pub score: i32,
    pub verdict: i32,
    pub labels: [pg_sys::Oid; 4],
    /// They are the last columns, in this order.
    pub are_last: bool,
}

/// How to read the rows of one table for its monitor.
pub struct Plan {
    pub monitor: i32,
    pub calendar: Calendar,
    time: Column,
    value: Option<Column>,
    keys: Vec<KeyColumn>,
    pub verdict: Option<VerdictColumns>,
    /// The trigger that records inserts, of a plan of the BEFORE trigger, where that one may as well: nothing changes a
    /// row after it has read it.
    pub recorder: Option<Recorder>,
}

/// The AFTER trigger that records the rows of a BEFORE trigger.
#[derive(Clone, Copy)]
pub struct Recorder {
    pub trigger: pg_sys::Oid,
    /// Its place among the triggers, from that of the BEFORE trigger.
    pub from_judge: isize,
}

/// What a row says.
pub struct Row {
    /// Microseconds from PostgreSQL's epoch; None where it is NULL.
    pub time: Option<i64>,
    /// The value: a count, or an amount in millionths. None where it is no number: NaN or infinity.
    pub count: Option<i64>,
}

/// A row taken apart, kept from row to row for its room.
#[derive(Default)]
pub struct Fields {
    pub values: Vec<pg_sys::Datum>,
    pub nulls: Vec<bool>,
}

impl Fields {
    /// Takes a row apart.
    ///
    /// # Safety
    /// `tuple` must be a row of a relation with the descriptor `columns`.
    pub unsafe fn take(&mut self, tuple: pg_sys::HeapTuple, columns: pg_sys::TupleDesc) {
        let n = (*columns).natts as usize;
        self.values.resize(n, pg_sys::Datum::from(0usize));
        self.nulls.resize(n, true);
        unguarded::deform(
            tuple,
            columns,
            self.values.as_mut_ptr(),
            self.nulls.as_mut_ptr(),
        );
    }

    #[inline]
    pub fn get(&self, column: i32) -> Option<pg_sys::Datum> {
        let i = column as usize - 1;
        (!self.nulls[i]).then(|| self.values[i])
    }
}

/// A trigger and its relation.
type Id = (u32, u32);

thread_local! {
    static PLANS: RefCell<QuickMap<Id, Rc<Plan>>> = RefCell::default();
    /// The plan asked for last: a statement asks for the same again and again.
    static LAST: RefCell<Option<(Id, Rc<Plan>)>> = const { RefCell::new(None) };
    /// The relations that may have other columns than when the plans were made.
    static CHANGED: Cell<Changed> = const { Cell::new(Changed::NONE) };
}

/// Relations that have changed, by name where they are few.
#[derive(Clone, Copy)]
struct Changed {
    relations: [u32; 8],
    /// How many; more than there is room for are all.
    number: usize,
}

impl Changed {
    const NONE: Changed = Changed {
        relations: [0; 8],
        number: 0,
    };

    fn add(&mut self, relation: pg_sys::Oid) {
        let room = self.relations.get_mut(self.number);
        match room.filter(|_| relation != pg_sys::InvalidOid) {
            Some(room) => {
                *room = relation.to_u32();
                self.number += 1;
            }
            None => self.number = self.relations.len() + 1,
        }
    }

    fn has(&self, relation: u32) -> bool {
        let named = self.relations.get(..self.number);
        named.is_none_or(|named| named.contains(&relation))
    }
}

/// A relation has changed, or all of them ([`InvalidOid`](pg_sys::InvalidOid)): what is known of columns and their types may
/// hold no more. May be called at any time.
pub fn relation_changed(relation: pg_sys::Oid) {
    let mut changed = CHANGED.get();
    if !changed.has(relation.to_u32()) {
        changed.add(relation);
        CHANGED.set(changed);
    }
}

/// Forgets the plans of what has changed.
fn forget_changed() {
    let changed = CHANGED.replace(Changed::NONE);
    let stays = |id: &Id| !changed.has(id.1);
    LAST.with_borrow_mut(|last| last.take_if(|(id, _)| !stays(id)));
    PLANS.with_borrow_mut(|plans| plans.retain(|id, _| stays(id)));
}

/// A row counts for this much at most, either way: all that the detector tells apart.
pub const MOST: i64 = detector::LARGEST as i64;

/// What a value column of a type holds; None where it cannot be read.
pub fn measure_of(type_id: pg_sys::Oid) -> Option<Measure> {
    match type_id {
        pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Some(Measure::Count),
        pg_sys::NUMERICOID | pg_sys::FLOAT8OID | pg_sys::FLOAT4OID => Some(Measure::Amount),
        _ => None,
    }
}

/// An amount as a float8.
///
/// # Safety
/// `datum` must be of the type, and one of those of [`measure_of`].
unsafe fn amount(datum: pg_sys::Datum, type_id: pg_sys::Oid) -> f64 {
    match type_id {
        pg_sys::FLOAT4OID => f64::from(f32::from_bits(datum.value() as u32)),
        pg_sys::FLOAT8OID => f64::from_bits(datum.value() as u64),
        // As the cast of a refold, but infinite where that one is an error.
        _ => pgrx::fcinfo::direct_function_call::<f64>(
            pg_sys::numeric_float8_no_overflow,
            &[Some(datum)],
        )
        .unwrap_or(f64::NAN),
    }
}

/// Whether a type is one of the text types, whose bytes are the key.
fn is_text(type_id: pg_sys::Oid) -> bool {
    matches!(type_id, pg_sys::TEXTOID | pg_sys::VARCHAROID)
}

impl Plan {
    /// A plan that reads no rows: for what concerns a monitor as a whole.
    pub fn of_monitor(monitor: i32, calendar: Calendar) -> Plan {
        Plan {
            monitor,
            calendar,
            time: Column {
                number: 0,
                type_id: pg_sys::InvalidOid,
            },
            value: None,
            keys: Vec::new(),
            verdict: None,
            recorder: None,
        }
    }
}

/// The plan of a trigger. Its argument, an array of strings as JSON: monitor id, bucket width in microseconds, time zone,
/// time column, value column (empty: rows are counted), series columns.
///
/// # Safety
/// `data` must be the trigger data of a row trigger on a live relation.
pub unsafe fn of_trigger(data: &pg_sys::TriggerData) -> Result<Rc<Plan>, String> {
    let trigger = &*data.tg_trigger;
    let relation = &*data.tg_relation;
    let id = (trigger.tgoid.to_u32(), relation.rd_id.to_u32());
    if CHANGED.get().number > 0 {
        forget_changed();
    }
    if let Some(plan) = known(trigger.tgoid, relation.rd_id) {
        return Ok(plan);
    }
    let plan = Rc::new(resolve(trigger, relation)?);
    PLANS.with_borrow_mut(|p| {
        if p.len() > 512 {
            p.clear();
        }
        p.insert(id, plan.clone())
    });
    LAST.set(Some((id, plan.clone())));
    Ok(plan)
}

/// The plan asked for last, if it is this one.
fn last(id: Id) -> Option<Rc<Plan>> {
    LAST.with_borrow(|l| {
        l.as_ref()
            .filter(|(known, _)| *known == id)
            .map(|(_, plan)| plan.clone())
    })
}

/// The plan of a trigger, where it was asked for before and nothing has changed since.
pub fn known(trigger: pg_sys::Oid, relation: pg_sys::Oid) -> Option<Rc<Plan>> {
    let id = (trigger.to_u32(), relation.to_u32());
    if CHANGED.get().has(id.1) {
        return None;
    }
    last(id).or_else(|| {
        let plan = PLANS.with_borrow(|p| p.get(&id).cloned())?;
        LAST.set(Some((id, plan.clone())));
        Some(plan)
    })
}

unsafe fn resolve(
    trigger: &pg_sys::Trigger,
    relation: &pg_sys::RelationData,
) -> Result<Plan, String> {
    let columns = relation.rd_att;
    if trigger.tgnargs != 1 {
        return Err("the trigger has not one argument".into());
    }
    let args = CStr::from_ptr(*trigger.tgargs).to_string_lossy();
    let args: Vec<String> = serde_json::from_str(&args)
        .map_err(|e| format!("the argument of the trigger cannot be read: {e}"))?;
    let [monitor, width, zone, time, value, keys @ ..] = args.as_slice() else {
        return Err("the argument of the trigger lacks something".into());
    };
    let find = |name: &str| {
        column(columns, name).ok_or_else(|| format!("the table has no column \"{name}\""))
    };
    let time = find(time)?;
    if time.type_id != pg_sys::TIMESTAMPTZOID {
        return Err("the time column is not of type timestamp with time zone".into());
    }
    let value = match value.as_str() {
        "" => None,
        name => Some(find(name)?),
    };
    let measure = value
        .map_or(Some(Measure::Count), |v| measure_of(v.type_id))
        .ok_or("the value column is of no type that can be added up")?;
    let mut key_columns = Vec::with_capacity(keys.len());
    for name in keys {
        let column = find(name)?;
        key_columns.push(KeyColumn::of(column));
    }
    let number = |s: &String| {
        s.parse::<i64>()
            .map_err(|_| format!("\"{s}\" is no number"))
    };
    let generated = key_columns
        .iter()
        .map(|k| k.column)
        .chain([time])
        .chain(value)
        .any(|c| is_generated(columns, c.number));
    let verdict = verdict_columns(columns);
    Ok(Plan {
        recorder: recorder(trigger, relation).filter(|_| verdict.is_some() && !generated),
        monitor: number(monitor)? as i32,
        calendar: Calendar::new(number(width)?, zone, measure),
        time,
        value,
        keys: key_columns,
        verdict,
    })
}

/// Attribute number and type of a column.
///
/// # Safety
/// `columns` must be a valid tuple descriptor.
pub unsafe fn column(columns: pg_sys::TupleDesc, name: &str) -> Option<Column> {
    (1..=(*columns).natts).find_map(|n| {
        let a = &*attribute_of(columns, n - 1);
        let found = CStr::from_ptr(a.attname.data.as_ptr()).to_bytes() == name.as_bytes();
        (found && !a.attisdropped).then_some(Column {
            number: n,
            type_id: a.atttypid,
        })
    })
}

unsafe fn is_generated(columns: pg_sys::TupleDesc, number: i32) -> bool {
    (*attribute_of(columns, number - 1)).attgenerated != 0
}

/// Whether a trigger fires before a row is inserted.
pub fn is_before_insert(trigger: &pg_sys::Trigger) -> bool {
    fires_at_insert(trigger, pg_sys::TRIGGER_TYPE_BEFORE)
}

/// Whether a trigger fires after a row was inserted.
pub fn is_after_insert(trigger: &pg_sys::Trigger) -> bool {
    fires_at_insert(trigger, 0)
}

fn fires_at_insert(trigger: &pg_sys::Trigger, timing: u32) -> bool {
    const TIMING: u32 = pg_sys::TRIGGER_TYPE_BEFORE | pg_sys::TRIGGER_TYPE_INSTEAD;
    const INSERTED_ROW: u32 = pg_sys::TRIGGER_TYPE_ROW | pg_sys::TRIGGER_TYPE_INSERT;
    let kind = u32::from(trigger.tgtype as u16);
    kind & INSERTED_ROW == INSERTED_ROW && kind & TIMING == timing
}

/// The AFTER trigger that records what a BEFORE trigger judges, where that is the last BEFORE ROW INSERT trigger of its
/// relation and both fire whatever the session and the row are.
unsafe fn recorder(trigger: &pg_sys::Trigger, relation: &pg_sys::RelationData) -> Option<Recorder> {
    let all = relation.trigdesc.as_ref()?;
    // They fire in this order.
    let triggers = std::slice::from_raw_parts(all.triggers, all.numtriggers as usize);
    let judge = triggers.iter().rposition(is_before_insert)?;
    let always = |t: &pg_sys::Trigger| {
        t.tgenabled as u8 == pg_sys::TRIGGER_FIRES_ALWAYS && t.tgqual.is_null()
    };
    if triggers[judge].tgoid != trigger.tgoid || !always(&triggers[judge]) {
        return None;
    }
    let argument = CStr::from_ptr(*trigger.tgargs);
    let records = |t: &pg_sys::Trigger| {
        is_after_insert(t) && always(t) && t.tgnargs == 1 && CStr::from_ptr(*t.tgargs) == argument
    };
    let at = triggers.iter().position(records)?;
    let (found, function) = (triggers[at].tgoid, triggers[at].tgfoid);
    // From here on the catalog is asked, which may renew what the relation's cache holds.
    is_ours(function, c"record_row").then_some(Recorder {
        trigger: found,
        from_judge: at as isize - judge as isize,
    })
}

/// Whether a function is the one of the extension that has this name.
unsafe fn is_ours(function: pg_sys::Oid, name: &CStr) -> bool {
    let found = pg_sys::get_func_name(function);
    let extension = pg_sys::get_extension_oid(c"cloudwalk_monitor".as_ptr(), true);
    !found.is_null()
        && CStr::from_ptr(found) == name
        && extension != pg_sys::InvalidOid
        && pg_sys::getExtensionOfObject(pg_sys::ProcedureRelationId, function) == extension
}

/// The server's TupleDescAttr, an inline function that is not bound.
unsafe fn attribute_of(columns: pg_sys::TupleDesc, i: i32) -> *const pg_sys::FormData_pg_attribute {
    #[cfg(not(feature = "pg18"))]
    {
        (*columns).attrs.as_ptr().add(i as usize)
    }
    #[cfg(feature = "pg18")]
    {
        let attributes = (*columns)
            .compact_attrs
            .as_ptr()
            .add((*columns).natts as usize);
        attributes
            .cast::<pg_sys::FormData_pg_attribute>()
            .add(i as usize)
    }
}

unsafe fn verdict_columns(columns: pg_sys::TupleDesc) -> Option<VerdictColumns> {
    let expected = column(columns, "expected")?;
    let score = column(columns, "score")?;
    let verdict = column(columns, "verdict")?;
    if expected.type_id != pg_sys::FLOAT4OID || score.type_id != pg_sys::FLOAT4OID {
        return None;
    }
    let numbers = [expected, score, verdict].map(|c| c.number);
    let last = (*columns).natts;
    Some(VerdictColumns {
        are_last: numbers == [last - 2, last - 1, last],
        expected: expected.number,
        score: score.number,
        verdict: verdict.number,
        labels: verdict_labels(verdict.type_id)?,
    })
}

/// The labels of the type of verdicts, in the order of `Verdict`.
pub fn verdict_labels(type_id: pg_sys::Oid) -> Option<[pg_sys::Oid; 4]> {
    let label = |name: &CStr| {
        // SAFETY: looks up a cache by a type and a name.
        let oid = unsafe {
            pg_sys::GetSysCacheOid(
                pg_sys::SysCacheIdentifier::ENUMTYPOIDNAME as i32,
                pg_sys::Anum_pg_enum_oid as _,
                pg_sys::Datum::from(type_id),
                pg_sys::Datum::from(name.as_ptr()),
                pg_sys::Datum::from(0usize),
                pg_sys::Datum::from(0usize),
            )
        };
        (oid != pg_sys::InvalidOid).then_some(oid)
    };
    Some([
        label(c"learning")?,
        label(c"normal")?,
        label(c"warning")?,
        label(c"critical")?,
    ])
}

/// A text with a header of one byte or four: as it stands, unless it is compressed or stored elsewhere.
unsafe fn packed(text: *mut pg_sys::varlena) -> *mut pg_sys::varlena {
    if pgrx::varlena::varatt_is_1b(text) && !pgrx::varlena::varatt_is_1b_e(text)
        || pgrx::varlena::varatt_is_4b_u(text)
    {
        text
    } else {
        pg_sys::pg_detoast_datum_packed(text)
    }
}

impl Plan {
    /// Reads a row and writes the key of its series into `key`.
    ///
    /// # Safety
    /// `row` must be one of the relation for which the plan was made, and still there.
    pub unsafe fn read(&self, row: &Fields, key: &mut Vec<u8>) -> Row {
        key.clear();
        for k in &self.keys {
            k.push(row, key);
        }
        key::bound(key);
        let time = row.get(self.time.number).map(|d| d.value() as i64);
        let count = self.value.map_or(Some(1), |c| c.count(row));
        Row { time, count }
    }

    /// Whether the row brings a verdict along, as a restored one does.
    pub fn has_verdict(&self, row: &Fields) -> bool {
        self.verdict
            .as_ref()
            .is_some_and(|v| row.get(v.verdict).is_some())
    }
}
