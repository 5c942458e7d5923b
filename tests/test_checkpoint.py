"""A training that is killed and started again ends where it would have ended."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader, Compose, FrequencyShift, GaussianNoise, SignFlip, TimeReverse
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from small import CHANNELS, SFREQ, SmallNet, X, Y, tones
from torch import nn

from eegaug import AugmentationLayer, AugmentationModule, AugNetClassifier, Policy, StagingClassifier, _checkpoint_file
from eegaug._checkpoint_file import write_state
from eegaug.checkpoint import TrainingCheckpoint, training_settings
from eegaug.operations import get_operation
from eegaug.transforms import OperationTransform

VALID = Dataset(*tones(24, seed=1))


def estimator(path, *extra, cls=AugNetClassifier, patience=9, **settings):
    """One with all that has a state: dropout, shuffling, momentum, a schedule, early stopping with its best weights."""
    if cls is AugNetClassifier:
        settings = {"layers": ["time-frequency", "sensors"], "penalty": 1.0} | settings
    callbacks = [
        EpochScoring("balanced_accuracy", lower_is_better=False, name="valid_balanced_accuracy"),
        LRScheduler("StepLR", step_size=2, gamma=0.5),
        *extra,
        TrainingCheckpoint(path),  # wherever it stands, it acts last
        EarlyStopping("valid_balanced_accuracy", lower_is_better=False, patience=patience, load_best=True, sink=str),
    ]
    settings = {"max_epochs": 6, "random_state": 3, "lr": 0.01, "module__drop_prob": 0.3, "verbose": 0} | settings
    return cls(
        SmallNet,
        sfreq=SFREQ,
        ch_names=CHANNELS,
        train_split=predefined_split(VALID),
        callbacks=callbacks,
        **settings,
    )


def assert_same_weights(a, b):
    for (name, p), (_, q) in zip(a.module_.state_dict().items(), b.module_.state_dict().items(), strict=True):
        assert torch.equal(p, q), name


def assert_same_training(a, b):
    assert_same_weights(a, b)
    columns = [k for k in a.history[-1] if k not in ("batches", "dur")]
    assert columns == [k for k in b.history[-1] if k not in ("batches", "dur")]
    for row_a, row_b in zip(a.history, b.history, strict=True):
        assert {k: row_a[k] for k in columns} == {k: row_b[k] for k in columns}
    assert a.n_forward_backward_ == b.n_forward_backward_
    assert [g["lr"] for g in a.optimizer_.param_groups] == [g["lr"] for g in b.optimizer_.param_groups]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from eegaug import AugNetClassifier
from test_checkpoint import X, Y, estimator

step = AugNetClassifier.train_step
def dying(net, batch, **kwargs):
    if net.n_forward_backward_ == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(net, batch, **kwargs)
AugNetClassifier.train_step = dying

estimator({path!r}).fit(X, Y)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The training that nothing happened to."""
    return estimator(tmp_path_factory.mktemp("whole") / "training.pt").fit(X, Y)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_training_goes_on_exactly(tmp_path, whole):
    path = tmp_path / "deep" / "training.pt"
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    saved = torch.load(path, weights_only=True)
    assert saved["n_forward_backward"] == 9  # 3 batches an epoch: killed in the fourth
    resumed = estimator(path).fit(X, Y)
    assert len(resumed.history) == 6
    assert_same_training(resumed, whole)
    assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    assert [p.name for p in path.parent.iterdir()] == ["training.pt"]


class CtrlC(Callback):
    """Breaks training off after some batches, the first time only."""

    def __init__(self, batches):
        self.batches = batches
        self.left = [batches]

    def on_batch_end(self, net, training=False, **kwargs):
        if training and self.left and net.n_forward_backward_ == self.left[0]:
            self.left.clear()
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("cls", [StagingClassifier, AugNetClassifier])
@pytest.mark.parametrize("batches", [2, 7, 18])
def test_training_broken_off_by_ctrl_c_goes_on(tmp_path, cls, batches):
    expected = estimator(tmp_path / "whole.pt", CtrlC(100), cls=cls).fit(X, Y)
    clf = estimator(tmp_path / "training.pt", CtrlC(batches), cls=cls)
    assert clf.fit(X, Y).interrupted_
    clf.callbacks[2].batches = 100  # a setting of the training like any other
    if (tmp_path / "training.pt").exists():
        rewrite(tmp_path / "training.pt", f'"callbacks__CtrlC__batches": {batches}', '"callbacks__CtrlC__batches": 100')
    clf.fit(X, Y)
    assert not clf.interrupted_
    assert_same_training(clf, expected)


