//! Rows as text.

use std::io::{self, Write};

use crate::calendar;
use crate::stream::Row;

/// Writes what `COPY transactions (time, status, count) FROM stdin` reads.
pub fn write_copy(rows: impl IntoIterator<Item = Row>, out: &mut impl Write) -> io::Result<()> {
    for row in rows {
        let time = calendar::format(row.minute);
        writeln!(out, "{time}+00\t{}\t{}", row.status, row.count)?;
    }
    Ok(())
}

/// Writes comma-separated values with a header, times in UTC.
pub fn write_csv(rows: impl IntoIterator<Item = Row>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "time,status,count")?;
    for row in rows {
        let time = calendar::format(row.minute);
        writeln!(out, "{time}:00+00,{},{}", row.status, row.count)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        minute: 29_208_549,
        status: "denied",
        count: 31,
    };

    #[test]
    fn copy_and_csv() {
        let mut copy = Vec::new();
        write_copy([ROW], &mut copy).unwrap();
        assert_eq!(copy, b"2025-07-14 17:09+00\tdenied\t31\n");
        let mut csv = Vec::new();
        write_csv([ROW], &mut csv).unwrap();
        assert_eq!(
            csv,
            b"time,status,count\n2025-07-14 17:09:00+00,denied,31\n"
        );
    }
}
