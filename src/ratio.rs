//! Ratios: a part of a whole, both sums of series of one monitor, as a rule defines it. Judged when a bucket is sealed,
//! since both may grow until then.

use detector::{Judgement, Lifecycle, Limits, Ratio, Terms, Told};

use crate::key;
use crate::monitor::{Monitor, Rule};
use crate::shared::{Direction, RatioModel, RATIOS};

/// What a rule says a ratio is.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Labels of the series that make the part; `(total)` is all of them.
    pub numerator: Vec<String>,
    /// Labels of the series that make the whole.
    pub denominator: Vec<String>,
    /// Windows in which the whole is less say nothing.
    pub min_volume: f64,
}

/// Which ratios a series is part of: a bit for each, by its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    pub numerator: u8,
    pub denominator: u8,
}

impl Definition {
    /// A number for a ratio of this name and definition: another definition is another ratio, with a model of its own.
    pub fn id(&self, name: &str) -> u64 {
        let mut text = format!("{name}\0{}", self.min_volume.to_bits());
        for label in &self.numerator {
            text += "\0n";
            text += label;
        }
        for label in &self.denominator {
            text += "\0d";
            text += label;
        }
        key::hash(0, text.as_bytes()) | 1
    }
}

/// The rules that define ratios, in the order of their places.
pub fn defined(rules: &[Rule]) -> impl Iterator<Item = (usize, &Rule, &Definition)> {
    rules
        .iter()
        .filter_map(|r| r.ratio.as_ref().map(|d| (r, d)))
        .take(RATIOS)
        .enumerate()
        .map(|(place, (rule, definition))| (place, rule, definition))
}

/// The ratios of rules, with nothing read yet.
pub fn models(monitor: &Monitor, rules: &[Rule]) -> [RatioModel; RATIOS] {
    let mut models = [RatioModel::NONE; RATIOS];
    for (place, rule, definition) in defined(rules) {
        models[place] = RatioModel {
            id: definition.id(&rule.series),
            min_volume: definition.min_volume,
            limits: rule.limits,
            direction: rule.direction.unwrap_or(Direction::Both) as u8,
            terms: monitor.terms(Some(rule)),
            ..RatioModel::NONE
        };
    }
    models
}

/// Which ratios a series belongs to.
pub fn membership(rules: &[Rule], label: &str) -> Membership {
    let mut m = Membership::default();
    for (place, _, definition) in defined(rules) {
        let has = |list: &[String]| list.iter().any(|l| l == label || l == key::TOTAL);
        m.numerator |= u8::from(has(&definition.numerator)) << place;
        m.denominator |= u8::from(has(&definition.denominator)) << place;
    }
    m
}

/// Parts and wholes of one bucket. Sums wrap, as they do everywhere.
#[derive(Clone, Copy, Default)]
pub struct Sums {
    parts: [i64; RATIOS],
    wholes: [i64; RATIOS],
}

/// What one bucket says of a ratio.
pub struct Reading {
    pub share: f64,
    pub whole: f64,
    pub judgement: Judgement,
    /// Whether an incident that is heard of was opened, went on or ended.
    pub stirred: bool,
}

impl Sums {
    /// A series had this sum in the bucket.
    pub fn add(&mut self, of: Membership, sum: i64) {
        if of == Membership::default() {
            return;
        }
        for place in 0..RATIOS {
            if of.numerator >> place & 1 != 0 {
                self.parts[place] = self.parts[place].wrapping_add(sum);
            }
            if of.denominator >> place & 1 != 0 {
                self.wholes[place] = self.wholes[place].wrapping_add(sum);
            }
        }
    }

    /// Folds the bucket into the ratio of a place. None where there is no reading: nothing makes up the whole.
    pub fn read(&self, place: usize, model: &mut RatioModel, bucket: i64) -> Option<Reading> {
        let whole = self.wholes[place].max(0) as f64;
        let part = (self.parts[place].max(0) as f64).min(whole);
        let (judgement, bounds) = model.ratio.step_bounded(
            part,
            whole,
            model.min_volume,
            bucket,
            &model.terms.sensitivity,
        )?;
        let share = part / whole;
        let told = Told {
            x: share,
            bucket,
            judgement: &judgement,
            bounds,
            own: model.ratio.own(bucket),
            allowed: Direction::from_u8(model.direction).sides(),
            limits: &model.limits,
            share: true,
        };
        let stirred = model.life.step(&told, &model.terms);
        Some(Reading {
            share,
            whole,
            judgement,
            stirred,
        })
    }
}

/// First byte of the key under which a ratio's state is stored; no series' key begins with it.
const KEY: u8 = 0xff;

/// The key under which a ratio's state is stored.
pub fn stored_key(id: u64) -> Vec<u8> {
    let mut key = vec![KEY];
    key.extend_from_slice(&id.to_le_bytes());
    key
}

/// The ratio that a stored key means; None where it is a series'.
pub fn of_stored_key(key: &[u8]) -> Option<u64> {
    match key.split_first() {
        Some((&KEY, id)) => id.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    }
}

/// The state of a ratio as it is stored: length of the ratio's state, that, what is heard of it.
pub fn encode(model: &RatioModel) -> Vec<u8> {
    let ratio = model.ratio.encode();
    let mut out = (ratio.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&ratio);
    out.extend_from_slice(&model.life.encode());
    out
}

/// The other way.
pub fn decode(bytes: &[u8]) -> Option<(Ratio, Lifecycle)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let ratio = Ratio::decode(bytes.get(4..4 + length)?).ok()?;
    let life = Lifecycle::decode(bytes.get(4 + length..)?).ok()?;
    Some((ratio, life))
}

impl RatioModel {
    /// No ratio.
    pub const NONE: RatioModel = RatioModel {
        id: 0,
        min_volume: 0.0,
        ratio: Ratio::new(),
        life: Lifecycle::new(),
        limits: Limits::NONE,
        terms: Terms::BUILT_IN,
        direction: Direction::Both as u8,
    };
}
