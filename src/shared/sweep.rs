//! Letting go of segments whose database or extension is gone. A worker unpins its own when it sees that the
//! extension was dropped; one that was ended first, as DROP DATABASE … WITH (FORCE) does, cannot.

use pgrx::pg_sys;

use super::segment::{self, HANDLES};

/// A file that says where a segment is.
pub struct Trace {
    database: u32,
    extension: u32,
}

/// The files of all databases. To be listed before the databases are read: one that is created meanwhile is then
/// among them.
pub fn traces() -> Vec<Trace> {
    let (directory, prefix) = HANDLES.rsplit_once('/').unwrap_or((".", HANDLES));
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(|e| {
            let name = e.ok()?.file_name().into_string().ok()?;
            let (database, extension) = name.strip_prefix(prefix)?.split_once('.')?;
            Some(Trace {
                database: database.parse().ok()?,
                extension: extension.parse().ok()?,
            })
        })
        .collect()
}

/// Unpins the segments that nobody can come back for. `extension` is that of this database: what this database had
/// before it is gone, while a newer one may be about to be committed.
pub fn sweep(traces: &[Trace], databases: &[pg_sys::Oid], extension: pg_sys::Oid) {
    // SAFETY: constant after connection start.
    let here = unsafe { pg_sys::MyDatabaseId };
    for t in traces {
        let gone = if t.database == here.to_u32() {
            t.extension < extension.to_u32()
        } else {
            !databases.iter().any(|d| d.to_u32() == t.database)
        };
        if gone {
            segment::let_go(t.database, t.extension);
        }
    }
}
