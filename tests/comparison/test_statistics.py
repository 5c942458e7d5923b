from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon

from eegaug.comparison import compare_pairs
from eegaug.comparison.statistics import holm


def scores(**methods):
    """One row per method and subject; a list of lists is one list per seed."""
    rows = []
    for method, values in methods.items():
        for seed, of_seed in enumerate(np.atleast_2d(values)):
            rows += [
                {"method": method, "seed": seed, "subject": f"s{i}", "balanced_accuracy": value}
                for i, value in enumerate(of_seed)
            ]
    return pd.DataFrame(rows)


class TestHolm:
    def test_step_down(self):
        # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1, never falling.
        assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])

    def test_never_above_one_and_missing_values_do_not_count(self):
        assert holm([0.9, np.nan, 0.6]) == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
        assert holm([]).shape == (0,)


class TestPairs:
    def test_each_pair_once_with_the_signed_rank_test(self):
        rng = np.random.default_rng(0)
        base = rng.uniform(0.4, 0.8, 15)
        table = compare_pairs(scores(none=base, augnet=base + rng.normal(0.05, 0.03, 15), adda=base + 0.001))
        assert table[["method", "other"]].values.tolist() == [["none", "augnet"], ["none", "adda"], ["augnet", "adda"]]
        by = scores(none=base)["balanced_accuracy"].to_numpy()
        row = compare_pairs(scores(augnet=by + rng.normal(0.02, 0.05, 15), none=by)).iloc[0]
        assert row["subjects"] == 15
        assert table["p_holm"].to_numpy() == pytest.approx(holm(table["p"]))
        assert table["p"].iloc[0] < 0.001 and table["mean_difference"].iloc[0] < 0

    def test_p_is_that_of_scipy(self):
        rng = np.random.default_rng(1)
        a, b = rng.uniform(size=(2, 20))
        row = compare_pairs(scores(a=a, b=b)).iloc[0]
        assert row["p"] == pytest.approx(wilcoxon(a, b).pvalue)
        assert row["p_holm"] == row["p"]
        assert row["median_difference"] == pytest.approx(np.median(a - b))
        assert (row["better_in"], row["worse_in"]) == ((a > b).sum(), (a < b).sum())

    @pytest.mark.parametrize(
        "ties",
        [
            *([1, 1, 1], [1, 1, 2, -2, 3, 3], [1, -1, 2, 2, 2, 3, 4, 4, 5, 0], [2, 2, -1, 1], [0, 0, 4, -1, -1, 2, 2]),
            *([1, 1, -2, -2, -3], [-1, -1, 2, 2, 3], [-2, -2, -2, -2, 3], [-2, -2, 2, 1, 2, -1, 2, 2]),
        ],
    )
    def test_tied_ranks_are_counted_out(self, ties):
        ranks = rankdata(np.abs([t for t in ties if t]))
        sums = np.array([ranks @ signs for signs in product([-1, 1], repeat=len(ranks))])
        seen = ranks @ np.sign([t for t in ties if t])
        base = np.linspace(0.2, 0.9, len(ties))  # differences that are equal but for arithmetic
        row = compare_pairs(scores(a=base + np.array(ties) / 100, b=base)).iloc[0]
        assert row["p"] == pytest.approx(np.mean(np.abs(sums) >= abs(seen)))

    def test_one_tie_among_many_subjects_changes_little(self):
        gain = np.random.default_rng(0).normal(0.05, 0.05, 45)
        tied = np.where(np.arange(45) == 1, gain[0], gain)
        p = [compare_pairs(scores(a=0.5 + g, b=[0.5] * 45))["p"].item() for g in (gain, tied)]
        assert p[0] == pytest.approx(wilcoxon(gain, method="exact").pvalue) and 1e-12 < p[0] < 1e-5
        assert 0.5 < p[1] / p[0] < 2
        more = np.random.default_rng(0).normal(0.02, 0.05, 60)
        assert compare_pairs(scores(a=0.5 + more, b=[0.5] * 60))["p"].item() == pytest.approx(wilcoxon(more).pvalue)

    def test_seeds_of_a_subject_are_averaged(self):
        each = scores(a=[[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]], b=[[0.1, 0.2, 0.3]] * 2)
        for table in (compare_pairs(each), compare_pairs(each.drop(columns="seed"))):
            assert table["subjects"].item() == 3
            assert table["mean_difference"].item() == pytest.approx(0.1)

    def test_only_subjects_that_both_were_tested_on(self):
        table = compare_pairs(scores(a=[0.1, 0.2, 0.3, 0.4], b=[0.0, 0.1]))
        assert table["subjects"].item() == 2

    def test_nothing_differs(self):
        assert compare_pairs(scores(a=[0.5, 0.6], b=[0.5, 0.6 + 1e-15]))["p"].item() == 1.0

    def test_too_few(self):
        assert np.isnan(compare_pairs(scores(a=[0.5], b=[0.6]))["p"].item())
        assert len(compare_pairs(scores(a=[0.5, 0.6]))) == 0
        with pytest.raises(ValueError, match="no column 'speed'"):
            compare_pairs(scores(a=[0.5]), "speed")


