"""Measure the table that the night simulator is calibrated on.

    python -m benchmarks.calibrate_simulator [DATA_FOLDER] [--out eegaug/data/calibration.json]

DATA_FOLDER (default: the environment variable EEGAUG_DATA) holds
``calibration/sleepedf20nights_epoch_bandpower.npz`` (per 30-s epoch the scorer's stage and log10 band powers of
Fpz-Cz and Pz-Oz) and ``calibration/sleepedf_hypnograms.npz`` (hypnograms of whole recordings). Only statistics go into
the table: means, covariances, transition probabilities and bout-length quantiles.
"""

import argparse
import json
import os
import re
from pathlib import Path

import numpy as np

N_STAGES = 5
N_BANDS = 5
EPOCH_S = 30.0
TIME_EDGES_H = (0.0, 1.0, 2.0, 3.5, 5.0, 6.5)
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0)
MARGIN_MIN = 30.0
#: A wake gap this long ends the night: what lies beyond it in a 20-hour recording is a nap.
GAP_MIN = 90.0

SOURCE = {
    "data": "Sleep-EDF Expanded, sleep cassette study",
    "nights": "band powers: 10 subjects x 2 nights (SC4001E0-SC4092E0); hypnograms: 20 subjects, 39 nights",
    "licence": "Open Data Commons Attribution License v1.0 (ODC-BY 1.0)",
    "citation": [
        "Kemp et al. (2000), IEEE Trans Biomed Eng 47:1185-1194",
        "Goldberger et al. (2000), Circulation 101:e215-e220 (PhysioNet)",
    ],
    "computed_by": "benchmarks/calibrate_simulator.py",
}


def positive(cov):
    """Nearest positive semi-definite matrix: a covariance from few subjects minus sampling noise can be indefinite."""
    w, v = np.linalg.eigh((cov + cov.T) / 2)
    return (v * np.clip(w, 0, None)) @ v.T


def band_power_table(path):
    """Means, between-subject, between-night and within-night covariances of log10 band power.

    A night's mean over the epochs of one stage is a sum: stage + subject + subject x stage + night + night x stage +
    the mean of what drifts within the night. The variances of the terms are estimated by moments.
    """
    z = np.load(path)
    names = sorted(k[:-2] for k in z.files if k.endswith("_P"))
    P = {k: z[k + "_P"][:, :, :N_BANDS].reshape(len(z[k + "_y"]), -1).astype(float) for k in names}
    y = {k: z[k + "_y"] for k in names}
    subjects = sorted({k[:5] for k in names})
    m = np.full((len(subjects), 2, N_STAGES, 2 * N_BANDS), np.nan)
    within = [[] for _ in range(N_STAGES)]
    for k in names:
        for s in range(N_STAGES):
            rows = P[k][y[k] == s]
            if len(rows) >= 10:
                m[subjects.index(k[:5]), int(k[5]) - 1, s] = rows.mean(0)
                within[s].append(rows - rows.mean(0))
    cov_epoch = np.stack([np.cov(np.concatenate(w).T) for w in within])
    share, rho = persistence(P, y, names)
    # What drifts within a night does not average out over it: take its part off the night's own offsets.
    drift = np.nanmean([mean_correlation(y[k], share, rho) for k in names], axis=0)
    common, own = np.nanmean(drift), np.nanmean(np.diag(drift)) - np.nanmean(drift)
    pooled = cov_epoch.mean(0)

    difference = (m[:, 0] - m[:, 1]) / np.sqrt(2)
    night = np.nanmean(difference, axis=1)
    n_k = N_STAGES - 1
    own_difference = np.nan_to_num(difference - night[:, None]).reshape(-1, 2 * N_BANDS)
    cov_night_stage = positive(own_difference.T @ own_difference / (len(subjects) * n_k) - own * pooled)
    cov_night = positive(night.T @ night / len(subjects) - common * pooled - cov_night_stage / N_STAGES)
    deviation = np.nanmean(m - np.nanmean(m, axis=(0, 1)), axis=1)
    subject = np.nanmean(deviation, axis=1)
    rest = (deviation - subject[:, None]).reshape(-1, 2 * N_BANDS)
    dof = (len(subjects) - 1) * n_k
    cov_subject_stage = positive(rest.T @ rest / dof - (cov_night_stage + own * pooled) / 2)
    inner = cov_night + common * pooled + cov_night_stage / N_STAGES
    cov_subject = positive(np.cov(subject.T) - inner / 2 - cov_subject_stage / N_STAGES)
    return {
        "bands_hz": [[0.5, 4], [4, 8], [8, 13], [13, 30], [30, 50]],
        "sites": ["anterior (Fpz-Cz)", "posterior (Pz-Oz)"],
        "unit": "log10 uV^2/Hz; rows and columns: the five bands of the anterior site, then of the posterior one",
        "mean": np.nanmean(m, axis=(0, 1)),
        "cov_subject": cov_subject,
        "cov_subject_stage": cov_subject_stage,
        "cov_night": cov_night,
        "cov_night_stage": cov_night_stage,
        "cov_epoch": cov_epoch,
        "drift_share": share,
        "drift_lag1": rho,
        "sd_of_night_means": np.nanstd(m.reshape(-1, N_STAGES, 2 * N_BANDS), axis=0, ddof=1),
    }