@pytest.mark.parametrize("batches", [2, 7])
def test_a_second_ctrl_c_at_once_does_not_end_the_training_for_good(tmp_path, batches, monkeypatch):
    expected = estimator(tmp_path / "whole.pt", CtrlC(100)).fit(X, Y)
    clf = estimator(tmp_path / "training.pt", CtrlC(batches))
    with monkeypatch.context() as hasty:
        # It comes while it is found out what the first one was.
        hasty.setattr("eegaug._staging_loop._raised_by_callback", lambda stop: signal.raise_signal(signal.SIGINT))
        assert clf.fit(X, Y).interrupted_
    clf.callbacks[2].batches = 100
    if (tmp_path / "training.pt").exists():
        assert torch.load(tmp_path / "training.pt", weights_only=True)["result"] is None
        rewrite(tmp_path / "training.pt", f'"callbacks__CtrlC__batches": {batches}', '"callbacks__CtrlC__batches": 100')
    assert len(clf.fit(X, Y).history) == 6
    assert_same_training(clf, expected)


def rewrite(path, old, new):
    state = torch.load(path, weights_only=True)
    assert old in state["settings"]
    torch.save(state | {"settings": state["settings"].replace(old, new)}, path)


def test_finished_training_is_not_repeated(tmp_path, whole):
    path = tmp_path / "training.pt"
    first = estimator(path).fit(X, Y)
    before = path.read_bytes()
    again = estimator(path)
    again.train_step = None  # would fail
    again.fit(X, Y)
    assert path.read_bytes() == before
    assert len(again.history) == 6
    assert np.array_equal(again.predict_proba(X), first.predict_proba(X))
    assert again.invariances_history_.equals(first.invariances_history_)
    assert_same_weights(again, whole)


def test_more_epochs_go_on_from_the_last_not_from_the_best(tmp_path, whole):
    path = tmp_path / "training.pt"
    estimator(path, max_epochs=4).fit(X, Y)
    longer = estimator(path, max_epochs=6).fit(X, Y)
    assert_same_training(longer, whole)
    with pytest.raises(ValueError, match=r"has done 6 epochs, more than max_epochs=2"):
        rewound = torch.load(path, weights_only=True) | {"result": None}
        torch.save(rewound, path)
        estimator(path, max_epochs=2).fit(X, Y)


def test_training_that_a_callback_ended_is_finished(tmp_path):
    path = tmp_path / "training.pt"
    first = estimator(path, patience=2, max_epochs=50).fit(X, Y)
    assert len(first.history) < 50
    again = estimator(path, patience=2, max_epochs=50)
    again.train_step = None
    again.fit(X, Y)
    assert_same_weights(again, first)
    assert len(again.history) == len(first.history)


def test_saves_now_and_then(tmp_path, whole):
    path = tmp_path / "training.pt"
    clf = estimator(path, CtrlC(13))
    clf.set_params(callbacks__TrainingCheckpoint__every=2)
    clf.fit(X, Y)
    assert torch.load(path, weights_only=True)["n_forward_backward"] == 12
    assert len(clf.history) == 5


@pytest.mark.parametrize(
    ("change", "data", "words"),
    [
        ({"penalty": 2.0}, (X, Y), r"penalty was 1.0, is 2.0"),
        ({"lr": 0.1}, (X, Y), r"lr was 0.01, is 0.1"),
        ({"module__n_filters": 5}, (X, Y), r"module__n_filters was None, is 5"),
        ({"layers": ["sensors"]}, (X, Y), r"layers was \['time-frequency', 'sensors'\], is \['sensors'\]"),
        ({"patience": 3}, (X, Y), r"callbacks__EarlyStopping__patience was 9, is 3"),
        ({"random_state": 4}, (X, Y), r"random_state was 3, is 4"),
        ({}, (X[:45], Y[:45]), r"training data was '48 windows of 4 x 100.*is '45 windows"),
        ({}, (X, Y[::-1].copy()), r"training data was '48 windows of 4 x 100, checksum"),
        (
            {},
            (np.where(np.arange(48)[:, None, None] == 7, -X, X), Y),
            r"training data was '48 windows of 4 x 100, check",
        ),
        ({"cls": StagingClassifier}, (X, Y), r"estimator was 'AugNetClassifier', is 'StagingClassifier'"),
    ],
)
def test_another_training_is_refused(tmp_path_factory, change, data, words, whole):
    path = whole.callbacks[2].path
    before = path.read_bytes()
    with pytest.raises(ValueError, match=words):
        estimator(path, **change).fit(*data)
    assert path.read_bytes() == before


