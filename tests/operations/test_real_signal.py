"""On a labelled sleep recording: what the operations do to spindles and slow waves."""

import numpy as np
import pytest
import torch

from eegaug.operations import get_operation, list_operations

SFREQ = 100.0


@pytest.fixture(scope="module")
def sleep(data_folder):
    night = np.load(data_folder / "recordings" / "pydynamo_segment.npz")
    X = torch.from_numpy(night["X"] * night["scale"][:, None]).float()
    X = (X - X.mean(-1, keepdim=True)) / X.std(-1, keepdim=True)
    return X, torch.from_numpy(night["y"])


def spectrum(X):
    """Mean amplitude spectrum over windows, in 1/3 Hz steps."""
    return torch.fft.rfft(X[..., :3000].reshape(len(X), -1, 10, 300)).abs().mean((0, 1, 2))


def test_spectrum_moves_with_the_frequency_shift(sleep):
    X, y = sleep
    n2 = X[y == 2]
    shifted = get_operation("frequency_shift", sfreq=SFREQ).apply(n2, 0.4, {"u": torch.tensor([0.75])})  # 1 Hz up
    before, after = spectrum(n2).log(), spectrum(shifted).log()
    # Between 5 and 30 Hz the spectra match best when moved by 3 bins of 1/3 Hz.
    apart = {move: float((after[15 + move : 90 + move] - before[15:90]).abs().mean()) for move in range(-6, 7)}
    assert min(apart, key=apart.get) == 3 and apart[3] < apart[0] / 4


def test_notch_on_the_spindle_band(sleep):
    X, y = sleep
    n2 = X[y == 2]
    u = torch.tensor([(13.5 - 2) / 26])
    ratio = spectrum(get_operation("bandstop_filter", sfreq=SFREQ).apply(n2, 1.0, {"u": u})) / spectrum(n2)
    assert ratio[40] < 0.3 and ratio[9] == pytest.approx(1, abs=0.01) and ratio[60] == pytest.approx(1, abs=0.01)


@pytest.mark.filterwarnings("ignore:.*means nothing on this montage")
@pytest.mark.parametrize("name", list_operations())
def test_finite_on_real_windows(sleep, name):
    X, _ = sleep
    op = get_operation(name, sfreq=SFREQ, ch_names=["C3"], warn=False)
    Y = op(X, 0.5, generator=torch.Generator().manual_seed(0))
    assert Y.shape == X.shape and torch.isfinite(Y).all() and float(Y.std()) < 1.2
