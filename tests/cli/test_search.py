"""``eegaug search``: the policy, what is said about it, going on, wrong calls."""

from __future__ import annotations

import json

import pytest

from eegaug.cli import main
from eegaug.data import STAGES
from eegaug.policies import Policy, load_policy
from eegaug.search import RandomSearch

from .calls import RUNNER

NIGHTS = ["n_subjects=3", "n_windows=24", 'ch_names=["C3","C4"]', "sfreq=64", "random_state=0"]
ALWAYS = [option for argument in NIGHTS for option in ("--data-arg", argument)]
ALWAYS += ["--device", "cpu", "--epochs", "1", "--steps", "2", "--operations", "sign_flip,gaussian_noise"]


def run(out, *arguments, method="random"):
    return RUNNER.invoke(main, ["search", "--method", method, "--out", str(out), *ALWAYS, *arguments])


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "policy.json"
    return out, run(out)


def test_writes_the_policy_and_describes_it(searched):
    out, result = searched
    assert result.exit_code == 0, result.stderr
    policy = Policy.load(out)
    assert policy.searcher == "random"
    assert policy.ch_names == ("C3", "C4")
    assert policy.describe() in result.stdout
    assert "random: 2 steps in" in result.stdout
    assert "random: step 2/2: score" in result.stderr
    assert [one.name for one in out.parent.iterdir()] == ["policy.json"]  # the checkpoint has gone


def test_classes_of_a_policy_are_called_as_the_stages_are(tmp_path):
    result = run(tmp_path / "policy.json", "--method-arg", "search_fraction=0.9", "--quiet", method="dna")
    assert result.exit_code == 0, result.stderr
    policy = load_policy(tmp_path / "policy.json")
    assert policy.mean.labels == ("W", "N1", "N2", "N3", "REM")
    assert [stage for stage in policy.mean.labels if f"\n    {stage}: " in result.stdout] == [*STAGES]


def test_json_and_the_same_seed(searched, tmp_path):
    result = run(tmp_path / "policy.json", "--json", "--quiet")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert Policy.load(document["policy"]) == Policy.load(searched[0])
    assert document["steps"] == 2
    assert document["operations"] == ["sign_flip", "gaussian_noise"]
    subjects = {*document["train_subjects"]}, {*document["valid_subjects"]}
    assert [len(side) for side in subjects] == [2, 1]
    assert not subjects[0] & subjects[1]
    other = run(tmp_path / "other.json", "--quiet", "--seed", "1", "--method-arg", "n_sub_policies=2")
    assert other.exit_code == 0, other.stderr
    assert len(Policy.load(tmp_path / "other.json").sub_policies) == 2


def test_ctrl_c_saves_the_policy_and_the_same_command_goes_on(searched, tmp_path, monkeypatch):
    step = RandomSearch._step

    def stopped(self, task, state):
        if len(self._rows) == 1:
            raise KeyboardInterrupt
        return step(self, task, state)

    out = tmp_path / "policy.json"
    monkeypatch.setattr(RandomSearch, "_step", stopped)
    result = run(out)
    assert result.exit_code == 130
    assert "Stopped before the end" in result.stdout
    assert Policy.load(out).settings["steps"] == 1
    assert (tmp_path / "policy.json.search").exists()
    monkeypatch.undo()
    (tmp_path / "policy.json.searches").write_text("somebody's own")
    monkeypatch.setattr(RandomSearch, "_train_with_policy", None)  # no network is asked for, and none is trained
    assert run(out).exit_code == 0
    assert Policy.load(out) == Policy.load(searched[0])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["policy.json", "policy.json.searches"]


@pytest.mark.parametrize(
    ("arguments", "method", "message"),
    [
        ([], "grid", "unknown searcher 'grid'; known are random, autoaugment"),
        (["--method-arg", "depth=3"], "random", "random does not take depth; it takes trial_unit"),
        (["--operations", "sign_flip,sign_flip"], "random", "'sign_flip' twice"),
        (["--budget", "soon"], "random", "budget 'soon' is not a duration"),
        (["--steps", "0"], "random", "max_steps must be a whole number"),
    ],
)
def test_wrong_calls(arguments, method, message, tmp_path):
    result = run(tmp_path / "policy.json", *arguments, method=method)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_subjects_to_hold_out(tmp_path):
    result = run(tmp_path / "policy.json", "--json", "--quiet", "--method-arg", 'valid_size=["sim-001"]')
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["valid_subjects"] == ["sim-001"]
    result = run(tmp_path / "policy.json", "--quiet", "--method-arg", 'valid_size=["nobody"]')
    assert result.exit_code == 2 and "valid_size names ['nobody']; the subjects are" in result.stderr
    result = run(tmp_path / "policy.json", "--quiet", "--method-arg", "valid_size=true")
    assert result.exit_code == 2 and "valid_size is True; pass a fraction" in result.stderr


def test_a_folder_in_the_way(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "is a folder; name a JSON file" in result.stderr
