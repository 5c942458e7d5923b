"""Equation 4: what is invariant scores 1, what is as good as another window scores 0."""

from __future__ import annotations

import copy
import io

import numpy as np
import pandas as pd
import pytest
import torch
from braindecode import EEGClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC
from small import CHANNELS, NAMES, SFREQ, SmallNet, X, Y, epochs, global_random_states, nights, staging
from torch import nn

from eegaug import AugNetClassifier, Policy
from eegaug.data import NightDataset, Nights
from eegaug.invariance import (
    intra_augmentation_variation,
    invariance_score,
    invariance_table,
    tolerated_magnitudes,
    transfer_matrix,
)
from eegaug.invariance._outputs import outputs_of
from eegaug.invariance.score import _derangement
from eegaug.operations import get_operation


class Of(nn.Module):
    """A network that computes what it is told."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, X):
        return self.function(X)


def linear(seed=0, n_times=100, n_classes=4):
    weights = torch.randn(4 * n_times, n_classes, generator=torch.Generator().manual_seed(seed))
    return Of(lambda X: X.flatten(1) @ weights)


def spectrum(X):
    return torch.fft.rfft(X).abs().mean(1)[:, 1:40]


def other_window(X):
    return X.roll(7, 0)


MODEL = linear()
SHIFT = get_operation("frequency_shift", sfreq=SFREQ)


def test_identity_scores_one():
    score = invariance_score(MODEL, X, lambda X: X)
    assert (score.median, score.low, score.high, score.dropped) == (1.0, 1.0, 1.0, 0.0)
    assert float(invariance_score(MODEL, X, SHIFT, 0.0)) == pytest.approx(1.0, abs=1e-6)


def test_invariance_by_construction_scores_one():
    surrogate = get_operation("ft_surrogate")
    assert float(invariance_score(Of(spectrum), X, surrogate, 1.0)) == pytest.approx(1.0, abs=1e-6)
    assert float(invariance_score(MODEL, X, surrogate, 1.0)) < 0.5


@pytest.mark.parametrize("n", [2, 3, 7])
def test_no_window_is_its_own_partner(n):
    for seed in range(50):
        partner = _derangement(n, np.random.default_rng(seed))
        assert sorted(partner) == list(range(n)) and (partner != np.arange(n)).all()


def test_answers_that_differ_little_are_scored_and_those_that_do_not_are_left_out():
    def score(angle):  # of two windows, whose answers have this angle, and are turned by a tenth of it
        at = torch.tensor([0.0, angle], dtype=torch.float64)
        across, along = (
            torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], dtype=torch.float64)
            / torch.tensor([[2.0], [6.0]], dtype=torch.float64).sqrt()
        )

        def answer(X):
            turned = at + 0.1 * angle * X[:, 0, 0]
            return turned.cos()[:, None] * across + turned.sin()[:, None] * along

        return invariance_score(Of(answer), np.zeros((2, 1, 4)), lambda X: X + 1)

    assert score(0.01).values == pytest.approx([0.99, 0.99], abs=1e-4)  # the distance of partners is 5e-5
    assert score(0.001).dropped == 1.0  # and here 5e-7


def test_probabilities_of_nothing_are_taken_for_a_millionth():
    class Sure:
        def predict_proba(self, X):
            return np.tile([1.0, 0.0], (len(X), 1))

    assert outputs_of(Sure(), X).min() == pytest.approx(np.log(1e-6))


def test_another_window_scores_zero_in_the_median():
    windows = np.random.default_rng(0).standard_normal((600, 4, 100)).astype("float32")
    score = invariance_score(MODEL, windows, other_window)
    assert score.median == pytest.approx(0.0, abs=0.1)
    assert score.low < -0.2 and score.high > 0.2


def test_opposite_answers_score_below_zero():
    windows = X + 2 * np.array([1.0, -1.0, 0.5, 0.0], dtype="float32")[:, None]
    score = invariance_score(MODEL, windows, "sign_flip")
    assert score.high < 0


@pytest.mark.parametrize("mode", ["centred", "paper"])
def test_scale_of_the_answer_does_not_matter(mode):
    first = invariance_score(MODEL, X, SHIFT, 0.2, mode=mode)
    for factor in (0.01, 7.0):
        scaled = invariance_score(Of(lambda X, factor=factor: factor * MODEL(X)), X, SHIFT, 0.2, mode=mode)
        np.testing.assert_allclose(scaled.values, first.values, rtol=1e-3, atol=1e-5)


def test_a_constant_per_window_matters_in_paper_mode_only():
    raw, logs = MODEL, Of(lambda X: MODEL(X).log_softmax(1))
    first, second = (invariance_score(model, X, SHIFT, 0.2) for model in (raw, logs))
    np.testing.assert_allclose(first.values, second.values, rtol=1e-3, atol=1e-5)
    first, second = (invariance_score(model, X, SHIFT, 0.2, mode="paper") for model in (raw, logs))
    assert abs(first.median - second.median) > 0.02


@pytest.mark.parametrize("mode", ["centred", "paper"])
@pytest.mark.parametrize(("value", "noise"), [(0.0, 0.0), (3.0, 0.0), (3.0, 1e-8), ([1.0, 2.0, -1.0], 1e-8)])
def test_constant_models_have_no_score(value, noise, mode):
    value = torch.as_tensor(value).expand(3)
    score = invariance_score(Of(lambda X: value + noise * X[:, :3, 0]), X, "sign_flip", mode=mode)
    assert np.isnan([score.median, score.low, score.high, float(score)]).all()
    assert score.dropped == 1.0


def test_partly_dead_model_is_scored_where_it_lives():
    """A quarter of all windows has an answer; a partner without one is as different as can be."""
    live = torch.arange(48) % 4 == 0
    answers = torch.where(live[:, None], torch.randn(48, 3, generator=torch.Generator().manual_seed(0)), 0.0)
    score = invariance_score(
        Of(lambda X: answers[X[:, 0, 0].long()]), np.arange(48.0).repeat(8).reshape(48, 2, 4), lambda X: X
    )
    assert 0 < score.dropped < 1
    assert score.median == 1.0


def test_paper_mode_has_fixed_points():
    """A window that is its own partner has nothing to be compared with, and scores -d / 1e-8."""
    windows = np.random.default_rng(0).standard_normal((256, 4, 100)).astype("float32")
    score = invariance_score(MODEL, windows, SHIFT, 0.2, mode="paper", batch_size=16)
    assert (score.values < -1e5).sum() >= 4
    assert score.dropped == 0
    assert not (invariance_score(MODEL, windows, SHIFT, 0.2).values < -1e3).any()


def test_stronger_is_less_invariant_and_draws_are_averaged():
    scores = [float(invariance_score(MODEL, X, "gaussian_noise", m, n_draws=3)) for m in (0.05, 0.3, 1.0)]
    assert scores[0] > scores[1] > scores[2]
    one, many = (invariance_score(MODEL, X, SHIFT, 0.1, n_draws=n).values for n in (1, 30))
    assert many.std() < one.std()


# Models and input of every kind --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return staging(max_epochs=8, lr=0.03).fit(X, Y)


def test_batches_do_not_matter(fitted):
    expected = invariance_score(fitted, X, SHIFT, 0.3)
    assert expected.median < 1
    for size in (1, 7):
        found = invariance_score(fitted.set_params(batch_size=size), X, SHIFT, 0.3)
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=1e-4)
    fitted.set_params(batch_size=16)
    net = fitted.module_
    np.testing.assert_allclose(invariance_score(net, X, SHIFT, 0.3).values, expected.values, rtol=1e-3, atol=1e-4)
    assert not net.training


def test_a_network_is_left_as_it_was():
    """Each layer in the mode that it was in, and of any precision."""
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(400, 3)).double().train()
    net[0].eval()
    before = copy.deepcopy(net.state_dict())
    assert np.isfinite(float(invariance_score(net, X, "sign_flip")))
    assert [layer.training for layer in net] == [False, True, True] and net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("kind", ["epochs", "nights", "tensor", "float64"])
def test_every_kind_of_input(fitted, kind):
    expected = invariance_score(fitted, X, "frequency_shift", 0.3)  # the model knows the rate
    given = {
        "epochs": epochs,
        "nights": lambda: nights(n=1),
        "tensor": lambda: torch.from_numpy(X),
        "float64": lambda: X.astype("float64"),
    }[kind]()
    found = invariance_score(fitted, given, "frequency_shift", 0.3)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-3, atol=2e-2 if kind == "epochs" else 1e-6)
    assert (found.by_stage is not None) == (kind in ("epochs", "nights"))


def powers(X):
    return np.log(np.square(X).mean(2))


@pytest.mark.parametrize("kind", ["pipeline", "rows", "braindecode", "augnet"])
def test_every_kind_of_model(kind):
    signal = {"sfreq": SFREQ, "ch_names": CHANNELS}
    common = {"max_epochs": 2, "verbose": 0, "lr": 0.03}
    if kind == "pipeline":
        model, windows = make_pipeline(FunctionTransformer(powers), LogisticRegression()).fit(X, NAMES[Y]), X
        assert float(invariance_score(model, windows, "sign_flip")) == pytest.approx(1.0)
    elif kind == "rows":
        model = LogisticRegression(max_iter=20).fit(X.reshape(48, -1), Y)
    elif kind == "braindecode":
        model = EEGClassifier(SmallNet, module__n_chans=4, module__n_outputs=3, classes=[0, 1, 2], **common).fit(X, Y)
    else:
        model = AugNetClassifier(SmallNet, layers=["all"], random_state=0, **signal, **common).fit(X, Y)
    score = invariance_score(model, X, "gaussian_noise", 1.0, **signal)
    assert -2 < score.median < 1


def test_probabilities_and_logits_of_a_linear_model_agree():
    rows = X.reshape(48, -1)
    model = LogisticRegression(C=1e-3).fit(rows, Y)
    weights, bias = (torch.from_numpy(a).float() for a in (model.coef_, model.intercept_))
    network = Of(lambda X: X.flatten(1) @ weights.T + bias)
    a, b = (invariance_score(m, X, "gaussian_noise", 1.0) for m in (model, network))
    np.testing.assert_allclose(a.values, b.values, rtol=1e-3, atol=1e-4)


def test_policies_tuples_and_randomness_that_is_contained():
    before = global_random_states()
    policy = Policy.fixed_sleep(sfreq=SFREQ, ch_names=CHANNELS)
    for spec in (policy, ("frequency_shift", 0.5, 0.2), lambda X: X + torch.randn_like(X)):
        first, again, other = (
            invariance_score(MODEL, X, spec, sfreq=SFREQ, random_state=seed).values for seed in (0, 0, 1)
        )
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    for a, b in zip(global_random_states(), before, strict=True):
        assert torch.equal(a, b)
    half = invariance_score(MODEL, X, ("sign_flip", 0.5)).values
    assert 0.2 < np.mean(half == 1.0) < 0.8


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mode": "cosine"}, ValueError, "mode is 'cosine'"),
        ({"magnitude": 1.5}, ValueError, "magnitude is 1.5"),
        ({"n_draws": 0}, ValueError, "n_draws is 0"),
        ({"operation": "frequency_shft"}, ValueError, "unknown operation"),
        ({"operation": "frequency_shift"}, ValueError, "needs the sampling rate"),
        ({"operation": 3}, TypeError, "got a int"),
        ({"operation": lambda X: X[:, :2]}, ValueError, "made windows of shape"),
        ({"X": X[:1]}, ValueError, "one window"),
        ({"model": LinearSVC()}, TypeError, "no predict_proba"),
        ({"model": Of(lambda X: X)}, ValueError, "outputs of shape"),
        ({"y": Y[:5]}, ValueError, "48 windows and y has 5"),
        (
            {"operation": Policy.fixed_sleep(sfreq=100), "sfreq": SFREQ},
            ValueError,
            "the policy is for 100 Hz, the windows have 50 Hz",
        ),
        (
            {"operation": Policy.identity(ch_names=CHANNELS[::-1]), "ch_names": CHANNELS},
            ValueError,
            "do not fit the policy: channel order is F3, F4, C3, C4, the model needs C4, C3, F4, F3",
        ),
    ],
)
def test_wrong_input_is_named(arguments, error, words):
    arguments = {"model": MODEL, "X": X, "operation": "gaussian_noise"} | arguments
    with pytest.raises(error, match=words):
        invariance_score(**arguments)


# By stage, over strengths --------------------------------------------------------------------------------------------


def staged_windows():
    """Class 0 does not tell signs apart, class 1 does; the model sees the mean of each window."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    mean = np.where(y == 0, rng.uniform(2, 3, 80), rng.uniform(-1, 1, 80))
    return (mean[:, None, None] + np.zeros((80, 2, 20))).astype("float32"), y


