//! `verify_models`.

use std::sync::atomic::Ordering;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;

use super::segment;
use crate::fold::Fold;
use crate::round::Place;
use crate::shared::{self, NEVER};
use crate::{calendar, key, settings, store, worker};

/// Compares the shared models with a fold of the whole table.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity)]
fn verify_models(
    monitor: &str,
) -> TableIterator<
    'static,
    (
        name!(series, String),
        name!(sealed_at, Option<TimestampWithTimeZone>),
        name!(same, bool),
        name!(detail, String),
    ),
> {
    let m = store::monitor_by_name(monitor);
    let cal = &m.calendar;
    let mut out = Vec::new();
    let Some(place) = segment().and_then(|s| Place::of(s, &m)) else {
        return TableIterator::new(vec![(
            key::TOTAL.to_string(),
            None,
            false,
            "no shared memory".into(),
        )]);
    };
    if !place.is_exact() || place.cell.loading.load(Ordering::Acquire) != 0 {
        worker::wake(place.segment);
        return TableIterator::new(vec![(
            key::TOTAL.to_string(),
            None,
            false,
            "the models wait to be loaded".into(),
        )]);
    }
    // Rows of buckets from here on are read when their time has come.
    let later = place.cell.future_from.load(Ordering::Acquire);
    let later = later.min(place.cell.beyond_from.load(Ordering::Acquire));
    let held = place.segment.read(place.cell);
    let sealed = held.model().sealed;
    let ground = held.model().ground;
    let ratios = held.model().ratios;
    let shared: Vec<_> = place
        .segment
        .slots_of(place.cell)
        .map(|(n, slot)| {
            let sums: Vec<i64> = slot
                .sums
                .iter()
                .map(|v| v.load(Ordering::Acquire))
                .collect();
            (slot.key().to_vec(), *held.slot(n), sums)
        })
        .collect();
    drop(held);
    let rules = store::rules(&m.name);
    let windows = store::maintenance(&m);
    let mut fold = Fold::new(&m, &rules, &windows).with_places(place.places());
    let limit = calendar::now().saturating_add(settings::future_tolerance());
    let mut open: std::collections::HashMap<(Vec<u8>, i64), i64> = Default::default();
    store::scan(&m, i64::MIN, limit.saturating_add(1), &mut |(
        b,
        k,
        sum,
        rows,
    )| {
        if b > sealed {
            let k = place.segment.counted_as(place.seat.cell, k).to_vec();
            let known: &mut i64 = open.entry((k, b)).or_default();
            *known = known.wrapping_add(sum);
        } else {
            fold.add(b, k, sum, rows, &mut |_| {});
        }
    });
    fold.finish(sealed, &mut |_| {});
    let at = (sealed != i64::MIN).then(|| store::timestamp(cal.start(sealed)));
    let same = ground.encode() == fold.ground.encode();
    let detail = |a: u64, b: u64| format!("{a} readings in shared memory, {b} in the fold");
    out.push((
        key::TOTAL.to_string(),
        at,
        same,
        detail(ground.total.readings(), fold.ground.total.readings()),
    ));
    for (k, s, sums) in &shared {
        let label = m.label(k);
        let folded = fold.series.iter().find(|f| f.key == *k && f.born != NEVER);
        let (same, text) = match folded {
            None => (s.born == NEVER, "not in the table".to_string()),
            Some(f) => (
                s.born == f.born && s.series.encode() == f.series.encode(),
                detail(s.series.readings(), f.series.readings()),
            ),
        };
        out.push((label.clone(), at, same, text));
        for i in 1..=shared::RING as i64 {
            if sealed == i64::MIN {
                break;
            }
            let b = sealed + i;
            if b >= later {
                break;
            }
            let in_ring = sums[b.rem_euclid(shared::RING as i64) as usize];
            let in_table = open.get(&(k.clone(), b)).copied().unwrap_or(0);
            if in_ring != in_table {
                out.push((
                    label.clone(),
                    Some(store::timestamp(cal.start(b))),
                    false,
                    format!("unsealed bucket: {in_ring} in shared memory, {in_table} in the table"),
                ));
            }
        }
    }
    for f in &fold.ratios {
        let held = ratios.iter().find(|r| r.id == f.model.id);
        let (same, text) = match held {
            None => (false, "not in shared memory".to_string()),
            Some(r) => (
                r.ratio.encode() == f.model.ratio.encode(),
                detail(r.ratio.readings(), f.model.ratio.readings()),
            ),
        };
        out.push((f.name.clone(), at, same, text));
    }
    for f in &fold.series {
        if f.born != NEVER && !shared.iter().any(|(k, _, _)| *k == f.key) {
            out.push((m.label(&f.key), at, false, "not in shared memory".into()));
        }
    }
    TableIterator::new(out)
}
