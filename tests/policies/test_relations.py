"""What has to hold of every policy, whatever it does: policies drawn at random, and words that can be measured."""

import copy
import math
import pickle
import random
import re

import numpy as np
import pytest
import torch

from eegaug.montage import electrode_positions
from eegaug.operations import FAMILIES, get_operation
from eegaug.policy import ClassPolicy, Policy

CAP = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "O1", "O2"]
CHANNELS = ["C3", "Cz", "C4", "T8", "P7"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(lots, draws=2):
    """A policy of up to four sub-policies of up to three operations."""

    def step():
        name = lots.choice(FAMILIES["all"])
        high = lots.choice([0.0, lots.random(), 1.0])
        magnitude = lots.choice([high, (high * lots.random(), high)])
        has_magnitude = get_operation(name, sfreq=200.5, ch_names=CHANNELS, warn=False).has_magnitude
        return name, lots.choice([0.0, lots.random(), 1.0]), magnitude if has_magnitude else None

    subs = [
        {"operations": [step() for _ in range(lots.randint(0, 3))], "weight": lots.choice([1e-3, 1, 7])}
        for _ in range(lots.randint(1, 4))
    ]
    return Policy(sub_policies=subs, draws=draws, sfreq=200.5, ch_names=CHANNELS)


def example(seed):
    """A policy, or one for each of two classes; windows and labels."""
    lots = random.Random(seed)
    X, y = torch.randn(12, len(CHANNELS), 97, generator=rng(seed)), None
    policy = drawn(lots)
    if seed % 2:
        policy, y = ClassPolicy(classes=["W", "N2"], policies=[policy, drawn(lots)]), np.array(["W", "N2", "N2"] * 4)
    return policy, X, y


def windows_of(out, y):
    return out if y is None else out[0]


def augmented(policy, X, y, generator=None):
    return windows_of(policy.apply(X, y, generator or rng()), y)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_became_of_it_a_policy_does_the_same(seed, tmp_path):
    policy, X, y = example(seed)
    Y = augmented(policy, X, y)
    policy.save(tmp_path / "policy.json")
    others = [Policy.load(tmp_path / "policy.json"), type(policy)(**policy.model_dump()), type(policy)(**dict(policy))]
    for other in (*others, copy.deepcopy(policy), pickle.loads(pickle.dumps(policy)), policy.model_copy(deep=True)):
        assert other == policy and hash(other) == hash(policy)
        assert other.describe() == policy.describe() and other.table().equals(policy.table())
        assert torch.equal(augmented(other, X, y), Y)
    transform = policy.to_braindecode(random_state=seed)
    draws = copy.deepcopy(transform.generators).get(X.device)
    again = pickle.loads(pickle.dumps(transform))
    for one in (transform, again):
        twice = [windows_of(one(X, y), y) for _ in range(2)]
        state = draws.get_state()
        assert all(torch.equal(found, augmented(policy, X, y, draws)) for found in twice)
        draws.set_state(state)


@pytest.mark.parametrize("seed", range(8))
def test_only_the_windows_themselves_matter(seed):
    policy, X, y = example(seed)
    before, Y = X.clone(), augmented(policy, X, y)
    assert torch.equal(X, before)
    views = [X.permute(2, 1, 0).contiguous().permute(2, 1, 0), torch.stack([X, X], -1)[..., 0]]
    for view in views:
        torch.testing.assert_close(augmented(policy, view, y), Y)
    assert torch.equal(augmented(policy, X[:, None], y)[:, 0], Y)
    with torch.inference_mode():
        assert torch.equal(augmented(policy, X, y), Y)
    torch.testing.assert_close(augmented(policy, X.double(), y).float(), Y, rtol=1e-3, atol=1e-3)
    X[3] = torch.nan
    others = torch.arange(len(X)) != 3
    torch.testing.assert_close(augmented(policy, X, y)[others], Y[others])


# -- words ---------------------------------------------------------------------------------------------------------


def told(operation, magnitude, pattern, sfreq, ch_names=None, **options):
    """A policy of one operation, and the number that its words tell."""
    step = (operation, 1.0, magnitude, options)
    policy = Policy(sub_policies=[{"operations": [step]}], sfreq=sfreq, ch_names=ch_names)
    number = float(re.search(pattern, policy.describe())[1])
    assert policy.table()["strength"][0] == pytest.approx(number, rel=1e-3)
    return policy, number


@pytest.mark.parametrize("sfreq", [50, 64, 100, 128, 200.5, 256])
class TestWordsAreWhatIsDone:
    def test_frequency_shift(self, sfreq):
        policy, hz = told("frequency_shift", 0.5, r"±([\d.]+) Hz", sfreq)
        n = int(30 * sfreq)
        X = torch.sin(2 * math.pi * 10 * torch.arange(n) / sfreq).expand(100, 1, -1).double()
        Y = policy.apply(X, generator=rng()) * torch.hann_window(n)
        moved = torch.fft.rfft(Y, n=2**17).abs().argmax(-1) * sfreq / 2**17 - 10
        assert hz == 2.5 and 0.95 * hz < moved.max() < hz + 0.01 and 0.95 * hz < -moved.min() < hz + 0.01

    def test_gaussian_noise(self, sfreq):
        policy, sd = told("gaussian_noise", 0.35, r"deviation ([\d.]+)", sfreq)
        found = policy.apply(torch.zeros(10, 2, 3000), generator=rng())
        assert sd == 0.07 and found.std() == pytest.approx(sd, rel=0.02) and abs(found.mean()) < 0.002

    @pytest.mark.parametrize("options", [{}, {"max_seconds": 2.0}])
    def test_time_masking(self, sfreq, options):
        policy, samples = told("time_masking", 0.5, r"of ([\d.]+) samples", sfreq, **options)
        removed = 1 - policy.apply(torch.ones(50, 1, int(30 * sfreq)), generator=rng())
        assert samples == pytest.approx(sfreq if options else 100)
        assert removed.sum(-1).mean() == pytest.approx(samples, rel=0.01)

    def test_bandstop_filter(self, sfreq):
        policy, hz = told("bandstop_filter", 0.75, r"of ([\d.]+) Hz", sfreq)
        n = int(60 * sfreq)
        X = torch.zeros(50, 1, n, dtype=torch.float64)
        X[..., 0] = 1
        removed = 1 - torch.fft.rfft(policy.apply(X, generator=rng())).abs()
        # The band, and the transitions that MNE's notch has, too: half of each lies at half of the gain.
        assert removed.sum(-1).mean() * sfreq / n == pytest.approx(hz + 0.5, rel=0.01)
        centre = removed.argmax(-1) * sfreq / n
        assert 1 <= centre.min() < 3 and min(30, sfreq / 2) - 4 < centre.max() <= min(30, sfreq / 2) - 1

    def test_ft_surrogate(self, sfreq):
        policy, rad = told("ft_surrogate", 0.25, r"to ([\d.]+) rad", sfreq)
        X = torch.randn(4, 1, int(5 * sfreq), dtype=torch.float64, generator=rng(1))
        turned = (torch.fft.rfft(policy.apply(X, generator=rng())) / torch.fft.rfft(X)).angle()[..., 1:-1]
        assert rad == pytest.approx(math.pi / 2, rel=1e-3)
        assert -1e-6 < turned.min() < 0.05 and 0.95 * rad < turned.max() < rad + 1e-3


@pytest.mark.parametrize(("axis", "i", "j"), [("x", 1, 2), ("y", 2, 0), ("z", 0, 1)])
def test_words_on_rotations_are_what_is_done(axis, i, j):
    policy, degrees = told(f"sensors_rotation_{axis}", 0.4, r"±([\d.]+) degrees", None, CAP)
    # Three fields that rise along x, y and z: what the turned cap reads of them says how it was turned.
    places = torch.from_numpy(electrode_positions(CAP))
    read = policy.apply(places.expand(100, -1, -1).clone(), generator=rng())
    turn = torch.linalg.lstsq(places.expand_as(read), read).solution
    angle = torch.rad2deg(torch.atan2(turn[:, i, j], turn[:, j, j]))
    assert degrees == 12 and 0.95 * degrees < angle.max() < degrees and 0.95 * degrees < -angle.min() < degrees
