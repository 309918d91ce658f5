//! Other constants than those that ship, to see what depends on them.

use detector::value::Tuning;

/// A constant by its name.
type Field = (&'static str, fn(&mut Tuning) -> &mut f64);

/// All of them but the threshold, which is a choice and not a constant.
const FIELDS: [Field; 18] = [
    ("warm", |t| &mut t.warm),
    ("level", |t| &mut t.level),
    ("short", |t| &mut t.short),
    ("short_most", |t| &mut t.short_most),
    ("scale", |t| &mut t.scale),
    ("clip", |t| &mut t.clip),
    ("shrink", |t| &mut t.shrink),
    ("hour_rate", |t| &mut t.hour_rate),
    ("freedom", |t| &mut t.freedom),
    ("severity", |t| &mut t.severity),
    ("learned", |t| &mut t.learned),
    ("memorable", |t| &mut t.memorable),
    ("handicap", |t| &mut t.handicap),
    ("quieter", |t| &mut t.quieter),
    ("drift", |t| &mut t.drift),
    ("apart", |t| &mut t.apart),
    ("governor", |t| &mut t.governor),
    ("governor_memory", |t| &mut t.governor_memory),
];

/// Multiplies one constant.
pub fn one(tuning: &mut Tuning, name: &str, factor: f64) -> Result<(), String> {
    if !(factor.is_finite() && factor > 0.0) {
        return Err(format!("{factor} is no factor"));
    }
    let (_, field) = FIELDS
        .iter()
        .find(|(field, _)| *field == name)
        .ok_or_else(|| format!("{name} is no constant; see --constants"))?;
    *field(tuning) *= factor;
    Ok(())
}

/// Multiplies each constant by a number of its own between 0.8 and 1.2.
pub fn all(tuning: &mut Tuning, seed: u64) {
    let mut state = seed;
    for (_, field) in FIELDS {
        *field(tuning) *= 0.8 + 0.4 * uniform(&mut state);
    }
}

/// The next number in [0, 1) by SplitMix64.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 11) as f64 / (1u64 << 53) as f64
}

/// The constants, a name and a number to a line; the threshold first.
pub fn print(tuning: &Tuning) {
    let mut tuning = *tuning;
    println!("open {}", tuning.open);
    for (name, field) in FIELDS {
        println!("{name} {}", field(&mut tuning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_constant_is_moved_and_the_threshold_is_not() {
        let mut tuning = Tuning::SHIPPED;
        all(&mut tuning, 1);
        assert_eq!(tuning.open, Tuning::SHIPPED.open);
        let mut shipped = Tuning::SHIPPED;
        for (name, field) in FIELDS {
            let ratio = *field(&mut tuning) / *field(&mut shipped);
            assert!((0.8..=1.2).contains(&ratio) && ratio != 1.0, "{name}");
        }
    }

    #[test]
    fn one_constant() {
        let mut tuning = Tuning::SHIPPED;
        assert!(one(&mut tuning, "level", 1.25).is_ok());
        assert_eq!(tuning.level, 100.0);
        assert!(one(&mut tuning, "levels", 1.25).is_err());
        assert!(one(&mut tuning, "level", 0.0).is_err());
    }
}
