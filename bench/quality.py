#!/usr/bin/env python3
"""Scores the detector on labelled files, with peers beside it. Called by `make bench-quality DIR=…`.

DIR has data/nab (data/ and labels/ in it), data/kpi, and the scorers score_nab.py and score_events.py
in eval/. Any other directories of these layouts do: --nab and --kpi name them, --quick leaves out all
that runs the detector more than once. The table is printed and written to bench/RESULTS.md; what stands
there below the line "## By hand" stays.
"""
import argparse
import bisect
import csv
import importlib.util
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from datetime import timedelta

import numpy as np

OPEN = 2.1  # surprise of values from which a reading is not normal, as it ships; checked against `bench --constants`
DECADES = 5.0  # the same on the scale of all families, on which the scores are written
MOVED = [round(1.6 + 0.1 * k, 1) for k in range(13)]
DRAWS = 30
HAND = "## By hand"
STANDARD, LOW_FP, LOW_FN = "standard", "reward_low_FP_rate", "reward_low_FN_rate"

# What detector.md of the project's data says of others; none of it was run here.
PUBLISHED_58 = [
    ("ARTime", 74.9, 65.2, 80.4), ("Numenta HTM", 70.1, 63.2, 74.3), ("CAD OSE", 69.9, 67.0, 73.2),
    ("Skyline (earthgecko)", 58.2, 46.2, 63.8), ("KNN CAD", 58.0, 43.4, 64.8),
    ("AWS random cut forest", 51.7, 38.4, 59.8), ("Twitter ADVec", 47.1, 33.6, 53.5),
]
PUBLISHED_31 = [
    ("ARTime", 78.2, 70.4, 83.1), ("CAD OSE", 74.1, 71.7, 76.9), ("Numenta HTM", 71.2, 65.0, 75.9),
    ("AWS random cut forest", 52.0, 38.3, 61.0),
]
# Constants that switch a part off.
PARTS = [
    ("memory of sizes", ["memorable=1e9"]),
    ("governor", ["governor=1e-9"]),
    ("severity (rarity alone)", ["severity=1e-9"]),
    ("rarity (severity alone)", ["severity=2"]),
    ("cap on what the tail learns", ["learned=20"]),
    ("clip of levels and hours", ["clip=1e9"]),
    ("handicap of the reading itself", ["handicap=1e-9"]),
    ("quieter short mean (louder alone)", ["quieter=1e-9"]),
]