def test_what_may_change(whole, tmp_path):
    path = tmp_path / "moved.pt"
    path.write_bytes(whole.callbacks[2].path.read_bytes())
    again = estimator(path, verbose=1).fit(X, Y)
    assert_same_weights(again, whole)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "training.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"training.pt is no checkpoint, or is damaged: delete it"):
        estimator(path).fit(X, Y)
    assert path.read_bytes() == content
    torch.save({"format": "other"}, path)
    with pytest.raises(ValueError, match=r"is no checkpoint of a training"):
        estimator(path).fit(X, Y)


def test_a_single_wrong_byte_is_noticed(whole, tmp_path):
    saved = whole.callbacks[2].path.read_bytes()
    weights = max(whole.module_.parameters(), key=torch.numel).detach().numpy().tobytes()
    place = saved.index(weights)
    path = tmp_path / "training.pt"
    path.write_bytes(saved[:place] + bytes([saved[place] ^ 1]) + saved[place + 1 :])
    with pytest.raises(ValueError, match=r"training.pt is no checkpoint, or is damaged"):
        estimator(path).fit(X, Y)


def test_a_file_of_a_newer_version(tmp_path):
    path = tmp_path / "training.pt"
    torch.save({"format": "eegaug-training", "version": 99, "eegaug": "9.0"}, path)
    with pytest.raises(ValueError, match=r"was written by eegaug 9.0 in format 99"):
        estimator(path).fit(X, Y)


def test_a_file_with_code_is_not_executed(tmp_path):
    path = tmp_path / "training.pt"
    torch.save({"format": "eegaug-training", "code": Path("x")}, path)
    with pytest.raises(ValueError, match=r"is no checkpoint"):
        estimator(path).fit(X, Y)


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "training.pt", tmp_path):
        with pytest.raises(OSError, match=r"checkpoints cannot be written to .*"):
            estimator(path).fit(X, Y)


def test_acts_after_all_others(tmp_path):
    clf = estimator(tmp_path / "training.pt", max_epochs=1).fit(X, Y)
    assert [name for name, _ in clf.callbacks_][-1] == "TrainingCheckpoint"


@pytest.mark.parametrize("every", [0, -1])
def test_epochs_between_saves(tmp_path, every):
    with pytest.raises(ValueError, match=f"every is {every}; a checkpoint is saved"):
        StagingClassifier(
            SmallNet, sfreq=SFREQ, max_epochs=1, verbose=0, callbacks=[TrainingCheckpoint(tmp_path / "c", every)]
        ).fit(X, Y)


def test_a_rate_out_of_an_array_is_read_back(tmp_path):
    rate = np.logspace(-3, -2, 2)[0]
    settings = {"sfreq": SFREQ, "verbose": 0, "random_state": 0, "callbacks": [TrainingCheckpoint(tmp_path / "c")]}
    StagingClassifier(SmallNet, lr=rate, max_epochs=1, **settings).fit(X, Y)
    again = StagingClassifier(SmallNet, lr=rate, max_epochs=2, **settings).fit(X, Y)
    assert again.resumed_epochs_ == 1
    straight = StagingClassifier(SmallNet, lr=float(rate), max_epochs=2, **settings | {"callbacks": []}).fit(X, Y)
    assert np.array_equal(again.predict_proba(X), straight.predict_proba(X))