def test_only_runs_that_both_have_are_compared():
    rows = [("a", seed, subject, 0.5 + 0.2 * seed) for seed in (0, 1) for subject in "abcdef"]
    rows += [("b", 0, subject, 0.5) for subject in "abcdef"]
    scores = pd.DataFrame(rows, columns=["method", "seed", "subject", "balanced_accuracy"])
    (row,) = compare_pairs(scores).to_dict("records")
    assert (row["mean_difference"], row["better_in"], row["worse_in"], row["p"]) == (0.0, 0, 0, 1.0)


def test_sums_in_another_order_are_no_difference():
    rows = [("a", 0, 0.1), ("a", 1, 0.2), ("a", 2, 0.3), ("b", 0, 0.3), ("b", 1, 0.1), ("b", 2, 0.2)]
    scores = pd.DataFrame(rows, columns=["method", "seed", "balanced_accuracy"]).assign(subject="s")
    (row,) = compare_pairs(scores).to_dict("records")
    assert (row["better_in"], row["worse_in"]) == (0, 0)


def luck(rng, n_folds, n_subjects, n_seeds, gain=0.0, of_training=0.06, of_window=0.065):
    """Two methods whose trainings differ by luck, which all subjects of a fold share, as on simulated nights."""
    rows = []
    for fold, seed in product(range(n_folds), range(n_seeds)):
        for method, more in (("none", 0.0), ("other", gain)):
            score = 0.5 + more + rng.normal(0, of_training / np.sqrt(2))
            rows += [
                (method, fold, seed, f"{fold}-{i}", score + rng.normal(0, of_window / np.sqrt(2)))
                for i in range(n_subjects)
            ]
    return pd.DataFrame(rows, columns=["method", "fold", "seed", "subject", "balanced_accuracy"])


class TestLuckOfTrainings:
    def test_a_method_against_itself_is_told_apart_in_one_of_twenty(self):
        rng = np.random.default_rng(0)
        tables = [compare_pairs(luck(rng, 5, 6, 3)) for _ in range(200)]
        told = {name: np.mean([table[name].item() < 0.05 for table in tables]) for name in ("p", "p_subjects")}
        assert told["p"] <= 0.06 and told["p_subjects"] > 0.25

    def test_a_gain_larger_than_luck_is_told(self):
        rng = np.random.default_rng(0)
        assert np.mean([compare_pairs(luck(rng, 5, 6, 3, gain=0.06))["p"].item() < 0.05 for _ in range(50)]) > 0.75

    def test_p_is_the_larger_over_subjects_and_over_trainings(self):
        scores = luck(np.random.default_rng(3), 4, 3, 2, gain=0.05)
        wide = scores.pivot(index=["fold", "seed", "subject"], columns="method", values="balanced_accuracy")
        difference = wide["none"] - wide["other"]
        (row,) = compare_pairs(scores).to_dict("records")
        by = {"p_subjects": "subject", "p_trainings": ["fold", "seed"]}
        expected = {name: wilcoxon(difference.groupby(axes).mean()).pvalue for name, axes in by.items()}
        assert {name: row[name] for name in by} == pytest.approx(expected)
        assert row["p"] == max(expected.values()) and (row["subjects"], row["trainings"]) == (12, 8)
        # Many trainings on few subjects say no more of other subjects.
        few = compare_pairs(scores[scores["subject"].str.endswith("-0")]).iloc[0]
        assert few["p"] == few["p_subjects"] >= 2 / 2**4

    def test_what_few_trainings_can_say(self):
        rng = np.random.default_rng(0)
        p = {n: compare_pairs(luck(rng, n, 20, 1, gain=0.5)) for n in (1, 3, 5, 6)}
        assert [p[n]["p"].item() for n in (3, 5, 6)] == [0.25, 0.0625, 0.03125]
        assert np.isnan(p[1]["p"].item()) and p[1]["p_subjects"].item() < 1e-5
