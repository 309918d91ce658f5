//! The result of a set-returning function, row by row into the tuplestore that the server reads it from: what is the same
//! in many rows is made into a datum once. (By pgrx's iterator, 345,600 rows of twelve columns took 0.6 s.)

use pgrx::{pg_sys, PgSqlErrorCode};

use crate::fault::raise;

/// A result under way.
pub(super) struct Table {
    store: *mut pg_sys::Tuplestorestate,
    columns: pg_sys::TupleDesc,
}

impl Table {
    /// The result of a call that returns columns of these types; InvalidOid stands for any.
    ///
    /// # Safety
    /// `fcinfo` must be that of the call under way.
    pub unsafe fn of_call(fcinfo: pg_sys::FunctionCallInfo, types: &[pg_sys::Oid]) -> Table {
        let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        if result.is_null()
            || (*result).type_ != pg_sys::NodeTag::T_ReturnSetInfo
            || (*result).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32 == 0
        {
            refuse("The call has no room for a set of rows.");
        }
        let outer = pg_sys::MemoryContextSwitchTo((*(*result).econtext).ecxt_per_query_memory);
        let mut columns: pg_sys::TupleDesc = std::ptr::null_mut();
        let class = pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut columns);
        if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE || columns.is_null() {
            refuse("The function is not declared to return a table.");
        }
        // A type that is not the one written would be read as what it is not.
        let same = (*columns).natts as usize == types.len()
            && types.iter().enumerate().all(|(i, t)| {
                *t == pg_sys::InvalidOid || *t == pg_sys::SPI_gettypeid(columns, i as i32 + 1)
            });
        if !same {
            refuse("Its declared columns are not those of the library.");
        }
        let by_position =
            (*result).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32;
        let store = pg_sys::tuplestore_begin_heap(by_position != 0, false, pg_sys::work_mem);
        (*result).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
        (*result).setResult = store;
        (*result).setDesc = columns;
        pg_sys::MemoryContextSwitchTo(outer);
        Table { store, columns }
    }

    /// The type of a column, by its place from 0.
    pub fn type_of(&self, column: usize) -> pg_sys::Oid {
        // SAFETY: reads the descriptor, which lives as long as the query.
        unsafe { pg_sys::SPI_gettypeid(self.columns, column as i32 + 1) }
    }

    /// Appends a row; None is NULL.
    pub fn put<const N: usize>(&mut self, row: [Option<pg_sys::Datum>; N]) {
        let mut values = row.map(|v| v.unwrap_or(pg_sys::Datum::from(0usize)));
        let mut nulls = row.map(|v| v.is_none());
        // SAFETY: as many values as the descriptor has columns, of their types; they are copied.
        unsafe {
            assert_eq!(N, (*self.columns).natts as usize);
            pg_sys::tuplestore_putvalues(
                self.store,
                self.columns,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }
}

fn refuse(detail: &str) -> ! {
    raise(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        "set of rows cannot be returned here".into(),
        detail.into(),
        "Call the function as SQL declares it: SELECT … FROM function(…).",
    )
}

/// A value of variable length in memory of our own: what the server allocates within a query to the tables ends with that
/// query.
pub(super) struct Varlena(Vec<u64>);

impl Varlena {
    fn of_bytes(bytes: &[u8]) -> Varlena {
        let length = bytes.len() + pg_sys::VARHDRSZ;
        let mut words = vec![0u64; length.div_ceil(8)];
        let start = words.as_mut_ptr().cast::<u8>();
        // SAFETY: there is room for the header and the bytes after it.
        unsafe {
            pgrx::varlena::set_varsize_4b(start.cast(), length as i32);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(pg_sys::VARHDRSZ), bytes.len());
        }
        Varlena(words)
    }

    pub fn text(text: &str) -> Varlena {
        Varlena::of_bytes(text.as_bytes())
    }

    pub fn jsonb(value: serde_json::Value) -> Varlena {
        let datum = pgrx::IntoDatum::into_datum(pgrx::JsonB(value)).expect("a jsonb is not NULL");
        let server = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the server has just made it, not compressed, with a header of four bytes.
        unsafe {
            let own = Varlena::of_bytes(pgrx::varlena::varlena_to_byte_slice(server));
            pg_sys::pfree(server.cast());
            own
        }
    }

    /// For as long as this lives.
    pub fn datum(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0.as_ptr())
    }
}
