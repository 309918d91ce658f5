//! Cutting a payload to what NOTIFY takes.

use serde_json::Value;

/// NOTIFY takes fewer than 8,000 bytes.
pub const MOST: usize = 7_999;
/// What a text may have of them before anything has to be cut harder, as it is written: escaped.
const TEXT: usize = 1_000;

/// A payload that NOTIFY takes, whatever it is made of: its texts are cut evenly until it fits. Lists inside it
/// lose their last entries; an object inside it is left out as a whole, since half of its labels would name
/// another series.
pub fn fit(payload: Value) -> Value {
    fit_within(payload, MOST)
}

/// The same for fewer bytes.
pub fn fit_within(mut payload: Value, most: usize) -> Value {
    let mut bytes = TEXT;
    while bytes > 0 && payload.to_string().len() > most {
        if let Value::Object(fields) = &mut payload {
            for v in fields.values_mut() {
                shorten(v, bytes);
            }
        }
        bytes /= 2;
    }
    payload
}

fn shorten(value: &mut Value, bytes: usize) {
    match value {
        Value::String(text) => text.truncate(end_within(text, bytes)),
        Value::Array(list) => {
            for v in list.iter_mut() {
                shorten(v, bytes);
            }
            let mut room = 4 * bytes;
            let fitting = list.iter().take_while(|v| {
                let taken = v.to_string().len() + 1;
                let fits = taken <= room;
                room = room.saturating_sub(taken);
                fits
            });
            let n = fitting.count();
            list.truncate(n);
        }
        Value::Object(_) if value.to_string().len() > 2 * bytes => {
            *value = Value::Object(Default::default());
        }
        _ => {}
    }
}

/// Where a text has to end so that JSON writes it with so many bytes.
fn end_within(text: &str, bytes: usize) -> usize {
    let mut room = bytes;
    for (at, c) in text.char_indices() {
        let taken = match c {
            '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        if taken > room {
            return at;
        }
        room -= taken;
    }
    text.len()
}
