//! States as bytes, and back.
//!
//! One byte of version, then the fields in order (postcard). The round trip is bit-identical. The version before is read
//! too, and becomes a state of this one ([`previous`]); `CONTRIBUTING.md` says how a version is made.

mod previous;

use core::fmt;

use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::family::Model;
use crate::ground::Ground;
use crate::lifecycle::Lifecycle;
use crate::ratio::Ratio;
use crate::series::Series;
use crate::value::Values;

/// The version written.
pub const VERSION: u8 = 6;
/// The version before: read, not written.
pub const PREVIOUS: u8 = VERSION - 1;

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
                    "state has version {found}, this build reads versions {PREVIOUS} and {VERSION}"
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

/// What can be stored.
trait State: DeserializeOwned {
    /// Whether its numbers are ones that a state can have.
    fn is_sound(&self) -> bool;

    /// The state from the fields as the version before wrote them. As they stand, where the layout of this type is the
    /// same.
    fn from_previous(fields: &[u8]) -> Result<Self, StateError> {
        read(fields)
    }
}

fn read<T: DeserializeOwned>(fields: &[u8]) -> Result<T, StateError> {
    let (state, rest) = postcard::take_from_bytes(fields).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => StateError::Truncated,
        _ => StateError::Malformed,
    })?;
    if !rest.is_empty() {
        return Err(StateError::Trailing);
    }
    Ok(state)
}

fn decode<T: State>(bytes: &[u8]) -> Result<T, StateError> {
    let (&version, fields) = bytes.split_first().ok_or(StateError::Truncated)?;
    let state: T = match version {
        VERSION => read(fields)?,
        PREVIOUS => T::from_previous(fields)?,
        _ => return Err(StateError::Version(version)),
    };
    if !state.is_sound() {
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
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Series, StateError> {
        decode(bytes)
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
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Values, StateError> {
        decode(bytes)
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
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Model, StateError> {
        decode(bytes)
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
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Ground, StateError> {
        decode(bytes)
    }
}

impl Lifecycle {
    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Lifecycle::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Lifecycle, StateError> {
        decode(bytes)
    }
}

impl Ratio {
    /// The state as bytes: under 2 KB.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// The state from [`encode`](Ratio::encode)'s bytes.
    ///
    /// # Errors
    /// [`StateError`], where the bytes are not exactly one state of this version or the one before.
    pub fn decode(bytes: &[u8]) -> Result<Ratio, StateError> {
        decode(bytes)
    }
}

macro_rules! states {
    ($($state:ident: $is_sound:ident,)+) => {
        $(impl State for $state {
            fn is_sound(&self) -> bool {
                $state::$is_sound(self)
            }
        })+
    };
}

states! {
    Values: is_sound,
    Ratio: is_finite,
    Lifecycle: is_finite,
}