def stage_model(X):
    mean = X.mean((1, 2))
    far = (mean.abs() > 1.5).float()
    return torch.stack((far * mean.abs(), (1 - far) * mean, (1 - far) * mean.square()), 1)


def test_stages_have_their_own_scores():
    windows, y = staged_windows()
    score = invariance_score(Of(stage_model), windows, "sign_flip", y=y)
    assert score.by_stage.index.tolist() == [0, 1]
    assert score.by_stage["n_windows"].tolist() == [40, 40]
    assert score.by_stage["median"][0] == 1.0
    assert score.by_stage["median"][1] < 0.5
    assert score.by_stage["low"][1] <= score.by_stage["median"][1] <= score.by_stage["high"][1]


def test_table_over_operations_magnitudes_and_stages(fitted):
    table = invariance_table(fitted, X, ["frequency_shift", "sign_flip"], [0.5, 0.1], y=Y)
    assert len(table) == (2 + 1) * (1 + 3)
    whole = table[table["stage"] == "all"].set_index(["operation", "magnitude"])
    score = invariance_score(fitted, X, "frequency_shift", 0.1)
    row = whole.loc[("frequency_shift", 0.1)]
    assert (row["median"], row["low"], row["high"]) == (score.median, score.low, score.high)
    assert row["strength"] == 0.5 and row["unit"] == "Hz"
    assert whole.loc[("frequency_shift", 0.5), "median"] < row["median"]
    # The network looks at powers: it cannot tell signs apart.
    assert table[table["operation"] == "sign_flip"]["median"].tolist() == pytest.approx([1.0] * 4, abs=1e-5)
    by_stage = invariance_score(fitted, X, "frequency_shift", 0.1, y=Y).by_stage
    found = table[(table["operation"] == "frequency_shift") & (table["magnitude"] == 0.1)].set_index("stage")
    assert [found.loc[s, "median"] for s in (0, 1, 2)] == by_stage["median"].tolist()


