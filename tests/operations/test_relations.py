"""What has to hold of every operation with every option, whatever the values are."""

import pytest
import torch

from eegaug.operations import FAMILIES, get_operation

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]
N, N_CHANNELS = 5, len(MASS)
OPTIONS = {
    "time_masking": [{}, {"max_seconds": 0.3}, {"steepness": 0.3, "parity": True}],
    "ft_surrogate": [{}, {"channel_indep": True}, {"centred": True}],
    "frequency_shift": [{}, {"padded": True}],
    "bandstop_filter": [{}, {"reflect": True}, {"parity": True}],
    "channels_shuffle": [{}, {"parity": True}],
    "channels_dropout": [{}, {"parity": True}],
    "sensors_rotation_z": [{}, {"parity": True}],
}
CASES = [(name, options) for name in FAMILIES["all"] for options in OPTIONS.get(name, [{}])]
every_operation = pytest.mark.parametrize(("name", "options"), CASES)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def applied(name, options, n_times=97, dtype=torch.float64):
    """An operation, windows, draws and magnitudes of their own, one of them 0."""
    op = get_operation(name, sfreq=100, ch_names=MASS, **options)
    X = torch.randn(N, N_CHANNELS, n_times, generator=rng(1), dtype=dtype)
    magnitude = torch.tensor([0.0, 0.2, 0.5, 0.8, 1.0], dtype=dtype)
    return op, X, magnitude, op.draw(*X.shape, generator=rng(2))


@every_operation
@pytest.mark.parametrize("n_times", [1, 2, 16, 97])
def test_signals_add_up(name, options, n_times):
    op, X, magnitude, noise = applied(name, options, n_times)
    other = torch.randn(X.shape, generator=rng(3), dtype=X.dtype)
    Y, Z = op.apply(X, magnitude, noise), op.apply(other, magnitude, noise)
    if name == "gaussian_noise":  # what is added does not depend on the signal
        torch.testing.assert_close(Y - X, Z - other)
        return
    torch.testing.assert_close(op.apply(2 * X - 0.3 * other, magnitude, noise), 2 * Y - 0.3 * Z)
    for volts in (1e-12, 1e6):  # in single precision too
        small = op.apply((volts * X).float(), magnitude, noise) / volts
        torch.testing.assert_close(small.double(), Y, rtol=0, atol=1e-4)


@every_operation
def test_a_window_depends_on_no_other(name, options):
    op, X, magnitude, noise = applied(name, options)
    Y = op.apply(X, magnitude, noise)
    X[2, 1, 50] = torch.nan
    others = torch.arange(N) != 2
    torch.testing.assert_close(op.apply(X, magnitude, noise)[others], Y[others])


@every_operation
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_how_a_signal_lies_in_memory_changes_nothing(name, options, dtype):
    op, X, magnitude, noise = applied(name, options, dtype=dtype)
    X[:] = X[0]
    around = torch.full((N + 2, N_CHANNELS + 1, 2 * 97 + 3), torch.nan, dtype=dtype)
    around[1:-1, 1:, 3::2] = X
    expected = op.apply(X, magnitude, noise)
    for view in (X[:1].expand(N, -1, -1), X.permute(2, 1, 0).contiguous().permute(2, 1, 0), around[1:-1, 1:, 3::2]):
        before = view.clone()
        found = op.apply(view, magnitude, noise)
        torch.testing.assert_close(found, expected)
        assert torch.equal(view, before) and found.untyped_storage().data_ptr() != view.untyped_storage().data_ptr()
    with torch.inference_mode():
        assert torch.equal(op.apply(X, magnitude, noise), expected)


# In a shuffle the order of the channels says who takes whose signal.
@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] != "channels_shuffle"])
def test_channels_may_come_in_any_order(name, options):
    op, X, magnitude, noise = applied(name, options)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    other = get_operation(name, sfreq=100, ch_names=[MASS[i] for i in order], **options)
    moved = {
        key: value[:, order] if value.ndim > 1 and value.shape[1] == N_CHANNELS else value
        for key, value in noise.items()
    }
    found = other.apply(X[:, order], magnitude, moved)
    torch.testing.assert_close(found, op.apply(X, magnitude, noise)[:, order], rtol=1e-5, atol=1e-6)


NOT_THE_SAME_AT_ALL_TIMES = ("time_reverse", "time_masking", "gaussian_noise", "frequency_shift")


@pytest.mark.parametrize(("name", "options"), [case for case in CASES if case[0] not in NOT_THE_SAME_AT_ALL_TIMES])
def test_a_signal_that_comes_later_does_so_afterwards(name, options):
    op, X, magnitude, noise = applied(name, options | ({"reflect": False} if name == "bandstop_filter" else {}))
    later = op.apply(X.roll(31, -1), magnitude, noise)
    torch.testing.assert_close(later, op.apply(X, magnitude, noise).roll(31, -1))
