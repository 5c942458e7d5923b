"""What the command prints of a comparison."""

import json
from pathlib import Path

import pandas as pd

from eegaug.comparison import Comparison
from eegaug.comparison.commands import comparison_document, comparison_lines


def comparison(scores):
    """A comparison with these scores: method → one for each of the subjects, who are tested one in each fold."""
    rows = [
        {"method": method, "fold": i, "seed": 0, "fraction": 1.0, "subject": f"s{i}", "balanced_accuracy": value}
        for method, values in scores.items()
        for i, value in enumerate(values)
    ]
    subjects = pd.DataFrame(rows)
    table = subjects.rename(columns={"balanced_accuracy": "test_balanced_accuracy"})
    table = table.assign(test_kappa=0.5, train_seconds=1.0)
    empty = pd.DataFrame(columns=["method"])
    return Comparison(table, empty, empty, empty, {}, Path("out"), labels={"none": "nothing"}, subjects=subjects)


class TestPairs:
    SCORES = {"none": [0.5, 0.5, 0.5, 0.5, 0.5], "a": [0.6, 0.62, 0.64, 0.66, 0.68], "b": [0.4, 0.6, 0.3, 0.55, 0.41]}

    def test_against_no_augmentation(self):
        lines = comparison_lines(comparison(self.SCORES))
        start = next(i for i, line in enumerate(lines) if line.startswith("against nothing, subject by subject"))
        assert lines[start + 1].split() == ["a", "+0.140", "5", "of", "5", "0.062", "0.19"]
        assert lines[start + 2].split()[:4] == ["b", "-0.048", "2", "of"]
        assert "all 3 pairs of methods" in lines[start + 3]
        assert "5 trainings each: p is 0.062 at least" in lines[start + 3]

    def test_against_the_first_method_where_there_is_no_other(self):
        lines = comparison_lines(comparison({name: self.SCORES[name] for name in ("b", "a")}))
        assert any(line.startswith("against b, subject by subject") for line in lines)

    def test_a_single_method_or_subject_has_nothing_to_say(self):
        for scores in ({"a": [0.5, 0.6]}, {"none": [0.5], "a": [0.6]}):
            assert not any("subject by subject" in line for line in comparison_lines(comparison(scores)))

    def test_a_block_for_each_of_several_fractions(self):
        whole, half = (comparison(scores) for scores in (self.SCORES, {**self.SCORES, "a": [0.4, 0.3, 0.4, 0.3, 0.2]}))
        both = comparison(self.SCORES)
        for name in ("table", "subjects"):
            parts = [getattr(half, name).assign(fraction=0.5), getattr(whole, name)]
            setattr(both, name, pd.concat(parts, ignore_index=True))
        lines = comparison_lines(both)
        heads = [i for i, line in enumerate(lines) if "subject by subject" in line]
        assert [lines[i].split("  ")[0] for i in heads] == [
            f"against nothing, subject by subject, fraction {fraction}" for fraction in ("0.5", "1")
        ]
        assert [lines[i + 1].split()[1] for i in heads] == ["-0.180", "+0.140"]
        found = comparison_document(both)["pairs"]
        assert [pair["fraction"] for pair in found] == [0.5] * 3 + [1.0] * 3
        # Corrected for the three pairs of a fraction, not for all six.
        assert found[3:] == comparison_document(whole)["pairs"]

    def test_document_is_json(self):
        document = json.loads(json.dumps(comparison_document(comparison(self.SCORES))))
        assert [(pair["method"], pair["other"]) for pair in document["pairs"]] == [
            ("none", "a"),
            ("none", "b"),
            ("a", "b"),
        ]


def test_failed_runs_are_told_apart():
    found = comparison({"none": [0.5], "a": [0.6]})
    error = {"method": "b", "fold": 0, "seed": 1, "error": "OSError: disk full"}
    found.failed = pd.DataFrame([{**error, "fraction": 1.0}])
    assert "failed: b, fold 0, seed 1: OSError: disk full" in comparison_lines(found)
    found.failed = pd.DataFrame([{**error, "fraction": fraction} for fraction in (1 / 3, 1.0)])
    lines = [line for line in comparison_lines(found) if line.startswith("failed")]
    assert lines == [f"failed: b, fold 0, seed 1, fraction {of}: OSError: disk full" for of in ("0.333", "1")]