def mean_correlation(y, share, rho):
    """Correlation of what varies within one night, averaged over pairs of epochs of stages k and l: (5, 5)."""
    lag = np.abs(np.subtract.outer(np.arange(len(y)), np.arange(len(y))))
    c = np.where(lag == 0, 1.0, share * rho**lag)
    member = np.stack([y == s for s in range(N_STAGES)]).astype(float)
    n = member.sum(1)
    n[n < 10] = np.nan
    return member @ c @ member.T / np.outer(n, n)


def persistence(P, y, names, max_lag=20):
    """Share of the within-night variance that drifts, and its correlation from one epoch to the next: s * rho**lag."""
    lags = np.arange(1, max_lag + 1)
    products, counts = np.zeros(max_lag), np.zeros(max_lag)
    for k in names:
        z = np.full(P[k].shape, np.nan)
        for s in range(N_STAGES):
            rows = y[k] == s
            if rows.sum() >= 10:
                z[rows] = (P[k][rows] - P[k][rows].mean(0)) / P[k][rows].std(0)
        for i, lag in enumerate(lags):
            same = y[k][lag:] == y[k][:-lag]
            c = (z[lag:] * z[:-lag])[same]
            products[i] += np.nansum(c)
            counts[i] += np.isfinite(c).sum()
    slope, intercept = np.polyfit(lags, np.log(products / counts), 1)
    return float(np.exp(intercept)), float(np.exp(slope))


def sleep_period(h):
    """The night in a hypnogram of a whole recording: from the first to the last sleep epoch, naps left out."""
    asleep = np.flatnonzero(h > 0)
    parts = np.split(asleep, np.flatnonzero(np.diff(asleep) > GAP_MIN * 60 / EPOCH_S) + 1)
    part = max(parts, key=len)
    y = h[part[0] : part[-1] + 1].copy()
    for i in np.flatnonzero(y < 0):  # movement and unknown: the stage before goes on
        y[i] = y[i - 1]
    return y, part[0], part[-1]


def bouts(y):
    """Start, stage, length of every run of one stage."""
    starts = np.flatnonzero(np.diff(y, prepend=-9))
    return starts, y[starts], np.diff(np.append(starts, len(y)))


def hypnogram_table(path):
    """Semi-Markov description of the sleep period: next stage and bout length, by stage and time since sleep onset."""
    z = np.load(path)
    edges = np.array(TIME_EDGES_H) * 3600 / EPOCH_S
    n_times = len(edges)
    following = np.zeros((n_times, N_STAGES, N_STAGES))
    lengths = [[[] for _ in range(N_STAGES)] for _ in range(n_times)]
    per_night, proportions, hours, transitions = [], [], [], np.zeros((N_STAGES, N_STAGES))
    margin = int(MARGIN_MIN * 60 / EPOCH_S)
    for k in z.files:
        y, _, _ = sleep_period(z[k].astype(int))
        starts, stage, length = bouts(y)
        slot = np.searchsorted(edges, starts, side="right") - 1
        np.add.at(following, (slot[:-1], stage[:-1], stage[1:]), 1)
        for a, s, n in zip(slot, stage, length, strict=True):
            lengths[a][s].append(n)
        np.add.at(transitions, (y[:-1], y[1:]), 1)
        per_night.append([np.log(length[stage == s]) for s in range(N_STAGES)])
        count = np.bincount(y, minlength=N_STAGES) + np.array([2 * margin, 0, 0, 0, 0])
        proportions.append(count / count.sum())
        hours.append(len(y) * EPOCH_S / 3600)
    spread = []
    for s in range(N_STAGES):
        rows = [n[s] for n in per_night if len(n[s]) >= 4]
        sampling = np.mean([r.var(ddof=1) / len(r) for r in rows])
        spread.append(np.sqrt(max(np.var([r.mean() for r in rows], ddof=1) - sampling, 0)))
    return {
        "stages": ["W", "N1", "N2", "N3", "REM"],
        "epoch_s": EPOCH_S,
        "hours_since_onset": list(TIME_EDGES_H),
        "next_stage": following / np.maximum(following.sum(-1, keepdims=True), 1),
        "bout_quantiles": list(QUANTILES),
        "bout_epochs": [[np.quantile(n or [1], QUANTILES) for n in row] for row in lengths],
        "bout_mean_epochs": [[np.mean(n or [1]) for n in row] for row in lengths],
        "night_log_sd": spread,
        "sleep_period_h": [np.mean(hours), np.std(hours, ddof=1)],
        "margin_min": MARGIN_MIN,
        "epoch_transitions": transitions / transitions.sum(-1, keepdims=True),
        "proportions_with_margins": [np.mean(proportions, 0), np.std(proportions, 0, ddof=1)],
    }


def plain(x):
    """Nested lists of numbers rounded to what the data support."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple, np.ndarray)):
        return [plain(v) for v in x]
    return x if isinstance(x, str) else round(float(x), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", nargs="?", default=os.environ.get("EEGAUG_DATA"))
    out = Path(__file__).resolve().parents[1] / "eegaug" / "data" / "calibration.json"
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    if not args.data:
        parser.error("name the data folder, or set EEGAUG_DATA")
    folder = Path(args.data) / "calibration"
    table = {
        "version": 1,
        "source": SOURCE,
        "band_power": band_power_table(folder / "sleepedf20nights_epoch_bandpower.npz"),
        "hypnogram": hypnogram_table(folder / "sleepedf_hypnograms.npz"),
    }
    text = json.dumps(plain(table), indent=1)
    # One row of numbers a line: readable, and a tenth of the lines.
    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
    args.out.write_text(text + "\n", encoding="utf-8")
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
