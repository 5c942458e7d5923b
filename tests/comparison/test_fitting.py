"""Training one model on nights and scoring it."""

import copy
import io
import os
import pickle
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.history import History

from eegaug import load_model
from eegaug.checkpoint import _callback_state
from eegaug.comparison.callbacks import EpochBar, HeldOutScore, ProgressFile, TrainingClock
from eegaug.comparison.commands import model_splits
from eegaug.comparison.fitting import fit_nights, score_nights, split_off_validation, training_settings
from eegaug.comparison.scores import stage_scores


class TestSplit:
    @pytest.mark.parametrize(("n", "n_valid"), [(1, 0), (2, 1), (4, 1), (10, 2), (23, 5)])
    def test_sizes(self, n, n_valid):
        names = [f"s{i:02d}" for i in range(n)]
        train, valid = split_off_validation(names * 3)
        assert len(valid) == n_valid and sorted(train + valid) == names

    def test_the_seed_decides_who(self):
        names = [f"s{i}" for i in range(20)]
        assert split_off_validation(names, 1) == split_off_validation(names[::-1], 1)
        assert split_off_validation(names, 1) != split_off_validation(names, 2)


class TestSettings:
    @pytest.mark.parametrize(
        ("trunk", "given", "used"),
        [
            ("SleepStagerChambon2018", None, {"drop_prob": 0.5}),
            ("SleepStagerChambon2018", {"n_conv_chs": 4}, {"drop_prob": 0.5, "n_conv_chs": 4}),
            ("SleepStagerChambon2018", {"drop_prob": 0.1}, {"drop_prob": 0.1}),
            ("EEGNet", {"drop_prob": 0.1}, {"drop_prob": 0.1}),
            ("EEGNet", None, {}),
        ],
    )
    def test_an_argument_of_the_trunk_leaves_the_others_as_they_were(self, trunk, given, used):
        assert training_settings(trunk, given, 1e-3, 16, 1, 1, None)["trunk_args"] == used