@pytest.mark.parametrize("sizes", [[100_000], [1000] * 30])  # torch notices at once, or when it has written some
def test_a_full_disk_is_called_so(tmp_path, sizes):
    resource = pytest.importorskip("resource")
    path = tmp_path / "training.pt"
    write_state(path, {"x": torch.ones(2)})
    limits, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot be written to .*training.pt: File too large; what was saved before"):
            write_state(path, {"x": [torch.zeros(size) for size in sizes]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [one.name for one in tmp_path.iterdir()] == ["training.pt"]
    assert torch.load(path, weights_only=True)["x"].tolist() == [1, 1]


@pytest.mark.parametrize("at", [1, 40, 120])
def test_ctrl_c_while_a_file_is_written_is_ctrl_c(tmp_path, monkeypatch, at):
    path, left = tmp_path / "training.pt", [at]
    write_state(path, {"x": torch.ones(2)})

    class Interrupted(io.FileIO):
        def write(self, data):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return super().write(data)

    monkeypatch.setattr(_checkpoint_file, "open", lambda path, mode: Interrupted(path, mode), raising=False)
    with pytest.raises(KeyboardInterrupt):
        write_state(path, {f"x{i}": torch.ones(1000) for i in range(50)})
    monkeypatch.undo()
    assert left[0] <= 0
    assert torch.load(path)["x"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["training.pt"]


def test_a_damaged_file_can_be_put_aside(tmp_path):
    path = tmp_path / "training.pt"
    path.write_bytes(b"junk")
    whole = estimator(tmp_path / "whole.pt", max_epochs=2).fit(X, Y)
    with pytest.warns(UserWarning, match=r"training.pt is damaged: it is kept as training.pt.damaged"):
        clf = estimator(path, TrainingCheckpoint(path, renew_damaged=True), max_epochs=2)
        clf.callbacks = [cb for cb in clf.callbacks if getattr(cb, "renew_damaged", True)]
        clf.fit(X, Y)
    assert_same_weights(clf, whole)
    assert (tmp_path / "training.pt.damaged").read_bytes() == b"junk"


def test_a_relative_path_stays_where_it_was(tmp_path, monkeypatch):
    class Leaves(Callback):
        def on_epoch_end(self, net, **kwargs):
            os.chdir("/")

    monkeypatch.chdir(tmp_path)
    estimator("training.pt", Leaves(), max_epochs=2).fit(X, Y)
    assert (tmp_path / "training.pt").exists()


def described(value):
    return training_settings(StagingClassifier(value).initialize_callbacks(), X, Y)["module"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: nn.Dropout(0.1), lambda: nn.Dropout(0.5)),
        (lambda: nn.Sequential(nn.ReLU()), lambda: nn.Sequential(nn.ELU())),
        (lambda: FrequencyShift(0.5, 50, max_delta_freq=1), lambda: FrequencyShift(0.5, 50, max_delta_freq=2)),
        (lambda: Compose([SignFlip(0.5)]), lambda: Compose([SignFlip(0.1)])),
        (lambda: Compose([SignFlip(0.5)]), lambda: Compose([TimeReverse(0.5)])),
        (lambda: AugmentationLayer(["gaussian_noise"]), lambda: AugmentationLayer(["time_masking"])),
        (
            lambda: AugmentationModule([["gaussian_noise"]]),
            lambda: AugmentationModule([[get_operation("gaussian_noise", max_strength=0.5)]]),
        ),
        (
            lambda: OperationTransform("gaussian_noise"),
            lambda: OperationTransform("gaussian_noise", max_strength=0.5),
        ),
        (
            lambda: Policy.uniform(sfreq=50, operations="time-frequency").to_braindecode(),
            lambda: Policy.uniform(sfreq=50, operations=["gaussian_noise"]).to_braindecode(),
        ),
    ],
)
def test_modules_are_told_apart_by_more_than_their_weights(one, other):
    assert described(one()) == described(one())
    assert described(one()) != described(other())


def test_sets_are_the_same_in_any_order():
    def settings(frozen):
        return training_settings(StagingClassifier(module__frozen=frozen).initialize_callbacks(), X, Y)

    assert list({0, 8}) != list({8, 0})  # as sets of names differ from process to process
    assert settings({0, 8}) == settings({8, 0}) != settings({0, 9})


class ListsItsParts(nn.Sequential):
    """Two layers, one of which knows the whole as many networks of one's own do: by a list."""

    def __init__(self, first):
        super().__init__(nn.Identity(), nn.Identity())
        self[0].whole, self.first = [self], [self[first]]


def test_parts_that_list_each_other_are_told_by_their_names():
    assert described(ListsItsParts(0)) == described(ListsItsParts(0))
    assert described(ListsItsParts(0)) != described(ListsItsParts(1))


def test_another_layer_is_another_training(tmp_path):
    def fit(operation):
        layer = AugmentationLayer([operation], sfreq=SFREQ)
        return estimator(tmp_path / "training.pt", layers=[layer], max_epochs=1).fit(X, Y)

    fit("frequency_shift")
    with pytest.raises(ValueError, match=r"layers was \['AugmentationLayer .*'\], is \['AugmentationLayer"):
        fit("gaussian_noise")


def test_a_finished_training_has_measured_the_same(tmp_path):
    layers = [["frequency_shift", "sign_flip", "gaussian_noise"]]
    settings = {"layers": layers, "selection": "single", "penalty": None, "max_epochs": 2, "lr_schedule": "constant"}
    first, again = (estimator(tmp_path / "training.pt", **settings).fit(X, Y) for _ in range(2))
    assert again.invariances_.equals(first.invariances_)
    assert first.invariances_["signal_change"].notna().all()


def test_killed_before_its_result_is_saved_it_measures_the_same(tmp_path, monkeypatch):
    settings = {"layers": [["gaussian_noise"]], "selection": "single", "penalty": None, "max_epochs": 2}
    whole = estimator(tmp_path / "whole.pt", **settings).fit(X, Y)

    def killed(self, net, **kwargs):
        raise RuntimeError

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(TrainingCheckpoint, "on_train_end", killed)
        estimator(tmp_path / "training.pt", **settings).fit(X, Y)
    assert estimator(tmp_path / "training.pt", **settings).fit(X, Y).invariances_.equals(whole.invariances_)


def test_without_a_random_state_the_seed_is_the_first_ones(tmp_path):
    """Which of the windows judge, say, is drawn from it."""
    settings = {"layers": [["gaussian_noise"]], "selection": "single", "penalty": None, "lr_schedule": "constant"}
    settings |= {"judge_share": 0.5, "random_state": None}
    first, again = (estimator(tmp_path / "training.pt", max_epochs=n, **settings).fit(X, Y) for n in (1, 2))
    assert again.seed_ == first.seed_
    assert again.judge_indices_ == first.judge_indices_
    assert len(again.history) == 2


def test_a_network_may_be_compiled_at_the_second_start(tmp_path, whole):
    path = tmp_path / "training.pt"
    compiled = {"compile": True, "compile__backend": "eager"}
    estimator(path, max_epochs=2).fit(X, Y)
    estimator(path, max_epochs=4, **compiled).fit(X, Y)
    again = estimator(path).fit(X, Y)
    assert len(again.history) == 6
    np.testing.assert_allclose(again.predict_proba(X), whole.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("random_state", [0, None])
def test_transforms_of_the_loader_go_on_where_they_were(tmp_path, random_state):
    seen = []

    class Watched(SmallNet):
        def forward(self, X):
            if self.training:
                seen.append(X)
            return super().forward(X)

    def fit(name, epochs):
        return StagingClassifier(
            Watched,
            iterator_train=AugmentedDataLoader,
            iterator_train__transforms=[SignFlip(0.5), GaussianNoise(1.0, std=1.0, random_state=1)],
            callbacks=[TrainingCheckpoint(tmp_path / name)],
            **{"max_epochs": epochs, "batch_size": 48, "random_state": random_state, "sfreq": SFREQ, "verbose": 0},
        ).fit(X, Y)

    fit("broken", 1)
    (tmp_path / "whole").write_bytes((tmp_path / "broken").read_bytes())  # of a fresh seed, where there is none
    seen.clear()
    fit("broken", 2)
    fit("broken", 3)
    fit("whole", 3)
    assert [torch.equal(seen[a], seen[b]) for a, b in ((0, 2), (1, 3), (0, 1))] == [True, True, False]


def test_two_trainings_with_one_file_do_not_mix(tmp_path):
    def training(path, max_epochs=4, *more):
        return StagingClassifier(
            SmallNet,
            sfreq=SFREQ,
            max_epochs=max_epochs,
            train_split=None,
            random_state=0,
            verbose=0,
            callbacks=[*more, TrainingCheckpoint(path)],
        )

    class OtherProcess(Callback):
        """The other training's process, which has just saved its second epoch."""

        def on_train_end(self, net, **kwargs):
            shutil.copy(tmp_path / "other", tmp_path / "one")

    first, second = (X[:24], Y[:24]), (X[24:], Y[24:])
    alone = training(tmp_path / "alone").fit(*second)
    training(tmp_path / "other", 2).fit(*second)
    with pytest.warns(UserWarning, match=r"another training writes the checkpoint .*one too: the end of this"):
        mixed_up = training(tmp_path / "one", 4, OtherProcess()).fit(*first)
    assert len(mixed_up.history) == 4
    gone_on = training(tmp_path / "one").fit(*second)
    assert_same_weights(gone_on, alone)
    assert not np.allclose(gone_on.predict_proba(X), mixed_up.predict_proba(X))


def test_of_long_settings_the_difference_is_shown(tmp_path):
    def policy(magnitude):
        return Policy.uniform(sfreq=SFREQ, ch_names=CHANNELS).model_copy(update={"settings": {"magnitude": magnitude}})

    def training(magnitude):
        callbacks = [TrainingCheckpoint(tmp_path / "training.pt")]
        settings = {"sfreq": SFREQ, "max_epochs": 1, "random_state": 0, "verbose": 0, "callbacks": callbacks}
        return StagingClassifier(SmallNet, policy=policy(magnitude), **settings)

    training(0.25).fit(X, Y)
    assert len(repr(policy(0.25).model_dump())) > 1000
    with pytest.raises(ValueError, match=r"policy was ….*'magnitude': 0.25.*, is ….*'magnitude': 0.75") as refused:
        training(0.75).fit(X, Y)
    assert len(str(refused.value)) < 600
