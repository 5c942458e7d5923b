"""The loss between variants: values, gradients, symmetry, extreme input."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from eegaug.consistency import AugmentationInvariantLoss, symmetric_kl


def logits(n=6, k=5, seed=0, scale=2.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return tuple(scale * torch.randn(n, k, generator=generator, dtype=dtype) for _ in range(2))


def test_equals_the_divergence_both_ways():
    a, b = logits()
    log_p, log_q = a.log_softmax(1), b.log_softmax(1)
    both = [F.kl_div(y, x, log_target=True, reduction="none").sum(1) for x, y in ((log_p, log_q), (log_q, log_p))]
    torch.testing.assert_close(symmetric_kl(a, b), both[0] + both[1])
    torch.testing.assert_close(AugmentationInvariantLoss()(a, b), (both[0] + both[1]).mean())


def test_is_a_distance_in_all_but_name():
    a, b = logits()
    d = symmetric_kl(a, b)
    assert (d > 0).all()
    torch.testing.assert_close(d, symmetric_kl(b, a))
    assert torch.equal(symmetric_kl(a, a), torch.zeros(6, dtype=torch.float64))
    shift = torch.arange(6.0)[:, None]
    torch.testing.assert_close(symmetric_kl(a + shift, b - 3 * shift), d)
    # Equal distributions, not only equal logits.
    assert symmetric_kl(a, a + shift).max() < 1e-14


def test_extreme_logits_stay_finite():
    a = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    b = (-a).detach()
    for detach in (False, True):
        d = symmetric_kl(a, b, detach_target=detach)
        assert torch.isfinite(d).all() and (d > 0).all()
        (grad,) = torch.autograd.grad(d.sum(), a)
        assert torch.isfinite(grad).all()
    assert d[0].item() == pytest.approx(4e4)


def test_gradients():
    a, b = (z.requires_grad_() for z in logits())
    p, q = a.softmax(1), b.softmax(1)
    d = p.log() - q.log()
    expected = (p * (d - (p * d).sum(1, keepdim=True)) + p - q).detach()
    (full,) = torch.autograd.grad(symmetric_kl(a, b).sum(), a)
    torch.testing.assert_close(full, expected)
    detached = symmetric_kl(a, b, detach_target=True)
    torch.testing.assert_close(detached, symmetric_kl(a, b))
    grads = torch.autograd.grad(detached.sum(), (a, b))
    torch.testing.assert_close(grads[0], (p - q).detach())
    torch.testing.assert_close(grads[1], (q - p).detach())
    assert not torch.allclose(grads[0], full)
    assert torch.autograd.gradcheck(symmetric_kl, (a, b))


def test_detached_gradient_is_half_of_it_near_equality():
    a, _ = logits()
    b = a + 1e-5 * logits(seed=1)[0]
    a.requires_grad_()
    full, half = (torch.autograd.grad(symmetric_kl(a, b, detach_target=m).sum(), a)[0] for m in (False, True))
    torch.testing.assert_close(full, 2 * half, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("detach", [False, True])
def test_euclidean_and_combined_forms(detach):
    a, b = (z.requires_grad_() for z in logits())
    distance = (a - b).square().sum(1).sqrt().mean()
    euclidean = AugmentationInvariantLoss("euclidean", detach)(a, b)
    torch.testing.assert_close(euclidean, distance)
    both = AugmentationInvariantLoss("kl+euclidean", detach)(a, b)
    torch.testing.assert_close(both, distance + symmetric_kl(a, b).mean())
    (grad,), (plain,) = torch.autograd.grad(euclidean, a), torch.autograd.grad(distance, a)
    torch.testing.assert_close(grad, plain / 2 if detach else plain)
    same = AugmentationInvariantLoss("kl+euclidean", detach)(a, a)
    assert same.item() == 0
    torch.testing.assert_close(torch.autograd.grad(same, a)[0], torch.zeros_like(a))


@pytest.mark.parametrize("metric", ["kl", "euclidean"])
def test_windows_of_sequences_are_examples(metric):
    a, b = (z.reshape(2, 3, 5).mT for z in logits())
    loss = AugmentationInvariantLoss(metric)
    torch.testing.assert_close(loss(a, b), loss(*logits()))
    assert symmetric_kl(a, b).shape == (2, 3)


def test_more_than_two_variants_are_averaged_over_pairs():
    a, b = logits()
    c, _ = logits(seed=1)
    expected = torch.stack([symmetric_kl(x, y).mean() for x, y in ((a, b), (b, c), (c, a))]).mean()
    torch.testing.assert_close(AugmentationInvariantLoss()(a, b, c), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    a, b = (z.to(dtype) for z in logits(scale=30.0))
    d = symmetric_kl(a, b)
    assert d.dtype == torch.float32
    torch.testing.assert_close(d, symmetric_kl(a.float(), b.float()))


def test_wrong_input_is_named():
    a, b = logits()
    with pytest.raises(ValueError, match="metric is 'cosine'"):
        AugmentationInvariantLoss("cosine")
    with pytest.raises(ValueError, match="two outputs or more, got 1"):
        AugmentationInvariantLoss()(a)
    with pytest.raises(ValueError, match=r"\(6, 5\), \(6, 4\)"):
        AugmentationInvariantLoss()(a, b[:, :4])