def module(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def unit(surprise):
    return surprise / (1.0 + surprise)


class Bench:
    """The runner, and where it writes."""

    def __init__(self, binary, work):
        self.binary, self.work = binary, work

    def run(self, layout, data, *options):
        out = os.path.join(self.work, "scores", layout)
        shutil.rmtree(out, ignore_errors=True)
        command = [self.binary, "--layout", layout, "--data", data, "--out", out, *map(str, options)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return out

    def constants(self):
        text = subprocess.run([self.binary, "--constants"], check=True, capture_output=True, text=True).stdout
        return {name: float(value) for name, value in (line.split() for line in text.splitlines())}


class Nab:
    """NAB files and their scorer."""

    def __init__(self, scorer, directory):
        self.scorer, self.directory = scorer, directory
        self.corpus = scorer.Corpus(directory)
        self.files = self.corpus.files
        self.categories = sorted({file.split("/")[0] for file in self.files})

    def load(self, directory):
        return self.scorer.load(self.corpus, directory)

    def quick(self, directory):
        """What load gives, without its checks."""
        scores = {}
        for file in self.files:
            with open(os.path.join(directory, file)) as lines:
                next(lines)
                scores[file] = np.array([float(line.rsplit(",", 1)[1]) for line in lines])
        return scores

    def swept(self, scores):
        return {profile: score for profile, (score, _) in self.scorer.nab(self.corpus, scores).items()}

    def left_out(self, scores):
        return self.scorer.loco(self.corpus, scores)

    def raw(self, scores, threshold, profile, files=None):
        weights = self.scorer.PROFILES[profile]
        return self.scorer.score_at(self.corpus, files or self.files, scores, weights, threshold)

    def normed(self, raw, profile):
        return self.scorer.norm(raw, self.corpus, self.scorer.PROFILES[profile])

    def at(self, scores, threshold):
        return {p: self.normed(self.raw(scores, threshold, p), p) for p in self.scorer.PROFILES}

    def moved(self, bench):
        """The threshold inside the detector moved, so that its governor moves with it: the best one, and the one
        chosen on the other categories."""
        runs = {t: self.quick(bench.run("nab", self.directory, "--open", t)) for t in MOVED}
        best, left_out = {}, {}
        for profile in self.scorer.PROFILES:
            raw = {t: {c: self.raw(scores, unit(DECADES) - 1e-12, profile, self.of(c)) for c in self.categories}
                   for t, scores in runs.items()}
            best[profile] = self.normed(max(sum(by.values()) for by in raw.values()), profile)
            total = 0.0
            for category in self.categories:
                others = {t: sum(v for c, v in by.items() if c != category) for t, by in raw.items()}
                total += raw[max(others, key=others.get)][category]
            left_out[profile] = self.normed(total, profile)
        return best, left_out

    def of(self, category):
        return [file for file in self.files if file.startswith(category + "/")]

    def by_category(self, scores, threshold):
        rows = []
        for category in self.categories:
            found = windows = false = 0
            for file in self.of(category):
                data, score = self.corpus.data[file], scores[file]
                for window in range(data["nwin"]):
                    inside = data["wid"] == window
                    windows += 1
                    found += bool((score[inside] >= threshold).any())
                false += int((score[data["wid"] == -1] >= threshold).sum())
            rows.append((category, len(self.of(category)), found, windows, false))
        return rows

    def cooled(self, scores):
        """The best score of a detector that is silent for five hours after each alert."""
        every = np.sort(np.concatenate(list(scores.values())))
        ranks = np.unique(np.geomspace(20, len(every) * 0.05, 40).astype(int))
        best = {profile: -math.inf for profile in self.scorer.PROFILES}
        for threshold in {every[-rank] for rank in ranks}:
            kept = {file: opening(score, threshold, self.apart(file)) for file, score in scores.items()}
            for profile in best:
                best[profile] = max(best[profile], self.normed(self.raw(kept, threshold, profile), profile))
        return best

    def apart(self, file):
        times = self.corpus.data[file]["times"]
        step = statistics.median((b - a).total_seconds() for a, b in zip(times, times[1:]))
        return max(1, int(18000 / max(step, 1)))

    def variant(self, name, change, work):
        """Another corpus made of these files: as nobody chose anything on it, the nearest to unseen files that
        the files at hand can give. Windows that fall into the unscored first 15 % go."""
        directory = os.path.join(work, "variants", name)
        shutil.rmtree(directory, ignore_errors=True)
        labels = {}
        windows = json.load(open(os.path.join(self.directory, "labels", "combined_windows.json")))
        for file in self.files:
            data = self.corpus.data[file]
            spans = [(self.scorer.ts(a), self.scorer.ts(b)) for a, b in windows[file]]
            times, values, spans = change(data["times"], data["vals"], spans)
            begin = times[min(math.floor(0.15 * len(times)), 750)]
            labels[file] = [[str(a), str(b)] for a, b in spans if a >= begin]
            path = os.path.join(directory, "data", file)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write("timestamp,value\n")
                out.writelines("%s,%r\n" % (t, float(v)) for t, v in zip(times, values))
        os.makedirs(os.path.join(directory, "labels"))
        json.dump(labels, open(os.path.join(directory, "labels", "combined_windows.json"), "w"))
        return Nab(self.scorer, directory)


def backwards(times, values, spans):
    """Backwards in time; the calendar runs forwards."""
    midnight = times[0].replace(hour=0, minute=0, second=0)
    end = times[-1].replace(hour=0, minute=0, second=0) + timedelta(days=1)
    turned = [midnight + (end - t) for t in reversed(times)]
    return turned, values[::-1], sorted((midnight + (end - b), midnight + (end - a)) for a, b in spans)


def cut(share):
    def change(times, values, spans):
        k = int(share * len(times))
        return times[k:], values[k:], [(a, b) for a, b in spans if a >= times[k]]
    return change


def thinned(width):
    """Means of so many readings."""
    def change(times, values, spans):
        n = len(times) // width
        starts = [times[width * i] for i in range(n)]
        means = [values[width * i:width * (i + 1)].mean() for i in range(n)]
        place = lambda t: starts[max(bisect.bisect_right(starts, t) - 1, 0)]
        return starts, means, [(place(a), place(b)) for a, b in spans]
    return change


def noised(share):
    """Noise of so large a share of the median difference of neighbours."""
    random = np.random.default_rng(1)

    def change(times, values, spans):
        scale = share * np.median(np.abs(np.diff(values)))
        return times, values + scale * random.normal(size=len(values)), spans
    return change


def rotated(share):
    """The later part first, then the earlier one, whole days later: incidents that had a long history before them
    now have a short one."""
    def change(times, values, spans):
        k = int(share * len(times))
        days = math.ceil((times[-1] - times[0]) / timedelta(days=1))
        later = timedelta(days=days)
        turned = times[k:] + [t + later for t in times[:k]]
        spans = [(a, b) if a >= times[k] else (a + later, b + later)
                 for a, b in spans if a >= times[k] or b < times[k]]
        return turned, np.concatenate([values[k:], values[:k]]), sorted(spans)
    return change


VARIANTS = [
    ("first 4 % cut off", cut(0.04)), ("first 8 % cut off", cut(0.08)), ("first 12 % cut off", cut(0.12)),
    ("every 2 readings their mean", thinned(2)), ("every 3 readings their mean", thinned(3)),
    ("noise of 0.3 differences", noised(0.3)), ("last 75 % first", rotated(0.25)), ("last 45 % first", rotated(0.55)),
    ("backwards", backwards),
]


class Kpi:
    """KPI files and their scorer."""

    def __init__(self, scorer, directory):
        self.scorer, self.directory = scorer, directory
        self.files = sorted(
            os.path.relpath(os.path.join(root, name), directory)
            for root, _, names in os.walk(directory) for name in names if name.endswith(".csv"))
        self.meta = {}
        for file in self.files:
            label, step = scorer.load(os.path.join(directory, file))
            quick = step <= 600
            self.meta[file] = (label, scorer.segments(label), 7 if quick else 3, 30 if quick else 6,
                               int(min(0.15 * len(label), 750)))
        self.categories = sorted({file.split(os.sep)[0] for file in self.files})

    def load(self, directory):
        scores = {}
        for file in self.files:
            with open(os.path.join(directory, file)) as lines:
                next(lines)
                scores[file] = [float(line.rsplit(",", 1)[1]) for line in lines]
        return scores

    def count(self, scores, threshold, files=None):
        series = []
        for file in files or self.files:
            label, segments, margin, cool, start = self.meta[file]
            series.append((label, scores[file], segments, margin, cool, start))
        return self.scorer.count(series, threshold)

    def grid(self, scores, steps):
        """Thresholds: so many per factor of ten of the readings beyond them."""
        every = np.sort(np.concatenate([np.asarray(s) for s in scores.values()]))
        every = every[every > 0]
        return sorted({float(every[min(len(every) - 1, int(len(every) * (1 - 10 ** -(k / steps))))])
                       for k in range(steps, 4 * steps)})

    def swept(self, scores, steps=36):
        return max(self.count(scores, threshold)[0] for threshold in self.grid(scores, steps))

    def left_out(self, scores, steps=36):
        """F1 of all files, each category at the threshold that is best for the others."""
        grid, decided = self.grid(scores, steps), {}
        for category in self.categories:
            others = [file for file in self.files if not file.startswith(category + os.sep)]
            threshold = max(grid, key=lambda t: self.count(scores, t, others)[0])
            for file in self.files:
                if file.startswith(category + os.sep):
                    decided[file] = [1.0 if s >= threshold else 0.0 for s in scores[file]]
        return self.count(decided, 0.5)[0]

    def values(self, file):
        with open(os.path.join(self.directory, file)) as lines:
            fields = [row[1] for row in csv.reader(lines)][1:]
        return np.array([float(v) for v in fields if v not in ("", "NaN", "nan")])


# Peers. Each sees a reading after those before it and nothing else; nothing is chosen for one file.

def opening(score, threshold, apart):
    kept, last = np.zeros_like(score), -10 ** 9
    for i in np.flatnonzero(score >= threshold):
        if i - last > apart:
            kept[i] = score[i]
        last = i
    return kept


def rolling_z(values, window=1000):
    scores, total, square = np.zeros(len(values)), 0.0, 0.0
    shift = values[0]
    for i, raw in enumerate(values):
        x = raw - shift
        n = min(i, window)
        if n >= 30:
            mean = total / n
            deviation = math.sqrt(max(square / n - mean * mean, 0.0))
            scores[i] = unit(abs(x - mean) / deviation) if deviation > 0 else 0.0
        total, square = total + x, square + x * x
        if i >= window:
            old = values[i - window] - shift
            total, square = total - old, square - old * old
    return scores


def rolling_mad(values, window=200):
    scores = np.zeros(len(values))
    for i in range(30, len(values)):
        past = values[max(0, i - window):i]
        median = np.median(past)
        deviation = 1.4826 * np.median(np.abs(past - median))
        scores[i] = unit(abs(values[i] - median) / deviation) if deviation > 0 else 0.0
    return scores


def ewma_z(values, horizon=100):
    scores, mean, variance = np.zeros(len(values)), values[0], 0.0
    for i, x in enumerate(values):
        if i >= 30 and variance > 0:
            scores[i] = unit(abs(x - mean) / math.sqrt(variance))
        rate = max(1 / horizon, 1 / (i + 1))
        off = x - mean
        mean += rate * off
        variance = (1 - rate) * (variance + rate * off * off)
    return scores


def river_gaussian(values):
    from river import anomaly
    scorer = anomaly.GaussianScorer()
    scores = np.zeros(len(values))
    for i, x in enumerate(values):
        scores[i] = scorer.score_one(None, float(x))
        scorer.learn_one(None, float(x))
    return np.nan_to_num(scores)


def peers():
    import river
    return [("river %s GaussianScorer" % river.__version__, river_gaussian),
            ("rolling z-score, 1000 readings", rolling_z),
            ("rolling median and MAD, 200 readings", rolling_mad),
            ("exponential mean and variance, 100 readings", ewma_z)]


# Tables

def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def three(scores):
    return ["%.1f" % scores[profile] for profile in (STANDARD, LOW_FP, LOW_FN)]


def spread(numbers, form):
    return " ".join([form % statistics.mean(numbers), "±", form % statistics.pstdev(numbers),
                     "[%s, %s]" % (form % min(numbers), form % max(numbers))])


def headline(bench, nab, kpi, quick):
    parts = []
    scores = nab.load(bench.run("nab", nab.directory))
    shipped = unit(DECADES) - 1e-12
    rows = [("threshold that ships", *three(nab.at(scores, shipped))),
            ("threshold swept over the scores of that run", *three(nab.swept(scores))),
            ("the same, chosen leaving the file's category out (scorer's --loco)", *three(nab.left_out(scores)))]
    if not quick:
        best, left_out = nab.moved(bench)
        rows += [("threshold of the detector itself moved, best of %g to %g" % (MOVED[0], MOVED[-1]), *three(best)),
                 ("**the same, chosen leaving the file's category out: the honest number**", *three(left_out))]
    parts.append("### NAB, %d files, %d windows\n\n%s" % (
        len(nab.files), nab.corpus.nwin, table(["one configuration", "standard", "low FP", "low FN"], rows)))
    parts.append(table(["category", "files", "windows found", "of", "false"], nab.by_category(scores, shipped)))

    scores = kpi.load(bench.run("kpi", kpi.directory))
    score, precision, recall = kpi.count(scores, unit(DECADES) - 1e-12)
    rows = [("threshold that ships (surprise %g)" % DECADES, "%.3f" % score),
            ("threshold swept", "%.3f" % kpi.swept(scores)),
            ("**chosen leaving the file's category out: the honest number**", "%.3f" % kpi.left_out(scores))]
    parts.append("### KPI, %d files\n\n%s\n\nAt the threshold that ships: precision %.2f, recall %.2f." % (
        len(kpi.files), table(["one configuration", "event F1"], rows), precision, recall))
    return parts


def against_peers(nab, kpi):
    rows, kpi_rows = [], []
    for name, peer in peers():
        scores = {file: peer(nab.corpus.data[file]["vals"]) for file in nab.files}
        rows.append((name, "run here", *three(nab.swept(scores)), *three(nab.cooled(scores))))
        scores = {file: list(peer(kpi.values(file))) for file in kpi.files}
        kpi_rows.append((name, "run here", "%.3f" % kpi.swept(scores), "%.3f" % kpi.left_out(scores)))
        print("peer done:", name, file=sys.stderr)
    if len(nab.files) == 31:
        rows += [(name, "published results, these 31 files", *("%.1f" % s for s in scores), "", "", "")
                 for name, *scores in PUBLISHED_31]
    rows += [(name, "published, all 58 files", *("%.1f" % s for s in scores), "", "", "")
             for name, *scores in PUBLISHED_58]
    head = ["peer, threshold swept", "source", "standard", "low FP", "low FN",
            "standard, silent for 5 h", "low FP", "low FN"]
    return [table(head, rows), table(["peer", "source", "event F1, swept", "category left out"], kpi_rows)]


def both(bench, nab, kpi, *options):
    """Standard, low FP, F1 at the threshold that ships."""
    at = nab.at(nab.quick(bench.run("nab", nab.directory, *options)), unit(DECADES) - 1e-12)
    f1 = kpi.count(kpi.load(bench.run("kpi", kpi.directory, *options)), unit(DECADES) - 1e-12)[0]
    return at[STANDARD], at[LOW_FP], f1


def depends(bench, nab, kpi, work):
    parts = []
    variants = [(name, nab.variant(name.replace(" ", "_").replace("%", "pc"), change, work))
                for name, change in VARIANTS]
    on_variants = lambda *options: [variant.at(variant.quick(bench.run("nab", variant.directory, *options)),
                                               unit(DECADES) - 1e-12) for _, variant in variants]
    plain = on_variants()
    parts.append("### The same files, changed\n\nThe nearest to unseen files that the files at hand can give, at the "
                 "threshold that ships.\n\n" + table(
                     ["change", "standard", "low FP", "low FN"],
                     [(name, *three(at)) for (name, _), at in zip(variants, plain)]
                     + [("mean", *three({p: statistics.mean(at[p] for at in plain) for p in plain[0]}))]))

    rows = []
    for name, scales in [("(nothing)", [])] + PARTS:
        options = [o for scale in scales for o in ("--scale", scale)]
        standard, low, f1 = both(bench, nab, kpi, *options)
        changed = statistics.mean(at[STANDARD] for at in on_variants(*options))
        rows.append((name, "%.1f" % standard, "%.1f" % low, "%.1f" % changed, "%.3f" % f1))
    parts.append("### Without a part\n\nNothing chosen anew; threshold that ships.\n\n" + table(
        ["without", "NAB standard", "low FP", "mean of the changed files", "KPI F1"], rows))

    rows = []
    for name in bench.constants():
        if name == "open":
            continue
        cells = []
        for factor in (0.8, 1.2):
            options = ["--scale", "%s=%s" % (name, factor)]
            standard, low, f1 = both(bench, nab, kpi, *options)
            changed = statistics.mean(at[STANDARD] for at in on_variants(*options))
            cells += ["%.1f / %.1f" % (standard, low), "%.1f" % changed, "%.3f" % f1]
        rows.append(("%s = %g" % (name, bench.constants()[name]), *cells))
    parts.append("### One constant moved by 20 %\n\n" + table(
        ["constant", "−20 %: NAB / low FP", "changed files", "KPI F1",
         "+20 %: NAB / low FP", "changed files", "KPI F1"], rows))

    draws = [both(bench, nab, kpi, "--perturb", seed) for seed in range(1, DRAWS + 1)]
    standard, low, f1 = zip(*draws)
    parts.append("### All constants moved at once\n\n%d draws, each constant by a number of its own within ±20 %%, "
                 "threshold that ships: NAB standard %s, low FP %s, KPI F1 %s (mean ± standard deviation [least, "
                 "greatest])." % (DRAWS, spread(standard, "%.1f"), spread(low, "%.1f"), spread(f1, "%.3f")))
    return parts


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--nab", help="default: DIR/data/nab")
    parser.add_argument("--kpi", help="default: DIR/data/kpi")
    parser.add_argument("--bench", required=True, help="the runner")
    parser.add_argument("--work", required=True, help="directory for what is written meanwhile")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default=os.path.join(here, "RESULTS.md"))
    o = parser.parse_args()
    sys.dont_write_bytecode = True
    evaluation = os.path.join(o.dir, "eval")
    nab = Nab(module(os.path.join(evaluation, "score_nab.py")), o.nab or os.path.join(o.dir, "data", "nab"))
    kpi = Kpi(module(os.path.join(evaluation, "score_events.py")), o.kpi or os.path.join(o.dir, "data", "kpi"))
    bench = Bench(os.path.abspath(o.bench), o.work)
    if bench.constants()["open"] != OPEN:
        sys.exit("the threshold that ships is not %g" % OPEN)

    git = lambda *a: subprocess.run(["git", "-C", here, *a], capture_output=True, text=True).stdout.strip()
    dirty = " and uncommitted changes" if git("status", "--porcelain", "--", "../detector", "src") else ""
    parts = ["# Quality of the detector on labelled files",
             "At commit %s%s. Again: `make bench-quality DIR=…`, where DIR has `data/nab`, `data/kpi` and `eval`." % (
                 git("rev-parse", "--short=12", "HEAD"), dirty),
             "One configuration, one pass, no look-ahead, the same for every file: each series chooses by itself whether it "
             "is one of counts or of values.",
             "## Labelled files"]
    parts += headline(bench, nab, kpi, o.quick)
    print("\n\n".join(parts), flush=True)
    shown = len(parts)
    if not o.quick:
        parts += ["## Peers", "Those that were run here saw the same files in the same call, one reading at a time. "
                  "\"Silent for 5 h\": with the cool-down that ours has built in.", *against_peers(nab, kpi)]
        parts += ["## What it depends on", *depends(bench, nab, kpi, o.work)]
        print("\n\n".join(parts[shown:]))
    kept = ""
    if os.path.exists(o.out):
        _, line, rest = open(o.out).read().partition(HAND)
        kept = "\n" + line + rest if line else ""
    with open(o.out, "w") as out:
        out.write("\n\n".join(parts) + "\n" + kept)


if __name__ == "__main__":
    main()
