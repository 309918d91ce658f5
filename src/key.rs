//! The key of a series: the values of its series columns, as one byte string, and as people read it.

use serde_json::{Map, Value};

/// Keys longer than this share the series `(other)`.
pub const MAX_KEY: usize = 254;

/// Name of the total series of a monitor.
pub const TOTAL: &str = "(total)";
const OTHER: &str = "(other)";
const NULL: &str = "(null)";
const ALL: &str = "(all)";
/// Key of the series that takes what has no place of its own: no column can encode to it.
pub const OTHER_KEY: &[u8] = &[2];
/// Under this key is stored how many series there was room for, where some are counted in `(other)`. No series has it.
pub const ROOM_KEY: &[u8] = &[3];

/// Appends one column's value. NULL is a value of its own.
#[inline]
pub fn push(key: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => key.push(0),
        Some(v) => {
            key.push(1);
            key.extend_from_slice(v);
            key.push(0);
        }
    }
}

/// Replaces a key that is too long for a slot.
#[inline]
pub fn bound(key: &mut Vec<u8>) {
    if key.len() > MAX_KEY {
        key.clear();
        key.extend_from_slice(OTHER_KEY);
    }
}

fn values(key: &[u8]) -> Vec<Option<String>> {
    let mut out = Vec::new();
    let mut rest = key;
    while let Some((tag, tail)) = rest.split_first() {
        if *tag == 0 {
            out.push(None);
            rest = tail;
        } else {
            let end = tail.iter().position(|b| *b == 0).unwrap_or(tail.len());
            out.push(Some(String::from_utf8_lossy(&tail[..end]).into_owned()));
            rest = tail.get(end + 1..).unwrap_or(&[]);
        }
    }
    out
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\"\""))
}

/// Whether a value, written as it is, would be taken for something else: for nothing, for a name of this file,
/// or for a value in quotes.
fn is_ambiguous(value: &str) -> bool {
    value.is_empty() || value.starts_with('"') || [TOTAL, OTHER, NULL, ALL].contains(&value)
}

/// The label of a series: `denied`, or `status=denied,merchant=42` where there are several columns. Different
/// series have different labels.
pub fn label(key: &[u8], columns: &[String]) -> String {
    if key == OTHER_KEY {
        return OTHER.into();
    }
    let several = columns.len() > 1;
    let shown = |value: Option<String>| match value {
        None => NULL.into(),
        Some(v) if is_ambiguous(&v) || several && v.contains([',', '=', '"']) => quoted(&v),
        Some(v) => v,
    };
    let mut values = values(key).into_iter().map(shown);
    match columns {
        [] => ALL.into(),
        [_] => values.next().unwrap_or_else(|| NULL.into()),
        _ => columns
            .iter()
            .zip(values)
            .map(|(c, v)| format!("{c}={v}"))
            .collect::<Vec<_>>()
            .join(","),
    }
}

/// The same as JSON.
pub fn labels(key: &[u8], columns: &[String]) -> Value {
    let mut map = Map::new();
    if key != OTHER_KEY {
        for (c, v) in columns.iter().zip(values(key)) {
            map.insert(c.clone(), v.map_or(Value::Null, Value::String));
        }
    }
    Value::Object(map)
}

/// A hash that is the same in every backend (FNV-1a with a final mix).
#[inline]
pub fn hash(monitor: i32, key: &[u8]) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325u64 ^ monitor as u32 as u64;
    for b in key {
        h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h ^= h >> 32;
    h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ (h >> 32)
}
