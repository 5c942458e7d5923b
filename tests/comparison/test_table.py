"""Reading the folder of a comparison, whatever is in it."""

import json
import math
import shutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from eegaug.comparison.figures import comparison_figure
from eegaug.comparison.job import checksum
from eegaug.comparison.table import load_comparison
from eegaug.policy import Policy

SETTINGS = {"format": "eegaug-compare", "version": 1, "data": {"source": "x"}, "folds": [], "training": {}}


def comparison(out, runs, subjects=("001", "NA"), fraction=1.0):
    """The folder of a comparison with runs of (method, fold), those of searches with a policy."""
    methods = {method: {} for method, _ in [("none", 0), *runs]}
    out.joinpath("settings.json").write_text(json.dumps(SETTINGS | {"methods": methods}))
    for method, fold in runs:
        folder = out / "runs" / (f"{method}-fold{fold}" + (f"-fraction{fraction:g}" if fraction != 1 else ""))
        folder.mkdir(parents=True)
        searched = method != "none"
        if searched:
            Policy.uniform(sfreq=50, operations=["sign_flip"]).save(folder / "policy.json")
        row = {"method": method, "fold": fold, "seed": 0, "fraction": fraction, "train_seconds": 1.0, "warnings": []}
        row |= {"test_balanced_accuracy": 0.5, "test_kappa": None, "steps": 3 if searched else None}
        row["policy"] = f"runs/{folder.name}/policy.json" if searched else None
        folder.joinpath("row.json").write_text(json.dumps(row))
        scores = {"valid_balanced_accuracy": [0.4], "test_balanced_accuracy": [0.5]}
        pd.DataFrame({"epoch": [1], "train_seconds": [1.0], "passes": [3]} | scores).to_csv(
            folder / "curve.csv", index=False
        )
        pd.DataFrame({"subject": subjects, "balanced_accuracy": [0.4, 0.5]}).to_csv(
            folder / "subjects.csv", index=False
        )
    return out


def test_names_of_subjects_are_no_numbers(tmp_path):
    found = load_comparison(comparison(tmp_path, [("none", 0), ("adda", 0)]))
    assert found.subjects["subject"].tolist() == ["001", "NA"] * 2
    assert found.pairs()["subjects"].tolist() == [2]


def test_several_fractions(tmp_path):
    runs = [(method, fold) for fold in range(2) for method in ("none", "other")]
    found = load_comparison(comparison(tmp_path, runs))
    left, right, *_ = comparison_figure(found).axes
    assert [ax.get_title(loc="left") for ax in (left, right)] == ["median and quartiles of 2 runs", "2 folds"]
    written = pd.read_csv(found.save()["pairs"])
    assert [*written] == [*found.pairs(), "fraction"]
    assert written["fraction"].tolist() == [1.0]
    # One method alone has nobody to be compared with.
    comparison(tmp_path, [("none", 0)], fraction=0.25)
    comparison(tmp_path, runs, fraction=0.5)
    found = load_comparison(tmp_path)
    left, right, *_ = comparison_figure(found).axes
    assert left.get_title(loc="left") == "median and quartiles of 2 runs, 100 % of the training subjects"
    assert right.get_title(loc="left") == "2 folds"
    written = pd.read_csv(found.save()["pairs"])
    assert written["fraction"].tolist() == [0.5, 1.0]
    assert len(load_comparison(tmp_path).pairs()) == 1
    assert "with 100 % of the training subjects, " in found.sentence()
    # Drawn are the runs with the most training subjects, and not the single one with a quarter of them.
    drawn = found.plot_scores()
    assert [label.get_text() for label in drawn.get_xticklabels()] == ["no augmentation", "other"]
    assert [len(points.get_offsets()) for points in drawn.collections if len(points.get_offsets()) > 1] == [2, 2]
    with pytest.raises(ValueError, match=r"no run has fraction 0.3; there are runs of 0.25, 0.5, 1.0"):
        found.pairs(fraction=0.3)


def test_figure_where_runs_are_missing(tmp_path):
    found = load_comparison(comparison(tmp_path, [("none", 0), *(("other", fold) for fold in range(3))]))
    left, right, *_ = comparison_figure(found).axes
    titles = [ax.get_title(loc="left") for ax in (left, right)]
    assert titles == ["median and quartiles of 1 to 3 runs", "1 to 3 folds"]


@pytest.mark.parametrize("names", [["a method with a long name, number {}"] * 3, ["another method, number {}"] * 22])
def test_figure_has_room_for_names(tmp_path, names):
    methods = [name.format(k) for k, name in enumerate(names)]
    figure = comparison_figure(load_comparison(comparison(tmp_path, [(method, 0) for method in methods])))
    figure.draw_without_rendering()
    left, right, *_ = figure.axes
    labels = right.get_xticklabels()
    apart = (right.transData.transform((1, 0)) - right.transData.transform((0, 0)))[0]
    lines = max(label.get_text().count("\n") + 1 for label in labels)
    assert apart * math.sin(math.radians(30)) > lines * 8 * figure.dpi / 72  # names are slanted by 30°
    assert left.bbox.height > 1.9 * figure.dpi


def test_many_policies_are_drawn_of_the_first_fold_that_has_some(tmp_path):
    found = load_comparison(comparison(tmp_path, [("none", 0), *((f"search-{i}", 2) for i in range(13))]))
    assert found.save()["policies"].stat().st_size > 0


