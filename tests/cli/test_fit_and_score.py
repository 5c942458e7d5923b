"""`eegaug fit` and `eegaug score` on tiny nights and on recordings as users have them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eegaug import load_model
from eegaug.operations import FAMILIES
from eegaug.policy import Policy

from .calls import TINY, run


class TestFitAndScore:
    def test_fit_says_what_it_did(self, tmp_path):
        result = run("fit", *TINY, "--method", "none", "--out", tmp_path / "model", "--json")
        document = json.loads(result.stdout)
        assert document["epochs"] == 1 and len(document["valid_subjects"]) == 1
        assert 0 <= document["metrics"]["valid_balanced_accuracy"] <= 1
        assert "epoch 1/1" in result.stderr

    def test_options_of_the_method(self, tmp_path):
        arguments = ["--method", "augnet-single", "--method-arg", "penalty=0.3", "--method-arg", 'layers=["sensors"]']
        result = run("fit", *TINY, *arguments, "--out", tmp_path / "model", "--quiet")
        assert result.exit_code == 0, result.output
        clf = load_model(tmp_path / "model")
        assert clf.penalty == 0.3 and set(clf.invariances_["operation"]) <= set(FAMILIES["sensors"])

    def test_with_a_policy(self, tmp_path):
        policy = tmp_path / "mine.json"
        for channels, code in ((["C3", "C4"], 0), (["C4", "C3"], 2)):
            Policy.uniform(operations="time-frequency", sfreq=50, ch_names=channels).save(policy)
            result = run("fit", *TINY, "--policy", policy, "--out", tmp_path / "model", "--quiet")
            assert result.exit_code == code, result.output
        assert result.stderr.count("\n") == 1
        assert "mine.json is a policy for the channels C4, C3, the nights have C3, C4" in result.stderr
        assert load_model(tmp_path / "model").policy.ch_names == ("C3", "C4")

    def test_a_flag_wins_over_the_other_way_to_augment_in_a_file(self, tmp_path):
        Policy.uniform(operations="time-frequency", sfreq=50, ch_names=["C3", "C4"]).save(tmp_path / "mine.json")
        policy, method = f'policy = "{tmp_path / "mine.json"}"', 'method = "none"'
        model = ["--out", tmp_path / "model", "--quiet", "--json"]
        for text, arguments, used in (
            (policy, ["--method", "none"], "none"),
            (method, ["--policy", tmp_path / "mine.json"], "policy"),
            (policy, [], "policy"),
        ):
            (tmp_path / "fit.toml").write_text(text)
            result = run("fit", *TINY, "--config", tmp_path / "fit.toml", *arguments, *model)
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout)["method"] == used
        (tmp_path / "fit.toml").write_text(f"{policy}\n{method}")
        result = run("fit", *TINY, "--config", tmp_path / "fit.toml", *model)
        assert result.exit_code == 2 and "two ways to augment: give one of them" in result.stderr

    def test_one_subject_trains_without_validation_and_says_so(self, recordings, tmp_path):
        one = tmp_path / "one"
        one.mkdir()
        (one / "sim-001.npz").write_bytes((recordings / "sim-001.npz").read_bytes())
        arguments = ["--data", one, "--sfreq", 64, "--method", "none", "--epochs", 1]
        result = run("fit", *arguments, "--out", tmp_path / "model")
        assert result.exit_code == 0, result.output
        assert "all recordings are of one subject (sim-001)" in result.stderr
        assert "without validation" in result.stdout

    def test_score_others(self, model, tmp_path):
        table = tmp_path / "scores.csv"
        result = run(
            "score", "--data-arg", "n_subjects=5", "--data-arg", "n_windows=20", "--model", model, "--out", table
        )
        assert result.exit_code == 0, result.output
        assert "40 windows of 2 subjects" in result.stdout and "kappa" in result.stdout
        assert "left out, since the model was trained or stopped on them: sim-001, sim-002, sim-003" in result.stderr
        assert pd.read_csv(table)["used_in"].notna().sum() == 3

    def test_score_warns_when_all_were_seen(self, model):
        arguments = ["score", "--data-arg", "n_subjects=3", "--data-arg", "n_windows=20", "--model", model]
        result = run(*arguments, "--json")
        assert json.loads(result.stdout)["only_seen"] is True
        assert "these are not test scores" in result.stderr

    def test_recordings_are_prepared_as_the_model_says(self, recordings, tmp_path):
        model = tmp_path / "model"
        options = ["--sfreq", 64, "--channels", "C4,C3", "--h-freq", 20, "--epochs", 1, "--method", "none"]
        fit = run("fit", "--data", recordings, *options, "--no-validation", "--out", model)
        assert fit.exit_code == 0, fit.output
        result = run("score", "--data", recordings, "--model", model, "--allow-training-subjects")
        assert result.exit_code == 0, result.output
        assert "60 windows of 3 subjects" in result.stdout
        record = json.loads((model / "model.json").read_text())["preprocessing"]
        assert (record["sfreq"], record["h_freq"], record["ch_names"]) == (64, 20, ["C4", "C3"])

    def test_other_recordings_say_what_is_missing(self, model, recordings, tmp_path):
        night = dict(np.load(recordings / "sim-001.npz"))
        np.savez(tmp_path / "a.npz", **{**night, "ch_names": np.array(["O1", "O2"])})
        result = run("score", "--data", tmp_path, "--model", model)
        assert result.exit_code == 2 and "C3" in result.stderr and "O1" in result.stderr

    def test_a_bad_recording_does_not_stop_the_others(self, model, recordings, tmp_path):
        for path in recordings.glob("*.npz"):
            (tmp_path / f"other-{path.name}").write_bytes(path.read_bytes())
        (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
        result = run("score", "--data", tmp_path, "--model", model, "--allow-training-subjects")
        assert result.exit_code == 1, result.output
        assert "bad" in result.stderr and "1 recording could not be scored" in result.stdout

    def test_score_into_a_folder_is_refused_before_the_work(self, model, tmp_path):
        result = run("score", "--data", "no-such-folder", "--model", model, "--out", tmp_path)
        assert result.exit_code == 2 and "is a folder; name a CSV file" in result.stderr


class TestRealRecordings:
    """Recordings as users have them: one labelled stretch, a hypnogram that outlasts its recording, an unscored one."""

    @pytest.fixture
    def folder(self, data_folder, tmp_path):
        def pick(*names):
            folder = tmp_path / "nights"
            folder.mkdir()
            for name in names:
                (folder / Path(name).name).write_bytes((data_folder / name).read_bytes())
            return folder

        return pick

    def test_a_labelled_stretch_of_one_channel(self, folder, tmp_path):
        nights, model = folder("recordings/pydynamo_segment.npz"), tmp_path / "model"
        fit = run("fit", "--data", nights, "--method", "augnet", "--epochs", 1, "--out", model)
        assert fit.exit_code == 0, fit.output
        assert "all recordings are of one subject" in fit.stderr
        assert "learned augmentation goes without sensors_rotation_x" in fit.stderr
        score = run("score", "--data", nights, "--model", model, "--json")
        assert score.exit_code == 0, score.output
        confusion = np.array(json.loads(score.stdout)["confusion"])
        assert confusion.sum(1).tolist() == [2, 7, 95, 37, 26]

    def test_a_hypnogram_that_outlasts_its_recording(self, folder, tmp_path):
        nights = folder("edf/SC4001E0-PSG_first300s.edf", "edf/SC4001EC-Hypnogram.edf")
        result = run("fit", "--data", nights, "--out", tmp_path / "model")
        # Five minutes of wakefulness: what there is, is said, and that it cannot be learned from.
        assert result.exit_code == 2
        assert "scored outside the recording (2640 windows)" in result.stderr
        assert "one class only" in result.stderr

    def test_a_recording_that_nobody_scored(self, folder, tmp_path):
        result = run("fit", "--data", folder("edf/mednick_example1_sleep_rec.edf"), "--out", tmp_path / "model")
        assert result.exit_code == 2 and "no hypnogram" in result.stderr

    def test_one_subject_cannot_be_compared_on(self, folder, tmp_path):
        result = run("compare", "--data", folder("recordings/pydynamo_segment.npz"), "--out", tmp_path / "out")
        assert result.exit_code == 2 and "at least 3 are needed" in result.stderr
