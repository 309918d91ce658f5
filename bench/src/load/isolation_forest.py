# What a monitoring script does each round: read the table, pivot it, fit, score. Prints the seconds of each round.
import sys
import time

import pandas
import psycopg
from sklearn.ensemble import IsolationForest

dsn, window, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
with psycopg.connect(dsn) as connection:
    for _ in range(rounds):
        began = time.perf_counter()
        cursor = connection.execute(
            "SELECT date_trunc('minute', time), status, count FROM transactions WHERE time >= now() - %s::interval",
            (window,),
        )
        frame = pandas.DataFrame(cursor.fetchall(), columns=["time", "status", "count"])
        counts = frame.pivot_table(index="time", columns="status", values="count", aggfunc="sum", fill_value=0)
        for status in counts:
            series = counts[[status]].copy()
            series["hour"] = series.index.hour
            series["mean"] = series[status].rolling(60, min_periods=1).mean()
            forest = IsolationForest(n_estimators=100, random_state=0).fit(series.to_numpy())
            forest.score_samples(series.to_numpy())
        print(time.perf_counter() - began, flush=True)
