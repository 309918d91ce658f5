#!/usr/bin/env python3
"""Makes tails.csv: tail probabilities in decades, by summing the law term by term with mpmath at 80 digits.

    pip install mpmath && (python3 make.py plain; python3 make.py wandering) > tails.csv

Columns: x, mean, dispersion, wander, side (1: X >= x, -1: X <= x), decades (-log10 P).
Without wander: the negative binomial law (the Poisson law at dispersion 0), summed until a term is below 1e-60 of
the sum. With it: the same, with its mean's logarithm normal around ln(mean) with that variance, integrated over
twelve standard deviations on both sides by mpmath.quad (Gauss-Legendre, 30 digits, split at each deviation).
"""
import sys
from mpmath import mp, mpf, log, exp, loggamma, log1p, quad, sqrt, pi, log10

mp.dps = 80
MEANS = ["0.001", "0.01", "0.1", "0.5", "1", "3", "10", "40", "200", "1000", "5000"]
DISPERSIONS = ["0", "0.0005", "0.01", "0.1", "0.5", "1", "2"]
DEVIATIONS = [1, 2, 3, 5, 8, 12, 20, 40]


def ln_pmf(k, mean, dispersion):
    if dispersion == 0:
        return k * log(mean) - mean - loggamma(k + 1)
    shape = 1 / dispersion
    ratio = dispersion * mean / (1 + dispersion * mean)
    return loggamma(k + shape) - loggamma(shape) - loggamma(k + 1) - shape * log1p(dispersion * mean) + k * log(ratio)


def tail(x, mean, dispersion, side, close=mpf(10) ** -60):
    """P(X >= x) or P(X <= x), by p(k + 1) / p(k) = M (1 + phi k) / ((k + 1) (1 + phi M))."""
    step = lambda k: mean * (1 + dispersion * k) / ((k + 1) * (1 + dispersion * mean))
    k, term = mpf(x), mpf(1)
    total = term
    while term > close * total:
        if side > 0:
            term *= step(k)
            k += 1
        else:
            if k == 0:
                break
            k -= 1
            term /= step(k)
        total += term
    return exp(ln_pmf(mpf(x), mean, dispersion)) * total


def wandering(x, mean, dispersion, wander, side):
    deviation = sqrt(wander)

    def integrand(z):
        return tail(x, mean * exp(deviation * z), dispersion, side, mpf(10) ** -25) * exp(-z * z / 2)

    return quad(integrand, list(range(-12, 13, 2)), maxdegree=4) / sqrt(2 * pi)


def row(x, mean, dispersion, wander, side, probability):
    decades = -log10(probability)
    print(f"{x},{mean},{dispersion},{wander},{side},{mp.nstr(decades, 20)}")


def places(mean, dispersion):
    deviation = sqrt(mean + dispersion * mean * mean)
    seen = set()
    for count in DEVIATIONS:
        for side in (1, -1):
            x = int(mp.ceil(mean + count * deviation)) if side > 0 else int(mp.floor(mean - count * deviation))
            if x >= 0 and (x, side) not in seen:
                seen.add((x, side))
                yield x, side
    if (0, -1) not in seen:
        yield 0, -1


def plain():
    print("x,mean,dispersion,wander,side,decades")
    for mean in MEANS:
        for dispersion in DISPERSIONS:
            for x, side in places(mpf(mean), mpf(dispersion)):
                row(x, mean, dispersion, "0", side, tail(x, mpf(mean), mpf(dispersion), side))


def wander():
    mp.dps = 30
    for mean in ["1", "10", "100"]:
        for dispersion in ["0", "0.05", "0.3"]:
            for variance in ["0.002", "0.015", "0.05"]:
                total = mpf(dispersion) + mpf(variance)
                deviation = sqrt(mpf(mean) + total * mpf(mean) ** 2)
                for count, side in [(2, 1), (4, 1), (7, 1), (2, -1), (4, -1)]:
                    x = int(mp.nint(mpf(mean) + side * count * deviation))
                    if x >= 0:
                        p = wandering(x, mpf(mean), mpf(dispersion), mpf(variance), side)
                        row(x, mean, dispersion, variance, side, p)


{"plain": plain, "wandering": wander}[sys.argv[1]]()
