import numpy as np
import pytest
import torch

from eegaug.operations import get_operation, list_operations
from eegaug.policies.ready_made import usable_operations
from eegaug.policy import Policy

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def names(policy):
    return [[step.operation for step in sub.operations] for sub in policy.sub_policies]


class TestUniform:
    def test_every_operation_alike_over_all_strengths(self):
        policy = Policy.uniform(sfreq=100, ch_names=MASS)
        assert names(policy) == [[name] for name in list_operations()]
        steps = [sub.operations[0] for sub in policy.sub_policies]
        assert {step.probability for step in steps} == {0.5}
        assert [step.magnitude for step in steps if step.operation == "sign_flip"] == [None]
        assert {
            step.magnitude for step in steps if step.operation not in ("sign_flip", "time_reverse", "channels_symmetry")
        } == {(0.0, 1.0)}

    def test_strengths_differ_between_windows(self):
        policy = Policy.uniform(operations=["gaussian_noise"], probability=1.0)
        spread = policy.apply(torch.zeros(2000, 1, 400), generator=rng()).std(-1)[:, 0]
        assert float(spread.mean()) == pytest.approx(0.1, abs=0.005)
        assert float(spread.std()) == pytest.approx(0.2 / 12**0.5, abs=0.005)


def test_trivial_augment_may_do_nothing_and_is_otherwise_certain():
    policy = Policy.trivial_augment(operations=["sign_flip"], max_magnitude=0.5)
    assert names(policy) == [["sign_flip"], []]
    out = policy.apply(torch.ones(4000, 1, 1), generator=rng())
    assert float((out < 0).double().mean()) == pytest.approx(0.5, abs=0.03)
    (first, *_) = Policy.trivial_augment(operations=["gaussian_noise"], max_magnitude=0.5).sub_policies
    assert first.operations[0].magnitude == (0.0, 0.5) and first.operations[0].probability == 1.0


def test_rand_augment_applies_several_in_a_row():
    policy = Policy.rand_augment(operations=["sign_flip", "gaussian_noise"], n_operations=2, magnitude=1.0)
    assert policy.draws == 2 and names(policy) == [["sign_flip"], ["gaussian_noise"], []]
    out = policy.apply(torch.ones(9000, 1, 500), generator=rng())
    noise = out.std(-1)[:, 0]
    # Of two draws from three: both noise 1/9, one of the two 4/9, none 4/9.
    twice, once = noise > 0.24, (noise > 0.1) & (noise < 0.24)
    assert [float(kind.double().mean()) for kind in (twice, once)] == pytest.approx([1 / 9, 4 / 9], abs=0.02)
    assert "Draws 2 of 3 sub-policies for each window, one after the other." in policy.describe()


@pytest.mark.parametrize("number", [np.int64, np.int32, torch.tensor])
@pytest.mark.parametrize("real", [np.float64, np.float32, torch.tensor])
def test_numbers_of_numpy_and_torch(number, real):
    noise = {"operations": ["gaussian_noise"]}
    policy = Policy.rand_augment(**noise, n_operations=number(3), magnitude=real(0.25))
    assert policy == Policy.rand_augment(**noise, n_operations=3, magnitude=0.25)
    assert [type(value) for value in policy.settings.values()] == [int, float]
    trivial = Policy.trivial_augment(**noise, max_magnitude=real(0.25))
    assert trivial == Policy.trivial_augment(**noise, max_magnitude=0.25)
    assert type(trivial.settings["max_magnitude"]) is float


@pytest.mark.parametrize("wrong", [2.0, True, "2", np.True_, np.float64(2)])
def test_a_number_of_operations_is_a_whole_number(wrong):
    with pytest.raises(ValueError, match="draws"):
        Policy.rand_augment(operations=["gaussian_noise"], n_operations=wrong)


def test_where_nothing_is_said_of_strengths():
    for made, magnitude in ((Policy.trivial_augment, (0.0, 1.0)), (Policy.rand_augment, 0.3)):
        policy = made(operations=["gaussian_noise"])
        assert policy.sub_policies[0].operations[0].magnitude == magnitude
    assert policy.draws == 2


@pytest.mark.parametrize("kind", ["uniform", "trivial_augment", "rand_augment", "random", "fixed_sleep"])
def test_the_signal_is_kept(kind):
    own = {} if kind == "fixed_sleep" else {"operations": ["sign_flip"]}
    policy = getattr(Policy, kind)(sfreq=100, ch_names=["C3", "C4"], **own)
    assert (policy.sfreq, policy.ch_names) == (100.0, ("C3", "C4"))


class TestRandom:
    def test_seed(self):
        one, same, other = (Policy.random(sfreq=100, ch_names=MASS, random_state=seed) for seed in (0, 0, 1))
        assert one == same and one != other
        assert [len(steps) for steps in names(one)] == [2] * 5

    def test_covers_the_space_evenly(self):
        policy = Policy.random(sfreq=100, operations="time-frequency", n_sub_policies=600, random_state=0)
        steps = [step for sub in policy.sub_policies for step in sub.operations]
        for name in list_operations("time-frequency"):
            share = sum(step.operation == name for step in steps) / len(steps)
            assert share == pytest.approx(1 / 6, abs=0.04)
        assert sum(step.probability for step in steps) / len(steps) == pytest.approx(0.5, abs=0.03)
        magnitudes = [step.magnitude for step in steps if step.magnitude is not None]
        assert sum(magnitudes) / len(magnitudes) == pytest.approx(0.5, abs=0.03)


class TestUsableOperations:
    def test_a_group_goes_without_what_the_signal_does_not_allow(self, recwarn):
        found = [op.name for op in usable_operations("all", 100.0, ["Fpz", "Pz"])]
        assert "channels_symmetry" not in found and "sign_flip" in found
        assert [op.name for op in usable_operations("sensors")] == ["sign_flip", "channels_shuffle", "channels_dropout"]
        assert not [w for w in recwarn if issubclass(w.category, UserWarning)]

    def test_a_list_must_be_possible(self):
        with pytest.raises(ValueError, match="frequency_shift needs the sampling rate"):
            usable_operations(["frequency_shift"])
        op = get_operation("frequency_shift", sfreq=100, max_strength=1.0)
        assert usable_operations([op]) == [op]

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ([], "no operation to choose from"),
            (["sign_flip", "sign_flip"], "names sign_flip twice"),
            ("sign_flip", r"unknown group of operations 'sign_flip'.*\['sign_flip'\]"),
            (["swirl"], "unknown operation 'swirl'; known are"),
        ],
    )
    def test_refusals(self, given, reason):
        with pytest.raises(ValueError, match=reason):
            usable_operations(given)


@pytest.mark.parametrize("wrong", ["100", 0, float("nan")])
def test_a_sampling_rate_that_is_none_is_named(wrong):
    with pytest.raises(ValueError, match=f"sfreq is {wrong!r} Hz; it has to be a number above 0"):
        Policy.fixed_sleep(sfreq=wrong, ch_names=["C3", "C4"])
