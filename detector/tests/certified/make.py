#!/usr/bin/env python3
"""Makes tails.csv: tail probabilities in decades, by summing the law term by term with mpmath at 60 digits.

    pip install mpmath && python3 make.py > tails.csv

Columns: law, x, a, b, c, side (1: X >= x, -1: X <= x), decades (-log10 P).
count: the negative binomial law of mean a and dispersion b (0: Poisson), summed until a term is below 1e-50 of the sum.
wandering: the same, with the logarithm of its mean normal around ln a with variance c, integrated over twelve standard
deviations on both sides by mpmath.quad (Gauss-Legendre, 30 digits, split at each second deviation).
share: the beta-binomial law of a events, share b and correlation c (0: binomial), summed to its end.
"""
from mpmath import mp, mpf, ceil, exp, floor, log, log10, log1p, loggamma, nint, pi, quad, sqrt

mp.dps = 60
MEANS = ["0.001", "0.01", "0.1", "0.5", "1", "3", "10", "40", "200", "1000"]
DISPERSIONS = ["0", "0.0005", "0.01", "0.1", "0.5", "1", "2"]
WHOLES = ["2", "20", "150", "1000"]
SHARES = ["0.002", "0.1", "0.5", "0.93"]
CORRELATIONS = ["0", "0.0001", "0.01", "0.2"]
DEVIATIONS = [1, 2, 3, 5, 8, 12, 20]
CLOSE = mpf(10) ** -50


def count_pmf(k, mean, dispersion):
    if dispersion == 0:
        return exp(k * log(mean) - mean - loggamma(k + 1))
    shape = 1 / dispersion
    ratio = dispersion * mean / (1 + dispersion * mean)
    ways = loggamma(k + shape) - loggamma(shape) - loggamma(k + 1)
    return exp(ways - shape * log1p(dispersion * mean) + k * log(ratio))


def count_tail(x, mean, dispersion, side, close=CLOSE):
    """By p(k + 1) / p(k) = M (1 + phi k) / ((k + 1) (1 + phi M))."""
    k, term = mpf(x), mpf(1)
    total = term
    while term > close * total and (side > 0 or k > 0):
        if side < 0:
            k -= 1
        step = mean * (1 + dispersion * k) / ((k + 1) * (1 + dispersion * mean))
        term = term * step if side > 0 else term / step
        if side > 0:
            k += 1
        total += term
    return count_pmf(mpf(x), mean, dispersion) * total


def wandering_tail(x, mean, dispersion, wander, side):
    def integrand(z):
        tail = count_tail(x, mean * exp(sqrt(wander) * z), dispersion, side, mpf(10) ** -25)
        return tail * exp(-z * z / 2)

    return quad(integrand, list(range(-12, 13, 2)), maxdegree=4) / sqrt(2 * pi)


def share_pmf(k, n, p, rho):
    ways = loggamma(n + 1) - loggamma(k + 1) - loggamma(n - k + 1)
    if rho == 0:
        return exp(ways + k * log(p) + (n - k) * log1p(-p))
    a, b = p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho
    beta = lambda u, v: loggamma(u) + loggamma(v) - loggamma(u + v)
    return exp(ways + beta(k + a, n - k + b) - beta(a, b))


def share_tail(x, n, p, rho, side):
    ks = range(x, int(n) + 1) if side > 0 else range(0, x + 1)
    return sum(share_pmf(mpf(k), n, p, rho) for k in ks)


def places(mean, deviation, most):
    seen = set()
    for away in DEVIATIONS:
        for side in (1, -1):
            x = int(ceil(mean + away * deviation) if side > 0 else floor(mean - away * deviation))
            if 0 <= x <= most and (x, side) not in seen:
                seen.add((x, side))
                yield x, side


def row(law, x, a, b, c, side, probability):
    print(f"{law},{x},{a},{b},{c},{side},{mp.nstr(-log10(probability), 20)}")


print("law,x,a,b,c,side,decades")
for mean in MEANS:
    for dispersion in DISPERSIONS:
        m, d = mpf(mean), mpf(dispersion)
        for x, side in places(m, sqrt(m + d * m * m), 1e9):
            row("count", x, mean, dispersion, 0, side, count_tail(x, m, d, side))
for n in WHOLES:
    for p in SHARES:
        for rho in CORRELATIONS:
            w, s, r = mpf(n), mpf(p), mpf(rho)
            deviation = sqrt(w * s * (1 - s) * (1 + (w - 1) * r))
            for x, side in places(w * s, deviation, int(n)):
                row("share", x, n, p, rho, side, share_tail(x, w, s, r, side))
mp.dps = 30
for mean in ["1", "10", "100"]:
    for dispersion in ["0", "0.05", "0.3"]:
        for wander in ["0.002", "0.015", "0.05"]:
            m, d, v = mpf(mean), mpf(dispersion), mpf(wander)
            deviation = sqrt(m + (d + v) * m * m)
            for away, side in [(2, 1), (4, 1), (7, 1), (2, -1), (4, -1)]:
                x = int(nint(m + side * away * deviation))
                if x >= 0:
                    row("wandering", x, mean, dispersion, wander, side, wandering_tail(x, m, d, v, side))
