//! Tails against values of many digits, made with mpmath: `certified/make.py` says how.

use detector::tail::Law;
use detector::{ratio, tail};

/// One line of `certified/tails.csv`.
struct Row {
    law: &'static str,
    x: f64,
    a: f64,
    b: f64,
    c: f64,
    side: f64,
    decades: f64,
}

fn rows() -> impl Iterator<Item = Row> {
    let table = include_str!("certified/tails.csv");
    table.lines().skip(1).map(|line| {
        let (law, numbers) = line.split_once(',').expect("a law");
        let v: Vec<f64> = numbers
            .split(',')
            .map(|field| field.parse().expect("a number"))
            .collect();
        let [x, a, b, c, side, decades] = v[..] else {
            panic!("{line}");
        };
        Row {
            law,
            x,
            a,
            b,
            c,
            side,
            decades,
        }
    })
}

/// The worst error of what a law decides on, in decades: below one nothing is decided, beyond 300 nothing is asked.
fn worst(law: &str, chosen: impl Fn(&Row) -> bool, ours: impl Fn(&Row) -> f64) -> (f64, usize) {
    rows()
        .filter(|row| row.law == law && (1.0..=300.0).contains(&row.decades) && chosen(row))
        .fold((0.0, 0), |(worst, count), row| {
            let error = (ours(&row) - row.decades).abs();
            (f64::max(error, worst), count + 1)
        })
}

#[test]
fn counts() {
    let ours = |row: &Row| match row.side > 0.0 {
        true => tail::upper(row.x, row.a, row.b),
        false => tail::lower(row.x, row.a, row.b),
    };
    for (side, most, bound) in [
        (1.0, 0.0, 0.03),
        (1.0, 0.5, 0.03),
        (1.0, 2.0, 0.065),
        (-1.0, 0.0, 0.03),
        (-1.0, 2.0, 0.06),
    ] {
        let (error, count) = worst("count", |row| row.side == side && row.b <= most, ours);
        println!("side {side}, dispersion to {most}: {error:.4} decades in {count} values");
        assert!(count >= 10, "{count} values");
        assert!(error <= bound, "side {side}, dispersion to {most}: {error}");
    }
}

#[test]
fn shares() {
    let ours = |row: &Row| match row.side > 0.0 {
        true => ratio::tail::upper(row.x, row.a, row.b, row.c),
        false => ratio::tail::lower(row.x, row.a, row.b, row.c),
    };
    let (error, count) = worst("share", |_| true, ours);
    println!("{error:.2e} decades in {count} values");
    assert!(count >= 100, "{count} values");
    assert!(error <= 1e-6, "{error}");
}

#[test]
fn counts_of_an_uncertain_mean() {
    let law = |row: &Row| Law {
        mean: row.a,
        dispersion: row.b,
        wander: row.c,
    };
    let ours = |row: &Row| match row.side > 0.0 {
        true => law(row).upper(row.x),
        false => law(row).lower(row.x),
    };
    let (error, count) = worst("wandering", |_| true, ours);
    println!("{error:.4} decades in {count} values");
    assert!(count >= 50, "{count} values");
    assert!(error <= 0.05, "{error}");

    // As much dispersion instead is off by more than that.
    let instead = |row: &Row| match row.side > 0.0 {
        true => tail::upper(row.x, row.a, row.b + row.c),
        false => tail::lower(row.x, row.a, row.b + row.c),
    };
    let (naive, _) = worst("wandering", |_| true, instead);
    println!("{naive:.4} decades with dispersion instead");
    assert!(naive > 2.0 * error, "{naive}");
}
