//! Tails against values of many digits, made with mpmath: `certified/make.py` says how.

use detector::tail::{lower, upper, Law};

/// One line of `certified/tails.csv`.
struct Row {
    x: f64,
    law: Law,
    side: f64,
    decades: f64,
}

fn rows() -> Vec<Row> {
    include_str!("certified/tails.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let v: Vec<f64> = line
                .split(',')
                .map(|field| field.parse().expect("a number"))
                .collect();
            let [x, mean, dispersion, wander, side, decades] = v[..] else {
                panic!("{line}");
            };
            let law = Law {
                mean,
                dispersion,
                wander,
            };
            Row {
                x,
                law,
                side,
                decades,
            }
        })
        .collect()
}

/// Surprises that matter: below one decade nothing is decided, and a judgement never asks beyond 300.
fn decisive(row: &&Row) -> bool {
    (1.0..=300.0).contains(&row.decades)
}

/// The worst error of rows, in decades.
fn worst<'a>(rows: impl Iterator<Item = &'a Row>, ours: impl Fn(&Row) -> f64) -> (f64, usize) {
    rows.fold((0.0, 0), |(worst, count), row| {
        let error = (ours(row) - row.decades).abs();
        (if error > worst { error } else { worst }, count + 1)
    })
}

fn plain(row: &Row) -> f64 {
    let Law {
        mean, dispersion, ..
    } = row.law;
    if row.side > 0.0 {
        upper(row.x, mean, dispersion)
    } else {
        lower(row.x, mean, dispersion)
    }
}

#[test]
fn negative_binomial_and_poisson() {
    let rows = rows();
    let of = |side: f64, most: f64| {
        let chosen = rows.iter().filter(decisive).filter(move |row| {
            row.law.wander == 0.0 && row.side == side && row.law.dispersion <= most
        });
        worst(chosen, plain)
    };
    for (side, most, bound) in [
        (1.0, 0.0, 0.02),
        (1.0, 0.5, 0.02),
        (1.0, 2.0, 0.065),
        (-1.0, 0.0, 0.02),
        (-1.0, 2.0, 0.04),
    ] {
        let (error, count) = of(side, most);
        println!("side {side}, dispersion to {most}: {error:.4} decades in {count} values");
        assert!(count >= 15, "{count} values");
        assert!(error <= bound, "side {side}, dispersion to {most}: {error}");
    }
}

#[test]
fn with_an_uncertain_mean() {
    let rows = rows();
    let chosen = || {
        rows.iter()
            .filter(decisive)
            .filter(|row| row.law.wander > 0.0)
    };
    let law = |row: &Row| {
        if row.side > 0.0 {
            row.law.upper(row.x)
        } else {
            row.law.lower(row.x)
        }
    };
    let (error, count) = worst(chosen(), law);
    // What the detector decides on is between 5 and 6.3 decades.
    let near = |row: &&Row| (4.0..9.0).contains(&row.decades);
    let (near, near_count) = worst(chosen().filter(near), law);
    println!("{error:.4} decades in {count} values, {near:.4} in {near_count} from 4 to 9");
    assert!(count >= 50 && near_count >= 10, "{count}, {near_count}");
    // As much dispersion instead of an uncertain mean is off by this much.
    let (naive, _) = worst(chosen(), |row| {
        let Law {
            mean,
            dispersion,
            wander,
        } = row.law;
        let all = dispersion + wander;
        if row.side > 0.0 {
            upper(row.x, mean, all)
        } else {
            lower(row.x, mean, all)
        }
    });
    println!("{naive:.4} decades with dispersion instead");
    assert!(error < naive, "{error} {naive}");
    assert!(error <= 0.05 && near <= 0.05, "{error} {near}");
}
