//! Writes states as this version of the crate stores them to `detector/tests/states/v<VERSION>/`. To be run before a
//! layout changes: the next version must read what this one wrote. See CONTRIBUTING, "a layout of the states".

use detector::{Ground, Lifecycle, Model, Moment, Pace, Ratio};

/// Width of a bucket.
pub const MINUTE: Pace = Pace { minutes: 1.0 };
/// Buckets learned: three days, with an incident an hour before their end.
pub const LEARNED: i64 = 3 * 1440;

/// When a bucket is.
pub fn moment(bucket: i64) -> Moment {
    Moment {
        bucket,
        minute: bucket.rem_euclid(1440) as u16,
        weekend: false,
    }
}

/// The count of a bucket: a daily wave, a noise that needs no generator, an incident.
pub fn reading(bucket: i64) -> f64 {
    let wave = 40.0 - ((bucket.rem_euclid(1440) - 720).abs() / 24) as f64;
    let noise = (bucket * 7919).rem_euclid(11) as f64;
    let incident = (LEARNED - 70..LEARNED - 60).contains(&bucket);
    wave + noise + if incident { 120.0 } else { 0.0 }
}

/// A series, a monitor's ground and a ratio that have read all of it.
pub fn learned() -> (Model, Ground, Ratio) {
    let (mut series, mut ground, mut ratio) = (Model::new(), Ground::new(), Ratio::new());
    for bucket in 0..LEARNED {
        read(&mut series, &mut ground, &mut ratio, bucket);
    }
    (series, ground, ratio)
}

/// Reads one bucket more. Gives what was expected of the series.
pub fn read(series: &mut Model, ground: &mut Ground, ratio: &mut Ratio, bucket: i64) -> f64 {
    let (at, x) = (moment(bucket), reading(bucket));
    let sealing = ground.seal(at, true, 2.0 * x, MINUTE);
    let judgement = series.step(x, at, MINUTE);
    ground.close(at, &sealing, MINUTE);
    ratio.step(x, 20.0 * x, 1.0, bucket);
    judgement.expected
}

#[allow(dead_code)]
fn main() -> std::io::Result<()> {
    let (series, ground, ratio) = learned();
    let states = [
        ("series", series.encode()),
        ("ground", ground.encode()),
        ("ratio", ratio.encode()),
        ("heard", Lifecycle::new().encode()),
    ];
    for (name, bytes) in states {
        let directory = format!("{}/tests/states/v{}", env!("CARGO_MANIFEST_DIR"), bytes[0]);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(format!("{directory}/{name}"), bytes)?;
    }
    Ok(())
}