def test_a_policy_that_cannot_be_read_costs_no_table(tmp_path):
    comparison(tmp_path, [("adda", 0), ("adda", 1)])
    (tmp_path / "runs" / "adda-fold0" / "policy.json").write_text("{}")
    found = load_comparison(tmp_path)
    assert "adda-fold0/policy.json is not a policy" in found.warnings[0]
    assert "policies" in found.save()
    (tmp_path / "runs" / "adda-fold1" / "policy.json").write_text("{}")
    found = load_comparison(tmp_path)
    assert "policies" not in found.save()
    with pytest.raises(ValueError, match="no learned policy"):
        found.plot_policies()


def test_what_each_method_learned_is_drawn_by_itself(tmp_path):
    comparison(tmp_path, [("augnet", 0), ("augnet-single", 0)])
    for method, operation in (("augnet", "frequency_shift"), ("augnet-single", "sign_flip")):
        row = {"layer": 0, "operation": operation, "weight": 1.0, "magnitude": 0.5, "strength": 0.5, "unit": "x"}
        pd.DataFrame([row]).to_csv(tmp_path / "runs" / f"{method}-fold0" / "invariances.csv", index=False)
    found = load_comparison(tmp_path)

    def names(**options):
        return [label.get_text() for label in found.plot_invariances(**options).get_yticklabels()]

    assert names() == ["frequency shift"]
    assert names(method="augnet-single") == ["sign flip"]
    with pytest.raises(
        ValueError, match="no run of 'none' has learned ranges; there are runs of augnet, augnet-single"
    ):
        found.plot_invariances(method="none")
    one_panel = plt.imread(load_comparison(alone(tmp_path)).save()["invariances"]).shape[0]
    assert plt.imread(found.save()["invariances"]).shape[0] == pytest.approx(2 * one_panel, abs=2)


def alone(out):
    """The same comparison without its second method."""
    shutil.copytree(out, out / "alone")
    shutil.rmtree(out / "alone" / "runs" / "augnet-single-fold0")
    return out / "alone"


@pytest.mark.parametrize("content", ['{"format": ', json.dumps(SETTINGS), json.dumps(SETTINGS | {"methods": []})])
def test_damaged_settings_are_named(tmp_path, content):
    comparison(tmp_path, [("none", 0)])
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings.json is not a settings file of a comparison"):
        load_comparison(tmp_path)


def test_a_damaged_row_is_named_and_left_out(tmp_path):
    comparison(tmp_path, [("none", 0), ("none", 1)])
    (tmp_path / "runs" / "none-fold1" / "row.json").write_text('{"meth')
    found = load_comparison(tmp_path)
    assert found.table["fold"].tolist() == [0]
    assert "none-fold1/row.json is damaged" in found.warnings[0]


@pytest.mark.parametrize("content", ["{}", "[]", "null"])
def test_a_row_without_its_run_is_damaged(tmp_path, content):
    comparison(tmp_path, [("none", 0), ("none", 1)])
    (tmp_path / "runs" / "none-fold1" / "row.json").write_text(content)
    found = load_comparison(tmp_path)
    assert found.table["fold"].tolist() == [0] and "none-fold1/row.json is damaged" in found.warnings[0]


def test_a_damaged_error_costs_no_table(tmp_path):
    comparison(tmp_path, [("none", 0), ("none", 1)])
    for fold, content in ((2, ""), (3, '{"method": "none", "fold": 3, "seed": 0, "fraction": 1.0, "error": "E"}')):
        folder = tmp_path / "runs" / f"none-fold{fold}"
        folder.mkdir()
        (folder / "error.json").write_text(content)
    found = load_comparison(tmp_path)
    assert found.table["fold"].tolist() == [0, 1] and found.failed["fold"].tolist() == [3]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"subject,balanced_accuracy\n001,0.4\n", b"\0" * 40, None], ids=range(5)
)
def test_a_table_that_is_not_what_its_run_has_written_is_named_and_left_out(tmp_path, content, known):
    comparison(tmp_path, [("none", 0), ("other", 0), ("other", 1)])
    path = tmp_path / "runs" / "other-fold1" / "subjects.csv"
    row = path.with_name("row.json")
    if known:  # rows of earlier versions have no checksums
        sums = {name: checksum(path.with_name(name).read_bytes()) for name in ("subjects.csv", "curve.csv")}
        row.write_text(json.dumps(json.loads(row.read_text()) | {"checksums": sums}))
    assert load_comparison(tmp_path).warnings == []
    path.unlink() if content is None else path.write_bytes(content)
    found = load_comparison(tmp_path)
    if known or content in (b"", b"\xff\xfe"):
        assert found.warnings == [
            f"{path} is not what the run has written there: it is left out; delete {path.parent} to make it again."
        ]
        assert found.subjects[["method", "fold"]].drop_duplicates().to_numpy().tolist() == [["none", 0], ["other", 0]]
    assert found.table["method"].tolist() == ["none", "other", "other"] and "checksums" not in found.table
    assert len(found.curves) == 3
    found.save()


def test_runs_of_methods_that_the_settings_do_not_have_come_last(tmp_path):
    comparison(tmp_path, [("adda", 0), ("none", 0), ("adda", 1), ("none", 1)])
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS | {"methods": {"none": {}}}))
    found = load_comparison(tmp_path)
    assert found.table["method"].tolist() == ["none", "adda"] * 2
    assert [key[:2] for key in found.policies] == [("adda", 0), ("adda", 1)]
