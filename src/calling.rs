//! What the server has to be told of functions that pgrx does not wrap.

macro_rules! finfo {
    ($name:ident) => {
        /// Tells the server the calling convention.
        #[no_mangle]
        pub extern "C" fn $name() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const V1: pgrx::pg_sys::Pg_finfo_record =
                pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }
    };
}

pub(crate) use finfo;
