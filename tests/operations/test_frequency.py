import itertools

import mne
import numpy as np
import pytest
import torch
from braindecode.augmentation import functional as braindecode

from eegaug.operations import get_operation

from .base import OperationTests, rng, signal


def sine(freq, n_times=3000, sfreq=100.0, dtype=torch.float32):
    t = torch.arange(n_times, dtype=torch.float64) / sfreq
    return torch.sin(2 * torch.pi * freq * t).to(dtype)[None, None]


def peak(X, sfreq=100.0):
    """Frequency of the highest peak, in Hz."""
    return float(torch.fft.rfft(X.double()).abs().argmax()) * sfreq / X.shape[-1]


class TestFTSurrogate(OperationTests):
    name = "ft_surrogate"
    variants = ({"centred": True}, {"channel_indep": True, "max_strength": 2.0})

    @pytest.mark.parametrize("channel_indep", [False, True])
    @pytest.mark.parametrize("n_times", [3000, 3001])
    def test_keeps_amplitudes(self, n_times, channel_indep):
        X = signal(4, 6, n_times, dtype=torch.float64)
        X = (X - X.mean(-1, keepdim=True)) / X.std(-1, keepdim=True)
        Y = self.op(channel_indep=channel_indep)(X, 1.0, generator=rng())
        F, G = torch.fft.rfft(X), torch.fft.rfft(Y)
        assert (F.abs() - G.abs()).abs().max() < 1e-5
        torch.testing.assert_close(Y.pow(2).sum(-1), X.pow(2).sum(-1))
        torch.testing.assert_close(G[..., 0], F[..., 0])
        if n_times % 2 == 0:
            torch.testing.assert_close(G[..., -1], F[..., -1])

    def test_keeps_amplitudes_in_single_precision(self):
        X = signal(4, 6, 3000)
        Y = self.op()(X, 1.0, generator=rng())
        # In units of a coefficient of a unit-variance window, sqrt(3000).
        assert (torch.fft.rfft(X).abs() - torch.fft.rfft(Y).abs()).abs().max() / np.sqrt(3000) < 1e-5

    def test_shared_phases_keep_what_channels_have_in_common(self):
        X = signal(4, 6, 3000, dtype=torch.float64)

        def cross(Z):
            F = torch.fft.rfft(Z)
            return F[:, 0] * F[:, 1].conj()

        shared = self.op()(X, 1.0, generator=rng())
        own = self.op(channel_indep=True)(X, 1.0, generator=rng())
        scale = cross(X).abs().mean()
        assert (cross(shared) - cross(X)).abs().max() / scale < 1e-3
        assert (cross(own) - cross(X)).abs().mean() / scale > 0.5

    def test_decorrelated_at_one(self):
        X = signal(64, 2, 1000)
        Y = get_operation(self.name, channel_indep=True)(X, 1.0, generator=rng())
        correlation = (X * Y).mean(-1) / (X.std(-1) * Y.std(-1))
        assert abs(float(correlation.mean())) < 3 / np.sqrt(128 * 1000) * 2

    def test_mean_phase(self):
        # E exp(i phase) = 2i / pi = 0.637i at half the magnitude; without the common turn when centred.
        F = torch.polar(torch.ones(1, 1, 1501), torch.zeros(1, 1, 1501))
        op, centred = self.op(), self.op(centred=True)
        noise = op.draw(200, 1, 3000, generator=rng())
        half = torch.tensor([0.5])
        mean = (F + op.spectral_change(half, noise, 3000))[..., 1:-1].mean()
        assert mean.imag.item() == pytest.approx(0.637, abs=0.005) and abs(mean.real.item()) < 0.005
        mean = (F + centred.spectral_change(half, noise, 3000))[..., 1:-1].mean()
        assert mean.real.item() == pytest.approx(0.637, abs=0.005) and abs(mean.imag.item()) < 0.005

    @pytest.mark.parametrize("channel_indep", [False, True])
    @pytest.mark.parametrize("n_times", [300, 301])
    def test_same_as_braindecode(self, n_times, channel_indep):
        X = signal(3, 6, n_times)
        u = np.random.RandomState(3).random_sample((3, 6 if channel_indep else 1, (n_times - 1) // 2))
        expected, _ = braindecode.ft_surrogate(X, None, 0.8, channel_indep, random_state=3)
        Y = self.op(channel_indep=channel_indep).apply(X, 0.8, {"u": torch.from_numpy(u)})
        torch.testing.assert_close(Y, expected, rtol=0, atol=5e-6)


class TestFrequencyShift(OperationTests):
    name = "frequency_shift"
    variants = ({"padded": True}, {"max_strength": 1.5})

    def shifted(self, X, shift_hz, **options):
        """Shift by exactly `shift_hz`, with magnitude 1 and the draw that gives it."""
        op = get_operation(self.name, sfreq=100, **options)
        return op.apply(X, 1.0, {"u": torch.tensor([(shift_hz / 5 + 1) / 2], dtype=torch.float64)})

    @pytest.mark.parametrize("padded", [False, True])
    @pytest.mark.parametrize(("freq", "shift", "found"), [(10, 2.3, 12.3), (3, -1.5, 1.5), (20, 5, 25), (20, -5, 15)])
    def test_moves_a_peak(self, freq, shift, found, padded):
        Y = self.shifted(sine(freq), shift, padded=padded)
        assert peak(Y) == pytest.approx(found, abs=1 / 60)
        assert float(Y.std()) == pytest.approx(float(sine(freq).std()), rel=0.01)

    @pytest.mark.parametrize(("freq", "shift", "found"), [(1, -2, 1), (48, 4, 48)])
    def test_folds_back(self, freq, shift, found):
        assert peak(self.shifted(sine(freq), shift)) == pytest.approx(found, abs=1 / 30)

    @pytest.mark.parametrize(("padded", "edge"), [(False, 0.01), (True, 0.31)])
    def test_error_for_a_sine(self, padded, edge):
        # A whole number of periods is exact without padding; zeros beside the window disturb its ends.
        t = torch.arange(3000, dtype=torch.float64) / 100
        error = (self.shifted(sine(10), 2.3, padded=padded) - torch.sin(2 * torch.pi * 12.3 * t)).abs()
        assert error[..., 300:-300].max() <= 0.007 and error.max() <= edge

    def test_keeps_phase_differences(self):
        t = torch.arange(3000, dtype=torch.float64) / 100
        X = torch.stack([torch.sin(2 * torch.pi * 10 * t), torch.sin(2 * torch.pi * 10 * t + 0.7)])[None]
        op = get_operation("frequency_shift", sfreq=100)
        Y = op.apply(X, 0.4, {"u": torch.ones(1)})
        at = torch.fft.rfft(Y)[0, :, 360]  # 12 Hz
        assert float((at[1] / at[0]).angle()) == pytest.approx(0.7, abs=0.01)

    def test_shift_is_uniform_between_both_signs(self):
        op = self.op()
        noise = op.draw(2000, 1, 10, generator=rng())
        cos, sin = op.modulation(torch.tensor([0.2]), noise, 3)
        hz = torch.atan2(sin[:, 0, 1], cos[:, 0, 1]) * 100 / (2 * torch.pi)
        assert float(hz.min()) == pytest.approx(-1, abs=0.01) and float(hz.max()) == pytest.approx(1, abs=0.01)
        assert abs(float(hz.mean())) < 3 / np.sqrt(3 * 2000)

    def test_long_windows_keep_their_phase(self):
        # One hour: thousands of turns, of which single precision would lose the fraction.
        op = get_operation("frequency_shift", sfreq=100)
        cos, _ = op.modulation(torch.tensor([1.0]), {"u": torch.tensor([0.9])}, 360_000)
        t = np.arange(360_000) / 100
        hz = float(2 * torch.tensor(0.9) - 1) * 5
        assert np.abs(cos[0, 0].numpy() - np.cos(2 * np.pi * hz * t)).max() < 1e-5

    @pytest.mark.parametrize("n_times", [300, 301, 256])
    def test_same_as_braindecode(self, n_times):
        X = signal(4, 6, n_times)
        op = self.op(parity=True)
        assert op.padded
        noise = op.draw(4, 6, n_times, generator=rng())
        hz = (2 * noise["u"].double() - 1) * 5 * 0.6
        expected, _ = braindecode.frequency_shift(X, None, hz, 100.0)
        torch.testing.assert_close(op.apply(X, 0.6, noise), expected, rtol=0, atol=2e-5)

    def test_needs_the_sampling_rate(self):
        with pytest.raises(ValueError, match=r"frequency_shift needs the sampling rate; pass sfreq"):
            get_operation("frequency_shift")
        with pytest.raises(ValueError, match=r"sfreq must be a positive number of Hz, got -100"):
            get_operation("frequency_shift", sfreq=-100)


class TestBandstopFilter(OperationTests):
    name = "bandstop_filter"
    variants = ({"reflect": True}, {"max_strength": 1.0, "max_freq": 20.0})

    def filtered(self, X, centre, bandwidth, **options):
        """Filter `bandwidth` Hz around exactly `centre`."""
        op = get_operation(self.name, sfreq=100, max_strength=bandwidth, max_freq=50, **options)
        low, high = 1 + bandwidth / 2, 49 - bandwidth / 2
        return op.apply(X, 1.0, {"u": torch.tensor([(centre - low) / (high - low)], dtype=torch.float64)})

    def test_gain_beside_the_centre(self):
        gains = [
            float(self.filtered(sine(20 + offset), 20, 2.0)[..., 500:-500].std() / sine(20)[..., 500:-500].std())
            for offset in (0, 0.5, 1, 1.25, 1.5, 2)
        ]
        assert gains == pytest.approx([0.0, 0.0, 0.03, 0.52, 0.97, 1.0], abs=0.02)

    @pytest.mark.parametrize(
        ("bandwidth", "apart", "removed"), [(0.5, 0.020, 0.129), (1, 0.021, 0.163), (2, 0.024, 0.216)]
    )
    def test_close_to_mne(self, bandwidth, apart, removed):
        X = signal(24, 1, 3000, dtype=torch.float64, seed=2)
        Y = self.filtered(X, 20.0, bandwidth)
        reference = mne.filter.notch_filter(
            X.numpy(), 100.0, freqs=20.0, notch_widths=bandwidth, method="fir", verbose=False
        )
        size = X.norm()
        assert float((Y - torch.from_numpy(reference)).norm() / size) == pytest.approx(apart, abs=0.004)
        assert float((Y - X).norm() / size) == pytest.approx(removed, abs=0.01)

    def test_closer_to_mne_with_reflected_ends(self):
        X = signal(24, 1, 3000, dtype=torch.float64, seed=2)
        reference = torch.from_numpy(
            mne.filter.notch_filter(X.numpy(), 100.0, freqs=20.0, notch_widths=1.0, method="fir", verbose=False)
        )
        circular, mirrored = (float((self.filtered(X, 20, 1.0, reflect=r) - reference).norm()) for r in (False, True))
        assert mirrored / X.norm() < 0.005 < 0.015 < circular / X.norm()

    def test_removes_more_with_a_higher_magnitude(self):
        X = signal(16, 1, 3000)
        op = get_operation(self.name, sfreq=100)
        noise = op.draw(16, 1, 3000, generator=rng())
        removed = [float((op.apply(X, m, noise) - X).norm()) for m in (0.0, 0.01, 0.1, 0.3, 0.6, 1.0)]
        assert removed[0] == 0 and all(a < b for a, b in itertools.pairwise(removed))
        # It closes continuously: 0.02 Hz removes 2 % of the norm, where MNE's filter removes 9 %.
        assert removed[1] / float(X.norm()) < 0.04

    def test_the_centre_does_not_depend_on_the_magnitude(self):
        op = self.op()
        u = torch.tensor([0.25])
        deepest = [int(op.spectral_change(torch.tensor([m]), {"u": u}, 3000).argmin()) for m in (0.1, 0.5, 1.0)]
        assert deepest[0] == pytest.approx(30 * (2 + 0.25 * 26), abs=1)  # 30 bins per Hz, between 2 and 28 Hz
        assert all(abs(d - deepest[0]) <= 30 for d in deepest)

    def test_widest_band_fits(self):
        op = self.op()
        for u in (0.0, 1.0):
            change = op.spectral_change(torch.ones(1), {"u": torch.tensor([u])}, 3000)[0, 0]
            band = torch.nonzero(change < -0.5).flatten() / 30
            assert band.min() >= 0.7 and band.max() <= 29.3

    def test_options(self):
        assert get_operation(self.name, sfreq=100).max_freq == 30
        assert get_operation(self.name, sfreq=50).max_freq == 25
        with pytest.raises(ValueError, match=r"max_freq must lie in \(0, 50\] Hz at sfreq=100, got 60"):
            get_operation(self.name, sfreq=100, max_freq=60)
        with pytest.raises(ValueError, match=r"does not fit below max_freq=3 Hz"):
            get_operation(self.name, sfreq=100, max_freq=3)

    def test_parity_draws_the_centre_as_braindecode(self):
        op = self.op(parity=True, max_freq=40)
        change = op.spectral_change(torch.tensor([0.25]), {"u": torch.tensor([0.0])}, 3000)[0, 0]
        # 0.5 Hz wide, so from 1 + 0.25 Hz on.
        assert int(change.argmin()) / 30 == pytest.approx(1.25, abs=0.04) and op.reflect
