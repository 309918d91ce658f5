//! The two layouts of labelled files, and the files of scores.

use std::error::Error;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::civil::DateTime;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How a directory is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The Numenta Anomaly Benchmark: `data/CATEGORY/FILE.csv` with `timestamp,value`, and one score
    /// for every row.
    Nab,
    /// KPI files: `CATEGORY/FILE.csv` with `TimeStamp,Value,Label`, and one score for every row that
    /// has a value.
    Kpi,
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(name: &str) -> Result<Layout, String> {
        match name {
            "nab" => Ok(Layout::Nab),
            "kpi" => Ok(Layout::Kpi),
            _ => Err(format!("{name} is no layout: nab, kpi")),
        }
    }
}

/// One row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As it stands in the file: it is written back the same.
    pub stamp: String,
    pub time: DateTime,
    pub value: f64,
}

impl Layout {
    /// Where the files are.
    pub fn root(self, data: &Path) -> PathBuf {
        let below = data.join("data");
        if self == Layout::Nab && below.is_dir() {
            below
        } else {
            data.to_owned()
        }
    }

    /// The rows of a file.
    pub fn read(self, path: &Path) -> Outcome<Vec<Row>> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut rows = Vec::new();
        for (i, line) in text.lines().enumerate().skip(1) {
            if line.trim().is_empty() {
                continue;
            }
            let row = self
                .row(line)
                .map_err(|error| format!("{}, line {}: {error}", path.display(), i + 1))?;
            rows.extend(row);
        }
        Ok(rows)
    }

    /// A row; none where it has no value.
    fn row(self, line: &str) -> Outcome<Option<Row>> {
        let mut fields = line.split(',').map(|field| field.trim().trim_matches('"'));
        let stamp = fields.next().unwrap_or_default().to_owned();
        let value = fields.next().ok_or("there is no second column")?;
        if self == Layout::Kpi && matches!(value, "" | "NaN" | "nan") {
            return Ok(None);
        }
        Ok(Some(Row {
            time: stamp.trim_end_matches('Z').parse()?,
            value: value.parse()?,
            stamp,
        }))
    }
}

/// All `.csv` files below a directory, in order.
pub fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
        })? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "csv") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes a file of scores, one for each row.
pub fn write(path: &Path, rows: &[Row], scores: &[f64]) -> Outcome<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut out = BufWriter::new(fs::File::create(path)?);
    writeln!(out, "timestamp,anomaly_score")?;
    for (row, score) in rows.iter().zip(scores) {
        writeln!(out, "{},{score}", row.stamp)?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_layouts() {
        let nab = Layout::Nab
            .row("2014-04-01 00:05:00,18.5")
            .unwrap()
            .unwrap();
        assert_eq!((nab.value, nab.time.minute()), (18.5, 5));
        let kpi = Layout::Kpi
            .row("2023-01-09T03:00:00Z,7,1")
            .unwrap()
            .unwrap();
        assert_eq!((kpi.value, kpi.time.hour()), (7.0, 3));
        assert_eq!(kpi.stamp, "2023-01-09T03:00:00Z");
        assert_eq!(Layout::Kpi.row("2023-01-09T03:00:00Z,,0").unwrap(), None);
        assert!(Layout::Nab.row("2014-04-01 00:05:00,").is_err());
        assert!(Layout::Nab.row("soon,1").is_err());
    }
}
