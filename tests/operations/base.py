"""The tests that every operation runs through."""

import copy
import pickle

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from eegaug.operations import get_operation

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]
SFREQ = 100.0


def signal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed)).to(dtype)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class OperationTests:
    """Subclass once for each operation; what follows holds for all of them."""

    name: str
    pathwise = True  # differentiable in the magnitude by itself, without a straight-through estimator
    random = True
    options: dict = {}
    variants: tuple[dict, ...] = ()  # other settings on which the derivative in the magnitude depends

    def op(self, **options):
        return get_operation(self.name, sfreq=SFREQ, ch_names=MASS, **{**self.options, **options})

    def drawn(self, X, seed=0):
        op = self.op()
        return op, op.draw(*X.shape, generator=rng(seed))

    # -- what goes in comes out ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("shape", [(6, 200), (1, 6, 200), (4, 6, 201), (3, 2, 6, 200)])
    def test_keeps_shape_and_dtype(self, shape, dtype):
        X = signal(*shape, dtype=dtype)
        Y = self.op()(X, 0.5, generator=rng())
        assert Y.shape == X.shape and Y.dtype == dtype and Y.device == X.device
        assert torch.isfinite(Y).all()

    def test_half_precision_is_computed_in_single(self):
        X = signal(4, 6, 200, dtype=torch.bfloat16)
        op, noise = self.drawn(X)
        applied = op.apply(X, 0.5, noise)
        torch.testing.assert_close(applied, op.apply(X.float(), 0.5, noise).bfloat16(), rtol=0, atol=0)
        # In bfloat16 the draw would be 1, and never below a probability.
        assert torch.equal(op.mix(X, 0.5, noise, 1.0, torch.full((4,), 0.9999)), applied)

    @pytest.mark.parametrize("n_times", [1, 2, 3, 16, 17])
    def test_short_windows(self, n_times):
        X = signal(2, 6, n_times)
        Y = self.op()(X, 0.7, generator=rng())
        assert Y.shape == X.shape and torch.isfinite(Y).all()

    def test_empty_batch(self):
        assert self.op()(torch.empty(0, 6, 50), 0.5).shape == (0, 6, 50)

    def test_leaves_its_input_alone(self):
        X = signal(4, 6, 200)
        before = X.clone()
        Y = self.op()(X, 1.0, generator=rng())
        Y += 1.0
        assert torch.equal(X, before)

    def test_non_contiguous_input(self):
        X = signal(4, 200, 6).transpose(1, 2)
        op, noise = self.drawn(X)
        torch.testing.assert_close(op.apply(X, 0.5, noise), op.apply(X.contiguous(), 0.5, noise), rtol=0, atol=0)

    def test_identity_at_zero(self):
        op = self.op()
        X = signal(4, 6, 3000)
        if op.has_magnitude:
            assert torch.equal(op(X, 0.0, generator=rng()), X)
        assert torch.equal(op.mix(X, 0.7, op.draw(*X.shape, generator=rng()), 0.0, torch.rand(4)), X)

    def test_does_something_at_one(self):
        X = signal(8, 6, 400)
        assert (self.op()(X, 1.0, generator=rng()) - X).abs().max() > 0.1

    # -- randomness ----------------------------------------------------------------------------------------------------

    def test_seed(self):
        X = signal(8, 6, 300)
        op = self.op()
        first, again, other = (op(X, 0.6, generator=rng(seed)) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert torch.equal(first, other) == (not self.random)

    def test_global_generator_is_left_alone_when_one_is_given(self):
        before = torch.get_rng_state()
        self.op()(signal(4, 6, 100), 0.5, probability=0.5, generator=rng())
        assert torch.equal(torch.get_rng_state(), before)

    def test_examples_are_independent(self):
        X = signal(5, 6, 300)
        op, noise = self.drawn(X)
        order = torch.tensor([3, 1, 4, 0, 2])
        magnitude = torch.linspace(0.1, 1.0, 5)
        whole = op.apply(X, magnitude, noise)
        moved = op.apply(X[order], magnitude[order], {key: value[order] for key, value in noise.items()})
        torch.testing.assert_close(moved, whole[order], rtol=1e-5, atol=1e-5)
        alone = op.apply(X[2:3], magnitude[2], {key: value[2:3] for key, value in noise.items()})
        torch.testing.assert_close(alone, whole[2:3], rtol=1e-5, atol=1e-5)

    def test_one_draw_serves_all_examples(self):
        X = signal(5, 6, 300)
        op = self.op()
        noise = op.draw(1, 6, 300, generator=rng())
        repeated = {key: value.expand(5, *value.shape[1:]) for key, value in noise.items()}
        torch.testing.assert_close(
            op.apply(X, torch.linspace(0, 1, 5), noise), op.apply(X, torch.linspace(0, 1, 5), repeated)
        )

    def test_sequences_are_drawn_for_each_window(self):
        X = signal(2, 3, 6, 200)
        op = self.op()
        noise = op.draw(6, 6, 200, generator=rng())
        flat = op.apply(X.reshape(6, 6, 200), 0.5, noise)
        assert torch.equal(op.apply(X, 0.5, noise).reshape(6, 6, 200), flat)
        shared = op.draw(2, 6, 200, generator=rng())
        strength = torch.tensor([0.2, 0.9])
        by_hand = torch.stack(
            [op.apply(X[i], strength[i], {key: value[i : i + 1] for key, value in shared.items()}) for i in range(2)]
        )
        torch.testing.assert_close(op.apply(X, strength, shared), by_hand, rtol=1e-5, atol=1e-5)

    def test_magnitude_may_be_given_in_any_shape(self):
        X = signal(4, 6, 200)
        op, noise = self.drawn(X)
        expected = op.apply(X, 0.5, noise)
        for magnitude in (torch.tensor(0.5), torch.full((4,), 0.5), torch.full((4, 1, 1), 0.5, dtype=torch.float64)):
            torch.testing.assert_close(op.apply(X, magnitude, noise), expected)

    def test_nothing_depends_on_values_on_the_device(self):
        # On the meta device tensors have no values: reading one, or a shape that depends on one, is an error.
        X = torch.empty(4, 6, 200, device="meta")
        op = self.op()
        noise = op.draw(4, 6, 200, device="meta")
        Y = op.mix(
            X, torch.empty(4, device="meta"), noise, torch.empty((), device="meta"), torch.empty(4, device="meta")
        )
        assert Y.shape == X.shape and Y.device.type == "meta"

    # -- gradients -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("magnitude", [0.0, 0.5, 1.0])
    def test_gradients_are_finite_and_arrive(self, magnitude):
        op = self.op()
        X = signal(64, 6, 300).requires_grad_()
        target = signal(64, 6, 300, seed=5)
        noise = op.draw(64, 6, 300, generator=rng())
        strength = torch.tensor(magnitude, requires_grad=True)
        chance = torch.tensor(0.5, requires_grad=True)
        u = torch.rand(64, generator=rng(3))
        loss = (op.mix(X, strength, noise, chance, u) - target).pow(2).sum()
        if op.has_magnitude:
            (g_magnitude,) = torch.autograd.grad(loss, strength, retain_graph=True)
            assert torch.isfinite(g_magnitude) and g_magnitude != 0
        g_X, g_chance = torch.autograd.grad(loss, [X, chance])
        assert torch.isfinite(g_X).all() and g_X.abs().sum() > 0
        # At magnitude 0 the operation is the identity: whether it is applied cannot matter.
        assert torch.isfinite(g_chance) and (g_chance != 0) == (magnitude > 0 or not op.has_magnitude)

    def test_gradcheck(self):
        X = signal(2, 6, 24, dtype=torch.float64).requires_grad_()
        op, noise = self.drawn(X)
        noise = {key: value.double() for key, value in noise.items()}
        if op.has_magnitude and self.pathwise:
            magnitude = torch.tensor([0.35, 0.8], dtype=torch.float64, requires_grad=True)
            assert gradcheck(lambda x, m: op.apply(x, m, noise), (X, magnitude))
        else:
            assert gradcheck(lambda x: op.apply(x, 0.5, noise), (X,))

    def test_gradcheck_with_other_settings(self):
        X = signal(2, 6, 24, dtype=torch.float64).requires_grad_()
        magnitude = torch.tensor([0.35, 0.8], dtype=torch.float64, requires_grad=True)
        for settings in self.variants:
            op = self.op(**settings)
            noise = {key: value.double() for key, value in op.draw(*X.shape, generator=rng()).items()}
            assert gradcheck(lambda x, m, op=op, noise=noise: op.apply(x, m, noise), (X, magnitude)), settings

    def test_gradcheck_around_zero_magnitude(self):
        if not (self.pathwise and self.op().has_magnitude):
            return
        X = signal(2, 6, 24, dtype=torch.float64)
        op, noise = self.drawn(X)
        magnitude = torch.zeros((), dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda m: op.apply(X, m, noise), (magnitude,), atol=1e-4)

    def test_second_derivatives(self):
        # What a search that differentiates through a training step needs.
        X = signal(2, 6, 16, dtype=torch.float64).requires_grad_()
        op, noise = self.drawn(X)
        noise = {key: value.double() for key, value in noise.items()}
        strength = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        if op.has_magnitude and self.pathwise:
            assert gradgradcheck(lambda x, m: op.apply(x, m, noise), (X, strength))
            return
        Y = op.mix(X, strength, noise, strength, torch.tensor([0.2, 0.7]))
        (slope,) = torch.autograd.grad(Y.pow(2).sum(), strength, create_graph=True)
        bend, from_X = torch.autograd.grad(slope, [strength, X])
        assert torch.isfinite(bend) and bend != 0 and torch.isfinite(from_X).all() and from_X.abs().sum() > 0

    @pytest.mark.parametrize("per_window", [False, True])
    def test_gradients_are_those_of_the_transformation(self, per_window):
        # Written-out derivatives against autograd through the operation's own steps.
        op = self.op()
        if not op.has_magnitude:
            return
        X = signal(4, 6, 101, dtype=torch.float64).requires_grad_()
        noise = {key: value.double() for key, value in op.draw(*X.shape, generator=rng()).items()}
        strength = torch.linspace(0.2, 0.9, 4).double() if per_window else torch.tensor([0.6], dtype=torch.float64)
        strength.requires_grad_()
        upstream = signal(4, 6, 101, dtype=torch.float64, seed=3)
        Y, expected = op.apply(X, strength, noise), op.transform(X, strength, noise)
        torch.testing.assert_close(Y, expected)
        ours, theirs = (torch.autograd.grad(out, [X, strength], upstream) for out in (Y, expected))
        torch.testing.assert_close(ours, theirs)

    def test_forward_mode(self):
        op = self.op()
        if not (self.pathwise and op.has_magnitude):
            return
        X = signal(3, 6, 40, dtype=torch.float64)
        noise = {key: value.double() for key, value in op.draw(*X.shape, generator=rng()).items()}
        at, along = (
            (X, torch.tensor(0.4).double()),
            (signal(3, 6, 40, dtype=torch.float64, seed=1), torch.tensor(-1.5).double()),
        )
        _, expected = torch.func.jvp(lambda x, m: op.transform(x, m[None], noise), at, along)
        _, functional = torch.func.jvp(lambda x, m: op.apply(x, m, noise), at, along)
        torch.testing.assert_close(functional, expected)
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(a.requires_grad_(), t) for a, t in zip(at, along, strict=True)]
            tangent = torch.autograd.forward_ad.unpack_dual(op.apply(*duals, noise)).tangent
        torch.testing.assert_close(tangent, expected)

    def test_windows_one_by_one_under_vmap(self):
        op = self.op()
        X, magnitude = signal(4, 6, 40, dtype=torch.float64), torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64)
        noise = {key: value[:, None].double() for key, value in op.draw(*X.shape, generator=rng()).items()}

        def energy(x, m, draws):
            Y = op.mix(x, m, draws, m, torch.tensor([0.5]))
            return Y.square().sum(), Y

        def by_hand(i):
            x, m = X[i].clone().requires_grad_(), magnitude[i].clone().requires_grad_()
            loss, Y = energy(x, m, {key: value[i] for key, value in noise.items()})
            return *torch.autograd.grad(loss, [x, m]), Y.detach()

        slopes, Y = torch.func.vmap(torch.func.grad(energy, argnums=(0, 1), has_aux=True))(X, magnitude, noise)
        for found, expected in zip((*slopes, Y), zip(*map(by_hand, range(4)), strict=True), strict=True):
            torch.testing.assert_close(found, torch.stack(expected))

    def test_usable_for_training_after_inference_mode(self):
        op = self.op()
        X = signal(2, 6, 100)
        with torch.inference_mode():
            op(X, 0.5)
        X.requires_grad_()
        op(X, 0.5).square().sum().backward()  # before torch 2.9 MKL fails at that of a plain sum
        assert torch.isfinite(X.grad).all()

    # -- probability ---------------------------------------------------------------------------------------------------

    def test_mix_is_all_or_nothing(self):
        X = signal(6, 6, 200)
        op, noise = self.drawn(X)
        applied = op.apply(X, 0.8, noise)
        u = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 0.99])
        mixed = op.mix(X, 0.8, noise, 0.5, u)
        assert torch.equal(mixed[:3], applied[:3]) and torch.equal(mixed[3:], X[3:])
        assert torch.equal(op.mix(X, 0.8, noise, 1.0, u), applied)

    def test_gradient_to_the_probability(self):
        # A loss that is linear in the mixture: its expectation has the derivative sum(T(X) - X) in the probability.
        op = self.op()
        X = signal(1, 6, 50).expand(4000, 6, 50)
        noise = op.draw(1, 6, 50, generator=rng(1))
        target = op.apply(X[:1], 0.8, noise) - X[:1]
        chance = torch.tensor(0.4, requires_grad=True)
        u = torch.rand(4000, generator=rng(2))
        (op.mix(X, 0.8, noise, chance, u) * target).sum((1, 2)).mean().backward()
        # The surrogate's slope averages to 0.93 at 0.4 (temperature 0.5); 4000 draws tell it to a few per cent.
        assert chance.grad / target.pow(2).sum() == pytest.approx(0.93, abs=0.08)

    # -- plain object --------------------------------------------------------------------------------------------------

    def test_copies_are_equal_and_act_alike(self):
        op = self.op()
        X = signal(4, 6, 200)
        before = op(X, 0.5, generator=rng())
        for other in (copy.deepcopy(op), pickle.loads(pickle.dumps(op)), get_operation(**op.get_config())):
            assert other == op and hash(other) == hash(op) and other is not op
            assert torch.equal(other(X, 0.5, generator=rng()), before)
        assert op != get_operation("gaussian_noise", max_strength=0.77)

    def test_says_what_it_does(self):
        op = self.op()
        assert repr(op).startswith(type(op).__name__) and len(op.describe(0.5)) > 10
        assert op.physical(0.5) == pytest.approx(0.5 * op.max_strength)
        if op.has_magnitude:
            assert f"{float(f'{op.max_strength / 2:.4g}'):g}" in op.describe(0.5)

    # -- bad input -----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("bad", [1.7, -0.3, float("nan"), torch.tensor(1.7), torch.tensor([0.1, -0.3, 0.2, 0.3])])
    def test_magnitude_outside_its_range(self, bad):
        op = self.op()
        if not op.has_magnitude:
            assert torch.isfinite(op(signal(4, 6, 100), bad)).all()  # ignored
            return
        with pytest.raises(ValueError, match=rf"{self.name}: magnitude must lie in \[0, 1\], got (1.7|-0.3|nan)"):
            op(signal(4, 6, 100), bad)
        with pytest.raises(ValueError, match="needs a magnitude"):
            op(signal(4, 6, 100))

    def test_probability_outside_its_range(self):
        with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 1.2"):
            self.op()(signal(4, 6, 100), 0.5, probability=1.2)

    def test_wrong_signals(self):
        op = self.op()
        with pytest.raises(ValueError, match=r"got \(6,\)"):
            op(torch.zeros(6), 0.5)
        with pytest.raises(TypeError, match=r"floating point, got torch.int64"):
            op(torch.zeros(2, 6, 10, dtype=torch.int64), 0.5)
        with pytest.raises(TypeError, match=r"torch.as_tensor"):
            op(torch.zeros(2, 6, 10).numpy(), 0.5)
        with pytest.raises(ValueError, match=r"6 channels .*got X with 5 channels"):
            op(torch.zeros(2, 5, 10), 0.5)

    def test_wrong_draws(self):
        op = self.op()
        X = signal(4, 6, 100)
        if not self.random:
            assert op.draw(4, 6, 100) == {}
            return
        with pytest.raises(ValueError, match=r"noise lacks"):
            op.apply(X, 0.5, {})
        with pytest.raises(ValueError, match=r"is for 3 windows, X has 4"):
            op.apply(X, 0.5, op.draw(3, 6, 100))
        with pytest.raises(ValueError, match=r"one for each of 4 windows, got 3"):
            op.mix(X, 0.5, op.draw(4, 6, 100), torch.rand(3), torch.rand(4))