@pytest.mark.parametrize(
    ("measure", "n"),
    [
        (lambda operations: invariance_table(MODEL, X, operations, [0.5, 1.0]), 3),
        (lambda operations: intra_augmentation_variation(MODEL, X, operations, y=Y), 2),
        (lambda operations: transfer_matrix(staging().fit(X, Y), X, Y, operations), 3),  # one is the original
    ],
)
def test_measures_of_many_changes_tell_on_a_terminal_how_far_they_are(measure, n, monkeypatch, capsys):
    operations = ["gaussian_noise", "sign_flip"]
    quiet = measure(operations)
    assert capsys.readouterr().err == ""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    pd.testing.assert_frame_equal(measure(operations), quiet)
    assert f"{n}/{n}" in terminal.getvalue()


def test_groups_go_without_what_means_nothing():
    windows = np.random.default_rng(0).standard_normal((8, 2, 100)).astype("float32")
    model = Of(lambda X: X.mean(2))
    found = invariance_table(model, windows, "all", [0.5], ch_names=["Fpz", "Pz"])["operation"].tolist()
    assert "gaussian_noise" in found and "channels_dropout" in found
    assert "frequency_shift" not in found  # the sampling rate is not known
    assert "channels_symmetry" not in found  # two midline channels
    named = invariance_table(model, windows, {"weak": ("gaussian_noise", 1.0, 0.1)}, [0.5])
    assert named["operation"].tolist() == ["weak"]


