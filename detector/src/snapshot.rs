//! States as bytes, and back.
//!
//! One byte of version, then the fields in order (postcard). The round trip is bit-identical.

use core::fmt;

use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::family::Model;
use crate::ground::Ground;
use crate::limit::LimitWatch;
use crate::series::Series;
use crate::value::Values;

/// The version written, and the only one read.
pub const VERSION: u8 = 3;

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// They end too early.
    Truncated,
    /// They are of another version.
    Version(u8),
    /// They go on after the state.
    Trailing,
    /// A field cannot be read.
    Malformed,
    /// A number is not finite, which no state has.
    NotFinite,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Truncated => f.write_str("state is truncated"),
            StateError::Version(found) => {
                write!(
                    f,
                    "state has version {found}, this build reads version {VERSION}"
                )
            }
            StateError::Trailing => f.write_str("state is followed by other bytes"),
            StateError::Malformed => f.write_str("state cannot be read"),
            StateError::NotFinite => f.write_str("state holds a number that is not finite"),
        }
    }
}

impl core::error::Error for StateError {}

fn encode<T: Serialize>(state: &T) -> Vec<u8> {
    // Writing plain fields to memory cannot fail; if it did, no bytes are what no `decode` takes.
    postcard::to_extend(state, vec![VERSION]).unwrap_or_default()
}

fn decode<T: DeserializeOwned>(bytes: &[u8], is_finite: fn(&T) -> bool) -> Result<T, StateError> {
    let (&version, body) = bytes.split_first().ok_or(StateError::Truncated)?;
    if version != VERSION {
        return Err(StateError::Version(version));
    }
    let (state, rest) = postcard::take_from_bytes(body).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => StateError::Truncated,
        _ => StateError::Malformed,
    })?;
    if !rest.is_empty() {
        return Err(StateError::Trailing);
    }
    if !is_finite(&state) {
        return Err(StateError::NotFinite);
    }
    Ok(state)
}

impl Series {
    /// The state as bytes: under 2 KB.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Series::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version.
    pub fn decode(bytes: &[u8]) -> Result<Series, StateError> {
        decode(bytes, Series::is_finite)
    }
}

impl Values {
    /// The state as bytes: under 2 KB.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Values::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version.
    pub fn decode(bytes: &[u8]) -> Result<Values, StateError> {
        decode(bytes, Values::is_sound)
    }
}

impl Model {
    /// The state as bytes: under 2 KB.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Model::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version.
    pub fn decode(bytes: &[u8]) -> Result<Model, StateError> {
        decode(bytes, Model::is_sound)
    }
}

impl Ground {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Ground::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version.
    pub fn decode(bytes: &[u8]) -> Result<Ground, StateError> {
        decode(bytes, |ground: &Ground| {
            ground.total.is_finite() && ground.blank.is_finite() && ground.volume.is_finite()
        })
    }
}

impl LimitWatch {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](LimitWatch::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version.
    pub fn decode(bytes: &[u8]) -> Result<LimitWatch, StateError> {
        decode(bytes, LimitWatch::is_finite)
    }
}