class TestFit:
    def test_saves_a_model_that_knows_its_subjects(self, nights, tmp_path):
        report = fit_nights(nights, "none", out=tmp_path / "model", max_epochs=2)
        assert len(report.train_subjects) == 3 and len(report.valid_subjects) == 1
        assert report.epochs == 2 and not report.interrupted
        assert model_splits(tmp_path / "model") == {
            "train": list(report.train_subjects),
            "valid": list(report.valid_subjects),
        }
        again = load_model(tmp_path / "model")
        valid = nights.select(subjects=report.valid_subjects)
        score = score_nights(again, valid)
        assert score.scores["balanced_accuracy"] == pytest.approx(report.metrics["valid_balanced_accuracy"])
        assert {p.name for p in (tmp_path / "model").iterdir()} == {"model.json", "model.safetensors"}

    def test_the_network_of_the_best_epoch_is_kept_however_small_its_lead(self, nights, tmp_path):
        report = fit_nights(nights, "none", out=tmp_path, max_epochs=12, lr=3e-3, seed=2)  # 0.45, then 0.47, then less
        scores = report.estimator.history[:, "valid_balanced_accuracy"]
        assert report.best_epoch == int(np.argmax(scores)) + 1
        assert report.metrics["valid_balanced_accuracy"] == pytest.approx(max(scores))

    def test_one_subject_trains_without_validation(self, nights, tmp_path):
        report = fit_nights(nights.select(subjects=["sim-001"]), "none", out=tmp_path, max_epochs=1)
        assert report.valid_subjects == () and report.metrics == {} and report.epochs == 1

    def test_validation_can_be_left_out(self, nights, tmp_path):
        report = fit_nights(nights, "none", out=tmp_path, max_epochs=1, validation=False)
        assert len(report.train_subjects) == 4

    def test_stopped_while_an_epoch_is_scored(self, nights, tmp_path, monkeypatch):
        score = EpochScoring.on_epoch_end

        def stopped(self, net, **kwargs):
            if len(net.history) == 2 and self.name == "valid_balanced_accuracy":
                signal.raise_signal(signal.SIGINT)
            score(self, net, **kwargs)

        monkeypatch.setattr(EpochScoring, "on_epoch_end", stopped)
        report = fit_nights(nights, "none", out=tmp_path, max_epochs=3)
        assert report.interrupted and report.epochs == report.best_epoch == 1
        assert load_model(tmp_path).history[-1]["epoch"] >= 1

    @pytest.fixture
    def killed(self, nights, tmp_path, monkeypatch):
        """Folder of a training that was killed in its third epoch."""

        def fail(self, net, **kwargs):
            if len(net.history) == 3:
                raise RuntimeError("killed")

        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
            patch.setattr(ProgressFile, "on_epoch_end", fail)
            fit_nights(nights, "none", out=tmp_path, max_epochs=4)
        return tmp_path

    def goes_on(self, nights, killed, **more):
        report = fit_nights(nights, "none", out=killed, max_epochs=4, **more)
        return report.estimator.resumed_epochs_ == 2 and report.epochs == 4

    def test_what_was_begun_in_silence_goes_on_with_a_bar(self, nights, killed, capsys):
        assert self.goes_on(nights, killed, callbacks=[("bar", EpochBar(every_s=0))])
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(":")[0] for line in lines] == ["epoch 3/4", "epoch 4/4"]

    def test_a_bar_forgets_the_clock_of_another_machine(self):
        bar = EpochBar()
        bar.on_train_begin(SimpleNamespace(history=[], max_epochs=1))
        assert _callback_state(bar) == {}

    def test_a_bar_on_a_terminal_is_copied_with_its_estimator(self, monkeypatch):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr("sys.stderr", terminal)
        bar = EpochBar()
        net = SimpleNamespace(history=[], max_epochs=2)
        bar.on_train_begin(net)
        net.history.append({"train_loss": 0.5, "valid_balanced_accuracy": 0.25})
        bar.on_epoch_end(net)
        bar.on_train_end(net)
        assert "training loss 0.500, validation balanced accuracy 0.250:  50%" in terminal.getvalue()
        assert pickle.loads(pickle.dumps(bar)).every_s == 10.0

    @pytest.mark.parametrize(
        ("other", "words"),
        [
            ({"method": "fixed"}, "a training by none: it is kept as unfinished-1"),
            ({"max_epochs": 5}, r"other settings \(training.max_epochs: 4 there, 5 asked\): it is kept as unf"),
            ({"seed": 1}, r"other settings \(data.seed: 0 there, 1 asked"),
        ],
    )
    def test_what_was_begun_is_kept_from_another_training(self, nights, killed, other, words):
        with pytest.warns(UserWarning, match=words):
            report = fit_nights(nights, **{"method": "none", "max_epochs": 4, "out": killed} | other)
        assert report.epochs == report.estimator.max_epochs and report.estimator.resumed_epochs_ == 0
        assert not (killed / "unfinished").exists()
        (killed / "unfinished-1").rename(killed / "unfinished")
        assert self.goes_on(nights, killed)

    @pytest.mark.parametrize("content", ["", '{"format": "eegaug-compare", "version": 1}'])
    def test_damaged_settings_cost_no_training(self, nights, killed, content):
        (killed / "unfinished" / "settings.json").write_text(content)
        assert self.goes_on(nights, killed)

    def test_ctrl_c_keeps_the_best_network_and_the_same_call_goes_on(self, nights, tmp_path, monkeypatch):
        original = ProgressFile.on_epoch_end

        def interrupt(self, net, **kwargs):
            original(self, net, **kwargs)
            if len(net.history) == 2:
                os.kill(os.getpid(), signal.SIGINT)

        arguments = {"method": "none", "max_epochs": 4}
        with monkeypatch.context() as patch:
            patch.setattr(ProgressFile, "on_epoch_end", interrupt)
            first = fit_nights(nights, out=tmp_path / "model", **arguments)
        assert first.interrupted and first.epochs >= 1
        assert load_model(tmp_path / "model").predict(nights).shape == (len(nights),)
        second = fit_nights(nights, out=tmp_path / "model", **arguments)
        assert not second.interrupted and second.epochs == 4
        whole = fit_nights(nights, out=tmp_path / "whole", **arguments)
        probabilities = [model.estimator.predict_proba(nights) for model in (second, whole)]
        np.testing.assert_array_equal(*probabilities)

    def test_ctrl_c_that_comes_twice_keeps_the_best_network_too(self, nights, tmp_path, monkeypatch):
        original, end = ProgressFile.on_epoch_end, EarlyStopping.on_train_end

        def interrupt(self, net, **kwargs):
            original(self, net, **kwargs)
            if len(net.history) == 2:
                signal.raise_signal(signal.SIGINT)

        def interrupted_again(self, net, **kwargs):
            signal.raise_signal(signal.SIGINT)
            end(self, net, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(ProgressFile, "on_epoch_end", interrupt)
            patch.setattr(EarlyStopping, "on_train_end", interrupted_again)
            report = fit_nights(nights, "none", out=tmp_path, max_epochs=4)
        assert report.interrupted
        stopping = dict(report.estimator.callbacks_)["early_stopping"]
        assert stopping.best_epoch_ == 1
        for name, value in load_model(tmp_path).module_.state_dict().items():
            assert torch.equal(value, stopping.best_model_weights_[name])

    def test_another_training_in_the_same_folder_starts_anew(self, nights, tmp_path, monkeypatch):
        monkeypatch.setattr("eegaug.comparison.fitting.shutil.rmtree", lambda path, **k: None)
        fit_nights(nights, "none", out=tmp_path, max_epochs=1, validation=False)
        assert (tmp_path / "unfinished" / "settings.json").exists()
        monkeypatch.undo()
        report = fit_nights(nights, "none", out=tmp_path, max_epochs=2, validation=False, seed=1)
        assert report.epochs == 2 and not (tmp_path / "unfinished").exists()


class TestCallbacks:
    def test_the_clock_stops_with_the_last_training_batch(self, monkeypatch):
        now = iter([10.0, 11.0, 13.0])  # the epoch begins, and two training batches end
        monkeypatch.setattr("eegaug.comparison.callbacks.time", SimpleNamespace(perf_counter=lambda: next(now, 99.0)))
        clock, net = TrainingClock(), SimpleNamespace(history=History())
        net.history.new_epoch()
        clock.on_epoch_begin(net)
        for training in (True, True, False, False):
            clock.on_batch_end(net, training=training)
        clock.on_epoch_end(net)
        assert net.history[:, "train_seconds"] == [3.0]

    def test_the_first_of_equal_epochs_is_tested(self):
        net = SimpleNamespace(history=History(), predict=lambda data: data)
        score = HeldOutScore([0, 1, 2, 2], [0, 1, 2, 3])
        for valid in (0.5, 0.5, 0.6, 0.4, 0.6):
            net.history.new_epoch()
            net.history.record("valid_balanced_accuracy", valid)
            score.on_epoch_end(net)
        assert net.history[:, "test_balanced_accuracy"] == pytest.approx(
            [0.75, *[np.nan, 0.75, np.nan, np.nan]], nan_ok=True
        )


class TestScore:
    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, nights, tmp_path_factory):
        return fit_nights(nights, "none", out=tmp_path_factory.mktemp("model"), max_epochs=1).estimator

    def test_subjects_of_the_training_do_not_count(self, fitted, nights):
        report = score_nights(fitted, nights, {"train": ["sim-001"], "valid": ["sim-002"]})
        assert report.subjects == ("sim-003", "sim-004") and report.seen == ("sim-001", "sim-002")
        assert report.confusion.sum() == 48 and not report.only_seen
        assert report.recordings["used_in"].tolist() == ["train", "valid", "", ""]
        assert report.recordings["windows"].tolist() == [24] * 4

    def test_night_by_night_it_tells_how_far_it_is(self, fitted, nights, monkeypatch, capsys):
        asked = []
        predict = type(fitted).predict
        monkeypatch.setattr(type(fitted), "predict", lambda net, X: asked.append(len(X)) or predict(net, X))
        report = score_nights(fitted, nights, verbose=True)
        assert asked == [24] * 4
        assert capsys.readouterr().err.startswith("Nights: all 4 after ")
        expected = stage_scores(nights.y, predict(fitted, nights))
        assert report.scores == expected
        score_nights(fitted, nights, verbose=False)
        assert capsys.readouterr().err == ""

    def test_they_count_when_allowed_or_alone(self, fitted, nights):
        splits = {"train": ["sim-001", "sim-002"], "valid": ["sim-003", "sim-004"]}
        assert score_nights(fitted, nights, splits).only_seen
        some = score_nights(fitted, nights, {"train": ["sim-001"]}, allow_training=True)
        assert len(some.subjects) == 4 and not some.only_seen

    def test_windows_without_a_stage_do_not_count(self, fitted, nights):
        own = copy.deepcopy(nights.select(subjects=["sim-001"]))
        own.datasets[0].y[20:] = -1
        assert score_nights(fitted, own).confusion.sum() == 20
        own.datasets[0].y[:] = -1
        with pytest.raises(ValueError, match="no window has a stage"):
            score_nights(fitted, own)
