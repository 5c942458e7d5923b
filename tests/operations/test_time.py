import numpy as np
import pytest
import torch
from braindecode.augmentation import functional as braindecode

from eegaug.operations import get_operation

from .base import OperationTests, rng, signal


class TestTimeReverse(OperationTests):
    name = "time_reverse"
    random = False

    def test_is_its_own_inverse(self):
        X = signal(3, 6, 101)
        op = self.op()
        assert torch.equal(op(op(X)), X) and torch.equal(op(X)[..., 0], X[..., -1])

    @pytest.mark.parametrize("n_times", [100, 101])
    def test_keeps_amplitudes_and_conjugates_phases(self, n_times):
        X = signal(3, 6, n_times, dtype=torch.float64)
        Y = self.op()(X)
        F, G = torch.fft.rfft(X), torch.fft.rfft(Y)
        torch.testing.assert_close(G.abs(), F.abs())
        # Reversed in place, a window is also moved by n_times - 1 samples.
        k = torch.arange(n_times // 2 + 1, dtype=torch.float64)
        moved = torch.polar(torch.ones_like(k), 2 * torch.pi * k / n_times)
        torch.testing.assert_close(G, F.conj() * moved)
        torch.testing.assert_close(Y.mean(-1), X.mean(-1))
        torch.testing.assert_close(Y.var(-1), X.var(-1))

    def test_same_as_braindecode(self):
        X = signal(3, 6, 100)
        assert torch.equal(self.op()(X), braindecode.time_reverse(X, None)[0])


class TestTimeMasking(OperationTests):
    name = "time_masking"
    variants = ({"max_strength": 15.0}, {"max_strength": 40.0, "steepness": 1.0})

    @pytest.mark.parametrize("length", [10, 50, 100, 200])
    @pytest.mark.parametrize("n_times", [3000, 3840])
    def test_removes_its_length(self, length, n_times):
        gain = self.op().time_gain(torch.tensor([length / 200]), {"u": torch.tensor([0.5])}, n_times)
        assert gain.shape == (1, 1, n_times)
        assert float((1 - gain).sum()) == pytest.approx(length, rel=0.01)

    @pytest.mark.parametrize(
        ("n_times", "deepest"), [(3000, [1.0, 0.32, 0.03, 0.0005, 0.0]), (3840, [1.0, 0.43, 0.07, 0.003, 0.0])]
    )
    def test_depth(self, n_times, deepest):
        # Longest mask 100 samples: lengths 0, 10, 25, 50, 100.
        magnitude = torch.tensor([0.0, 0.1, 0.25, 0.5, 1.0])
        gain = self.op(max_strength=100).time_gain(magnitude, {"u": torch.tensor([0.5])}, n_times)
        assert gain.amin((1, 2)).tolist() == pytest.approx(deepest, abs=0.006)

    def test_removed_samples_grow_by_one_for_each_sample_of_length(self):
        magnitude = torch.tensor([0.5], requires_grad=True)
        removed = (1 - self.op().time_gain(magnitude, {"u": torch.tensor([0.5])}, 3000)).sum()
        (slope,) = torch.autograd.grad(removed, magnitude)
        assert float(slope) / 200 == pytest.approx(1.0, abs=1e-3)

    def test_cut_at_the_start_of_the_window(self):
        gain = self.op().time_gain(torch.tensor([1.0]), {"u": torch.tensor([0.0])}, 3000)
        assert float((1 - gain).sum()) == pytest.approx(198, abs=0.5)

    def test_same_on_all_channels(self):
        Y = self.op()(torch.ones(2, 6, 500), 1.0, generator=rng())
        assert torch.equal(Y, Y[:, :1].expand_as(Y))

    def test_longer_than_the_window(self):
        gain = self.op(max_strength=5000).time_gain(torch.tensor([1.0]), {"u": torch.tensor([0.3])}, 3000)
        assert float(gain[..., 100:-100].max()) < 1e-6

    def test_seconds(self):
        seconds = get_operation("time_masking", sfreq=128, max_seconds=2)
        assert seconds.max_strength == 256 and seconds.unit == "samples"
        assert get_operation(**seconds.get_config()) == seconds
        assert get_operation(**{**seconds.get_config(), "sfreq": 100}).max_strength == 200
        with pytest.raises(ValueError, match="sampling rate for max_seconds"):
            get_operation("time_masking", max_seconds=2)
        with pytest.raises(ValueError, match="not both"):
            get_operation("time_masking", sfreq=128, max_seconds=2, max_strength=100)

    def test_steepness(self):
        flank = self.op(steepness=1.0).time_gain(torch.tensor([1.0]), {"u": torch.tensor([0.5])}, 3000)[0, 0]
        # 4.39 / steepness samples from 90 to 10 %.
        inside = ((flank > 0.1) & (flank < 0.9)).sum()
        assert int(inside) in (8, 10)  # two flanks of 4 or 5 samples
        with pytest.raises(ValueError, match=r"steepness must be a positive number, got -1"):
            self.op(steepness=-1)

    @pytest.mark.parametrize("n_times", [3000, 777])
    def test_same_as_braindecode(self, n_times):
        X = signal(5, 6, n_times)
        op, noise = self.drawn(X)
        length = 150
        expected, _ = braindecode.smooth_time_mask(X, None, noise["u"] * (n_times - length), length)
        torch.testing.assert_close(op.apply(X, length / 200, noise), expected, rtol=0, atol=5e-5)


class TestGaussianNoise(OperationTests):
    name = "gaussian_noise"
    variants = ({"max_strength": 3.0},)

    def test_law(self):
        X = signal(4, 6, 5000)
        added = self.op()(X, 0.6, generator=rng()) - X
        n = added.numel()
        assert float(added.std()) == pytest.approx(0.12, abs=3 * 0.12 / np.sqrt(2 * n))
        assert float(added.mean()) == pytest.approx(0.0, abs=3 * 0.12 / np.sqrt(n))
        assert abs(float((added * X).mean())) < 3 * 0.12 / np.sqrt(n) * float(X.std())

    def test_derivative_is_the_noise(self):
        X = signal(2, 6, 50)
        op, noise = self.drawn(X)
        _, slope = torch.func.jvp(lambda m: op.apply(X, m, noise), (torch.tensor(0.3),), (torch.tensor(1.0),))
        torch.testing.assert_close(slope, 0.2 * noise["noise"])

    def test_same_as_braindecode(self):
        X = signal(3, 6, 100)
        drawn = np.random.RandomState(7).normal(size=X.shape)
        expected, _ = braindecode.gaussian_noise(X, None, 0.1, random_state=7)
        torch.testing.assert_close(self.op().apply(X, 0.5, {"noise": torch.from_numpy(drawn)}), expected)


def test_masks_longer_than_the_window_keep_the_dtype_whatever_the_default_is():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        magnitude = torch.tensor(0.1, dtype=torch.float32, requires_grad=True)
        get_operation("time_masking")(torch.randn(2, 1, 50, dtype=torch.float32), magnitude).sum().backward()
    finally:
        torch.set_default_dtype(before)
    assert magnitude.grad.dtype == torch.float32
