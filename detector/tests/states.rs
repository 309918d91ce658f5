//! States of the version before are read. The bytes under `states/` were written by `examples/states.rs` of that version's
//! code.

#[path = "../examples/states.rs"]
mod states;

use detector::snapshot::{PREVIOUS, VERSION};
use detector::{Ground, Lifecycle, Model, Ratio, StateError};

fn stored(version: u8, name: &str) -> Vec<u8> {
    let directory = env!("CARGO_MANIFEST_DIR");
    let path = format!("{directory}/tests/states/v{version}/{name}");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn states_of_the_version_before_go_on_as_new_ones_do() {
    let bytes = ["series", "ground", "ratio", "heard"].map(|name| stored(PREVIOUS, name));
    for b in &bytes {
        assert_eq!(b[0], PREVIOUS);
    }
    let mut series = Model::decode(&bytes[0]).expect("a series");
    let mut ground = Ground::decode(&bytes[1]).expect("a ground");
    let mut ratio = Ratio::decode(&bytes[2]).expect("a ratio");
    assert_eq!(Lifecycle::decode(&bytes[3]), Ok(Lifecycle::new()));

    let (mut new_series, mut new_ground, mut new_ratio) = states::learned();
    assert_eq!(series.readings(), new_series.readings());
    assert_eq!(series.incidents(), new_series.incidents());
    assert_eq!(ground.sealed, new_ground.sealed);
    for bucket in states::LEARNED..states::LEARNED + 500 {
        let old = states::read(&mut series, &mut ground, &mut ratio, bucket);
        let new = states::read(&mut new_series, &mut new_ground, &mut new_ratio, bucket);
        assert!(
            (old - new).abs() <= 0.02 * new,
            "bucket {bucket}: {old}, {new}"
        );
    }
    assert_eq!(series.incidents(), new_series.incidents());
    assert!(series.judge(200.0).score() > 90.0);
    // What is stored from now on is of this version, and reads back as it is.
    let again = series.encode();
    assert_eq!(again[0], VERSION);
    assert_eq!(Model::decode(&again), Ok(series));
    assert_eq!(Ground::decode(&ground.encode()), Ok(ground));
    assert_eq!(Ratio::decode(&ratio.encode()), Ok(ratio));
}

#[test]
fn what_is_no_state_of_the_version_before_is_refused() {
    for name in ["series", "ground", "ratio", "heard"] {
        let whole = stored(PREVIOUS, name);
        let decode = |bytes: &[u8]| match name {
            "series" => Model::decode(bytes).err(),
            "ground" => Ground::decode(bytes).err(),
            "ratio" => Ratio::decode(bytes).err(),
            _ => Lifecycle::decode(bytes).err(),
        };
        assert_eq!(decode(&whole), None);
        assert_eq!(
            decode(&whole[..whole.len() - 1]),
            Some(StateError::Truncated)
        );
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(decode(&longer), Some(StateError::Trailing));
        for version in [PREVIOUS - 1, VERSION + 1] {
            let mut other = whole.clone();
            other[0] = version;
            assert_eq!(decode(&other), Some(StateError::Version(version)));
        }
    }
}
