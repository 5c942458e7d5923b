import torch

from eegaug import functional as F


def test_mask_of_no_length_is_exactly_one():
    for dtype in (torch.float32, torch.float64):
        gain = F.time_mask_gain(torch.tensor([12.3, 700.0], dtype=dtype), torch.zeros(2, dtype=dtype), 1000)
        assert torch.equal(gain, torch.ones(2, 1, 1000, dtype=dtype))


def test_mask_keeps_the_rest():
    X = torch.ones(1, 2, 1000)
    Y = F.time_mask(X, torch.tensor([400.0]), torch.tensor([200.0]), steepness=1.0)
    torch.testing.assert_close(Y[..., :380], X[..., :380])
    assert Y[..., 420:580].abs().max() < 1e-6


def test_noise_broadcasts():
    noise = torch.randn(1, 2, 5)
    Y = F.gaussian_noise(torch.zeros(3, 2, 5), noise, torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(Y, noise * torch.tensor([0.0, 1.0, 2.0])[:, None, None])


def test_reverse():
    X = torch.randn(2, 3, 4)
    assert torch.equal(F.time_reverse(X), torch.stack([X[..., 3 - t] for t in range(4)], -1))
