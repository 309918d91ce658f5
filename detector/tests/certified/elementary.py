#!/usr/bin/env python3
"""Makes elementary.csv: values of elementary functions by mpmath at 50 digits; with --coefficients, the polynomials of
src/elementary.rs instead.

    pip install mpmath && python3 elementary.py > elementary.csv

Columns: function, x (a double, as the shortest text that reads back as it), value.
"""
import random
import sys

from mpmath import atanh, chebyfit, exp, expm1, factorial, log, log1p, mp, mpf, nstr, sqrt

mp.dps = 50


def artanh_beyond(z):
    """(2 artanh s - 2 s) / s^3 with z = s^2."""
    if z < mpf("1e-3"):
        return 2 * sum(z**i / (2 * i + 3) for i in range(40))
    s = sqrt(z)
    return (2 * atanh(s) - 2 * s) / (s * z)


def exp_beyond(r):
    """(exp(r) - 1 - r) / r^2."""
    if abs(r) < mpf("1e-2"):
        return sum(r**i / factorial(i + 2) for i in range(30))
    return (expm1(r) - r) / (r * r)


def coefficients():
    end = mpf("0.34658")
    for name, function, interval, count in [
        ("ARTANH", artanh_beyond, [0, mpf("0.0401")], 8),
        ("EXP", exp_beyond, [-end, end], 10),
    ]:
        found, error = chebyfit(function, interval, count, error=True)
        print(f"{name}, error {nstr(error, 2)}:", *[float(c) for c in reversed(found)])


def table():
    random.seed(1)
    signed = lambda low, high: random.choice([-1, 1]) * float(exp(random.uniform(low, high)))
    logarithm = [float(exp(random.uniform(-690, 690))) for _ in range(150)]
    logarithm += [random.uniform(0.5, 2) for _ in range(200)]
    logarithm += [1 + signed(-36, -5) for _ in range(50)]
    ratio = [x for x in (signed(-60, 5) for _ in range(400)) if x > -1]
    power = [random.uniform(-700, 700) for _ in range(150)]
    power += [random.uniform(-2, 2) for _ in range(200)]
    power += [signed(-40, 2) for _ in range(100)]
    print("function,x,value")
    for name, function, places in [
        ("ln", log, logarithm),
        ("ln_1p", log1p, ratio),
        ("exp", exp, power),
        ("exp_m1", expm1, power),
    ]:
        for x in places:
            print(f"{name},{x!r},{nstr(function(mpf(x)), 22)}")


coefficients() if "--coefficients" in sys.argv else table()