def test_tolerated_magnitudes():
    rows = [
        *(
            ("shift", m, s, v)
            for s, vs in {"all": (0.95, 0.7, 0.99), 2: (0.99, 0.95, 0.91), 3: (0.5, 0.95, 0.95)}.items()
            for m, v in zip((0.1, 0.5, 1.0), vs, strict=True)
        ),
        *(("flip", np.nan, s, v) for s, v in {"all": 0.9, 2: 0.2, 3: np.nan}.items()),
    ]
    table = pd.DataFrame(rows, columns=["operation", "magnitude", "stage", "median"])
    found = tolerated_magnitudes(table)
    # Only up to where it first falls below.
    assert found["shift"].to_dict() == {"all": 0.1, 2: 1.0, 3: 0.0}
    assert found["flip"]["all"] == 1.0 and found["flip"][2] == 0.0 and np.isnan(found["flip"][3])
    assert tolerated_magnitudes(table, least=0.6)["shift"]["all"] == 1.0
    for wrong in (90, -0.1, np.nan, None):
        with pytest.raises(ValueError, match=rf"least is {wrong}; it lies in \[0, 1\]"):
            tolerated_magnitudes(table, least=wrong)


def test_an_operation_keeps_its_probability_at_every_magnitude():
    windows = np.random.default_rng(0).standard_normal((8, 5, 100)).astype("float32")
    never = {"never": ("gaussian_noise", 0.0, 0.1), "always": ("gaussian_noise", 1.0, 0.1)}
    table = invariance_table(Of(lambda X: X.mean(2)), windows, never, [0.5, 1.0]).set_index("operation")
    assert table.loc["never", "median"].tolist() == [1.0, 1.0]
    assert (table.loc["always", "median"] < 1).all()


def test_a_function_that_changes_its_input_leaves_the_windows_alone():
    windows = np.random.default_rng(0).standard_normal((8, 2, 100)).astype("float32")
    before = windows.copy()
    model = Of(lambda X: X.mean(2))
    assert float(invariance_score(model, windows, lambda X: X.mul_(-1.0))) < 1
    np.testing.assert_array_equal(windows, before)


def test_classes_of_nights_that_are_no_stages_are_called_by_their_names():
    about = {"ch_names": CHANNELS, "sfreq": SFREQ, "classes": ["rest", "left", "right"]}
    data = Nights([NightDataset(X, Y, subject="a", **about)])
    clf = staging(max_epochs=0).fit(data)
    expected = ["rest", "left", "right"]
    assert list(invariance_score(clf, data, "sign_flip").by_stage.index) == expected
    assert list(invariance_table(clf, data, ["sign_flip"])["stage"]) == ["all", *expected]
    found = transfer_matrix(clf, data, operations=["sign_flip"], per_stage=True)
    assert found.index.get_level_values("stage").tolist() == expected
