import pytest
import torch

from eegaug.operations import get_operation
from eegaug.policies.grouped import Choices, apply_grouped
from eegaug.policies.parts import SubPolicy


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def operations(*names):
    return [get_operation(name, sfreq=50) for name in names]


def test_each_window_gets_its_own_operations_in_order():
    X = torch.randn(40, 2, 30, generator=rng())
    ops = operations("sign_flip", "time_reverse", "time_masking")
    index = torch.randint(-1, 3, (40, 3), generator=rng(1))
    magnitude = torch.zeros(40, 3, dtype=torch.float64)  # a mask of length 0
    before = X.clone()
    out = apply_grouped(X, ops, index, magnitude, rng(2))
    expected = [
        (-1.0) ** int((row == 0).sum()) * (x.flip(-1) if (row == 1).sum() % 2 else x)
        for x, row in zip(X, index, strict=True)
    ]
    torch.testing.assert_close(out, torch.stack(expected))
    assert torch.equal(X, before)


def test_magnitudes_are_of_the_window():
    X = torch.zeros(3000, 1, 50)
    magnitude = torch.linspace(0, 1, 3000)[:, None]
    out = apply_grouped(X, operations("gaussian_noise"), torch.zeros(3000, 1, dtype=torch.int64), magnitude, rng())
    torch.testing.assert_close(
        out.std(-1)[:, 0].reshape(10, -1).mean(1) / 0.2, torch.linspace(0.05, 0.95, 10), atol=0.02, rtol=0
    )
    assert (out[0] == 0).all()


def test_one_call_for_each_operation_and_place(monkeypatch):
    ops = operations("gaussian_noise", "frequency_shift")
    calls = []
    for op in ops:
        monkeypatch.setattr(op, "apply", lambda X, m, noise, op=op: calls.append(op.name) or X)
    apply_grouped(torch.randn(200, 2, 50), ops, torch.randint(0, 2, (200, 3)), torch.rand(200, 3))
    assert sorted(calls) == ["frequency_shift"] * 3 + ["gaussian_noise"] * 3


def test_gradient_reaches_signal_and_magnitudes_of_windows_that_drew_the_operation():
    X = torch.randn(6, 2, 50).requires_grad_()
    magnitude = torch.full((6, 2), 0.5, requires_grad=True)
    index = torch.tensor([[0, 0], [0, -1], [-1, 0], [-1, -1], [1, 0], [0, 1]])
    apply_grouped(X, operations("frequency_shift", "sign_flip"), index, magnitude, rng()).pow(3).sum().backward()
    assert torch.isfinite(X.grad).all() and (X.grad.abs().sum((1, 2)) > 0).all()
    assert torch.equal(magnitude.grad != 0, index == 0)


def test_needs_magnitudes():
    with pytest.raises(ValueError, match="gaussian_noise needs a magnitude"):
        apply_grouped(torch.randn(1, 1, 9), operations("gaussian_noise"), torch.zeros(1, 1, dtype=torch.int64))


class TestChoices:
    SUBS = [
        SubPolicy(operations=[("sign_flip", 1.0)], weight=3),
        SubPolicy(operations=[("time_reverse", 0.5)], weight=1),
    ]

    def test_law(self):
        index, _ = Choices.of([self.SUBS], [[[0], [1]]]).draw(20000, generator=rng())
        share = [float((index == q).double().mean()) for q in (0, 1, -1)]
        assert share == pytest.approx([0.75, 0.125, 0.125], abs=0.01)

    def test_law_by_class_with_different_numbers_of_sub_policies(self):
        choices = Choices.of([self.SUBS, self.SUBS[1:]], [[[0], [1]], [[1]]])
        classes = torch.arange(20000) % 2
        index, _ = choices.draw(20000, classes, rng())
        of = [[float((index[classes == c] == q).double().mean()) for q in (0, 1, -1)] for c in (0, 1)]
        assert of[0] == pytest.approx([0.75, 0.125, 0.125], abs=0.012)
        assert of[1] == pytest.approx([0.0, 0.5, 0.5], abs=0.012)

    def test_several_draws_with_replacement(self):
        index, _ = Choices.of([self.SUBS], [[[0], [1]]], draws=3).draw(8000, generator=rng())
        assert index.shape == (8000, 3)
        assert float((index == 0).all(1).double().mean()) == pytest.approx(0.75**3, abs=0.015)

    def test_magnitudes_are_drawn_from_their_range(self):
        subs = [SubPolicy(operations=[("gaussian_noise", 1.0, (0.2, 0.6)), ("gaussian_noise", 1.0, 0.9)])]
        _, magnitude = Choices.of([subs], [[[0, 0]]]).draw(5000, generator=rng())
        low, high = magnitude[:, 0].min(), magnitude[:, 0].max()
        assert 0.2 <= low < 0.205 and 0.595 < high <= 0.6
        assert float(magnitude[:, 0].mean()) == pytest.approx(0.4, abs=0.01)
        assert (magnitude[:, 1] == 0.9).all()
