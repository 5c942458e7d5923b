"""Runs, their keys, and what happens to settings that differ."""

import json

import numpy as np
import pytest

from eegaug import StagingClassifier
from eegaug._durations import parse_budget
from eegaug.comparison import Method, get_method, list_methods, make_plan, register_method
from eegaug.comparison.plan import (
    RunSpec,
    SettingsMismatchError,
    changed_methods,
    check_settings,
    finished_methods,
    settings_document,
)
from eegaug.comparison.sources import method_settings
from eegaug.data.atomic import write_json, write_text


def settings(penalty=10.0, methods=("none", "augnet"), **data):
    options = {"none": {}, "augnet": {"penalty": penalty, "layers": ("sensors",)}}
    return settings_document(
        {"source": "here", "sfreq": 100.0, **data},
        [{"train": ["a"], "valid": ["b"], "test": ["c"]}],
        {"max_epochs": 3, "budget": None},
        {name: options[name] for name in methods},
        {name: name for name in methods},
    )


def finish(out, method):
    """Leave a finished run of a method."""
    write_json(out / "runs" / f"{method}-fold0-seed0-fraction1" / "row.json", {"method": method})


class TestPlan:
    def test_every_combination_once_all_methods_of_a_fold_together(self):
        runs = make_plan(["none", "augnet"], 2, seeds=(0, 3), fractions=(0.5, 1)).runs
        assert len(runs) == len({run.key for run in runs}) == 16
        assert [run.key for run in runs[:3]] == [
            "none-fold0-seed0-fraction0.5",
            "augnet-fold0-seed0-fraction0.5",
            "none-fold1-seed0-fraction0.5",
        ]

    def test_keys_stay_the_same(self):
        assert RunSpec("augnet", 2, 7, 0.25).key == "augnet-fold2-seed7-fraction0.25"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"methods": []}, "methods is empty"),
            ({"methods": ["none", "none"]}, "twice"),
            ({"methods": ["nothing"]}, "unknown method 'nothing'; known are none, fixed, augnet"),
            ({"seeds": [0, 0]}, "twice"),
            ({"seeds": []}, "seeds is empty"),
            ({"seeds": [0.5]}, "integers"),
            ({"seeds": [True]}, r"seeds must be integers, got \[True\]"),
            ({"fractions": [True]}, r"fractions must be numbers, got \[True\]"),
            ({"seeds": [float("nan")]}, r"seeds must be integers, got \[nan\]"),
            ({"seeds": ["a"]}, r"seeds must be integers, got \['a'\]"),
            ({"seeds": None}, "seeds must be integers"),
            ({"seeds": [0, -1]}, r"seeds must lie between 0 and 2\*\*32 - 1, got -1"),
            ({"fractions": ["half"]}, "fractions must be numbers, got"),
            ({"fractions": [1 / 3, 0.333333]}, "fractions holds a value twice"),  # one folder for both
            ({"fractions": [0]}, r"\(0, 1\]"),
            ({"fractions": [1.2]}, "1.2"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make_plan(**{"methods": ["none"], "n_folds": 2, **arguments})

    @pytest.mark.parametrize("budget", ["2 parsecs", "", "-3s", 0, float("inf"), "h"])
    def test_refuses_a_budget_that_is_none(self, budget):
        with pytest.raises(ValueError, match="budget"):
            parse_budget(budget)

    def test_budget(self):
        assert [parse_budget(b) for b in ("90", "1.5 min", "2h", "1d")] == [90, 90, 7200, 86400]


class TestMethods:
    def test_an_estimator_is_no_method(self):
        with pytest.raises(TypeError, match=r"not a StagingClassifier: of an estimator make one, Method\(name"):
            get_method(StagingClassifier())

    def test_options_are_checked_by_name(self):
        assert get_method("augnet").options({"penalty": 1.0})["penalty"] == 1.0
        with pytest.raises(ValueError, match="'none' does not take penalty; it takes no options"):
            get_method("none").options({"penalty": 1.0})
        options = get_method("augnet").options({"n_copies": np.int64(2), "penalty": np.float32(0.5)})
        assert json.dumps([options["n_copies"], options["penalty"]]) == "[2, 0.5]"
        assert json.dumps(Method("mine", "mine", print, {"width": np.int64(3)}).options()) == '{"width": 3}'
        with pytest.raises(ValueError, match="option layers of method 'augnet' is no plain data"):
            get_method("augnet").options({"layers": [object()]})

    def test_own_methods_join(self, monkeypatch):
        from eegaug.comparison import methods

        monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
        mine = Method("mine", "my method", lambda common: None, {})
        register_method(mine)
        assert list_methods()[-1] == "mine" and make_plan(["mine"], 1).method("mine") is mine
        with pytest.raises(ValueError, match="already registered"):
            register_method(mine)

    @pytest.mark.parametrize("name", ["a/b", "", "fold 1"])
    def test_a_name_is_that_of_a_folder(self, name):
        # Also of a method that is not registered: its runs would lie where nobody looks for them.
        with pytest.raises(ValueError, match=f"method name {name!r}: use letters"):
            Method(name, "", lambda common: None, {})

    def test_a_search_has_steps(self):
        with pytest.raises(ValueError, match="method 'mine' searches, so its defaults need max_steps"):
            Method("mine", "", lambda common: None, {"retrain_every": 2}, searches=True)
        assert Method("mine", "", lambda common: None, {"retrain_every": 2, "max_steps": 4}, searches=True).searches


class TestSettings:
    def test_new_and_same_settings_pass(self, tmp_path):
        path = tmp_path / "settings.json"
        first = check_settings(path, settings())
        write_json(path, first)
        assert check_settings(path, settings()) == first
        assert first["methods"]["augnet"]["layers"] == ["sensors"]

    def test_methods_may_be_added_and_keep_their_options(self, tmp_path):
        path = tmp_path / "settings.json"
        write_json(path, check_settings(path, settings(methods=["none"])))
        merged = check_settings(path, settings(penalty=2.0))
        write_json(path, merged)
        assert merged["methods"]["augnet"]["penalty"] == 2.0
        # Those that are not asked for stay, and are not compared.
        assert set(check_settings(path, settings(methods=["none"]))["methods"]) == {"none", "augnet"}
        with pytest.raises(SettingsMismatchError, match=r"methods\.augnet\.penalty: 2\.0 there, 3\.0 asked"):
            check_settings(path, settings(penalty=3.0))

    def test_options_may_change_until_a_run_of_the_method_is_finished(self, tmp_path):
        path = tmp_path / "settings.json"
        assert changed_methods(path, settings()) == []
        write_json(path, check_settings(path, settings()))
        finish(tmp_path, "none")
        (tmp_path / "runs" / "augnet-fold0-seed0-fraction1").mkdir()
        other = check_settings(path, settings(penalty=2.0), finished_methods(tmp_path))
        assert other["methods"]["augnet"]["penalty"] == 2.0
        assert changed_methods(path, other) == ["augnet"]
        # What all methods have in common stays.
        with pytest.raises(SettingsMismatchError, match=r"data\.sfreq"):
            check_settings(path, settings(penalty=2.0, sfreq=64.0), finished_methods(tmp_path))
        finish(tmp_path, "augnet")
        assert finished_methods(tmp_path) == {"none", "augnet"}
        with pytest.raises(SettingsMismatchError, match=r"methods\.augnet\.penalty: 10\.0 there, 2\.0 asked"):
            check_settings(path, settings(penalty=2.0), finished_methods(tmp_path))

    def test_differences_are_named_and_the_place_of_the_data_is_none(self, tmp_path):
        path = tmp_path / "settings.json"
        write_json(path, check_settings(path, settings()))
        assert check_settings(path, settings(source="elsewhere"))["data"]["source"] == "elsewhere"
        with pytest.raises(SettingsMismatchError, match=r"data\.sfreq: 100\.0 there, 64\.0 asked"):
            check_settings(path, settings(sfreq=64.0))

    @pytest.mark.parametrize("text", ["{", "{}", "[]", '{"format": "other"}'])
    def test_refuses_files_of_others(self, tmp_path, text):
        path = tmp_path / "settings.json"
        path.write_text(text)
        with pytest.raises(SettingsMismatchError, match="choose another"):
            check_settings(path, settings())

    def test_refuses_another_version(self, tmp_path):
        path = tmp_path / "settings.json"
        write_json(path, {**settings(), "version": 99})
        with pytest.raises(SettingsMismatchError, match="99"):
            check_settings(path, settings())


class TestWriting:
    def test_replaces_at_once_and_leaves_nothing_behind(self, tmp_path):
        path = tmp_path / "folder" / "file.json"
        write_json(path, {"a": 1})
        write_json(path, {"a": 2})
        assert json.loads(path.read_text()) == {"a": 2}
        assert [p.name for p in path.parent.iterdir()] == ["file.json"]

    def test_a_failed_write_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "file.txt"
        write_text(path, "old")
        with pytest.raises(UnicodeEncodeError):
            write_text(path, "new \ud800")
        assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("data", "given", "penalty", "lr"),
    [("simulated", None, 0.5, 1e-3), ("nights/", None, 0.5, None), ("nights/", 2, 2.0, None)],
)
def test_reward_for_change_has_a_penalty_of_its_own(data, given, penalty, lr):
    found = method_settings(data, get_method("augnet-change"), given, 6)
    assert (found["penalty_kind"], found["penalty"], found["n_copies"]) == ("change", penalty, 6)
    assert found["augmentation_lr"] == lr
    assert found["layers"] == get_method("augnet").defaults["layers"]


@pytest.mark.parametrize(
    ("data", "name", "kind", "penalty"),
    [
        ("nights/", "augnet", "change", 0.5),
        ("simulated", "augnet", "change", 0.5),
        ("nights/", "augnet-single", "change", 0.5),
        ("nights/", "augnet-single", "log", 0.1),
        ("nights/", "augnet-change", "selective", 10.0),
        ("simulated", "augnet-change", "selective", 0.2),
    ],
)
def test_default_penalty_is_that_of_its_kind(data, name, kind, penalty):
    method = get_method(name)
    assert method_settings(data, method, given={"penalty_kind": kind})["penalty"] == penalty
    assert method_settings(data, method, given={"penalty_kind": kind, "penalty": 3.0})["penalty"] == 3.0
