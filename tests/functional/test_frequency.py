import numpy as np
import pytest
import scipy.signal
import torch

from eegaug import functional as F


@pytest.mark.parametrize("n_times", [100, 101])
def test_hilbert_is_scipys(n_times):
    X = torch.randn(3, n_times, dtype=torch.float64)
    np.testing.assert_allclose(F.hilbert(X).numpy(), scipy.signal.hilbert(X.numpy()).imag, atol=1e-12)
    padded = np.pad(X.numpy(), ((0, 0), (0, 128 - n_times)))
    np.testing.assert_allclose(F.hilbert(X, 128).numpy(), scipy.signal.hilbert(padded).imag[:, :n_times], atol=1e-12)


def test_modulation_is_the_analytic_signal_times_a_rotor():
    X = torch.randn(2, 3, 64, dtype=torch.float64)
    shift = torch.tensor([1.5, -4.0], dtype=torch.float64)
    rotor = np.exp(2j * np.pi * shift.numpy()[:, None, None] * np.arange(64) / 32)
    expected = (scipy.signal.hilbert(X.numpy()) * rotor).real
    np.testing.assert_allclose(F.frequency_shift(X, shift, 32.0).numpy(), expected, atol=1e-12)


def test_no_change_is_exact():
    X = torch.randn(2, 3, 99)
    zero = torch.zeros(2)
    assert torch.equal(F.frequency_shift(X, zero, 100.0), X)
    assert torch.equal(F.filter_change(X, F.notch_change(zero + 10, zero, 99, 100.0)), X)
    assert torch.equal(F.filter_change(X, F.phase_change(torch.zeros(2, 1, 49), 99)), X)


def test_phase_change_is_a_rotor():
    phase = torch.rand(2, 3, 49, dtype=torch.float64) * 6
    change = F.phase_change(phase, 100)
    np.testing.assert_allclose(change[..., 1:-1].numpy() + 1, np.exp(1j * phase.numpy()), atol=1e-14)
    assert torch.equal(change[..., [0, -1]], torch.zeros(2, 3, 2, dtype=change.dtype))


def test_notch_depth_and_width():
    centre, bandwidth = torch.tensor([10.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64)
    change = F.notch_change(centre, bandwidth, 30_000, 100.0)[0, 0]  # 300 bins per Hz
    # Width at half gain is the bandwidth plus the transition; depth is tanh(w / 4 softness).
    width = float((change < -0.5).sum()) / 300
    assert width == pytest.approx(2.5, abs=0.01)
    assert float(-change[3000]) == pytest.approx(np.tanh(2.5 / (4 * 0.07)), abs=1e-9)


def test_notch_opens_at_once():
    bandwidth = torch.zeros(1, requires_grad=True)
    F.notch_change(torch.tensor([10.0]), bandwidth, 3000, 100.0).sum().backward()
    assert float(bandwidth.grad) < -1  # it begins to remove as soon as the bandwidth grows
