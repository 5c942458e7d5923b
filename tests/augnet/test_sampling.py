"""Copies at prediction are spread over what can be drawn."""

from __future__ import annotations

import torch

from eegaug.augnet import AugmentationModule
from eegaug.augnet.sampling import choose_operations, spread
from eegaug.operations import Operation, get_operation


def test_every_copy_has_its_own_nth_of_the_interval():
    u = spread(torch.rand(5, 200, generator=torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1))
    assert torch.equal((u * 5).floor().sort(0).values, torch.arange(5.0)[:, None].expand(5, 200))
    # Still uniform for each copy: mean 1/2 and variance 1/12 within four standard errors.
    assert abs(float(u[0].mean()) - 0.5) < 4 * (1 / 12 / 200) ** 0.5
    assert abs(float(u[0].var()) - 1 / 12) < 4 * (1 / 180 / 200) ** 0.5


def test_draws_stay_below_one():
    u = spread(torch.full((20, 3), 1.0 - 2.0**-24), torch.Generator().manual_seed(0))
    assert float(u.max()) < 1.0


def test_a_channel_is_dropped_in_its_share_of_the_copies():
    module = AugmentationModule([["channels_dropout"]])
    X = torch.ones(1, 6, 8)
    with torch.no_grad():
        module.layers[0].strengths.fill_(0.25)
        kept = torch.cat([module.eval().transform(X, copy, n_copies=4, seed=3) for copy in range(4)])
    assert (kept[:, :, 0] == 0).sum(0).tolist() == [1] * 6


def test_layers_choose_and_draw_apart():
    plan = choose_operations([[0.5, 0.5]] * 2, n_copies=64, seed=0)
    pairs = [(first.operation, second.operation) for first, second in plan]
    assert min(pairs.count((i, j)) for i in (0, 1) for j in (0, 1)) >= 8
    assert len({draw.seed for draws in plan for draw in draws}) == 4  # of each operation of each layer


def test_an_operation_applied_by_chance_is_drawn_for_evenly_whatever_its_share():
    plan = choose_operations([[0.5, 0.3, 0.2]], n_copies=100, seed=0)
    for operation, n in enumerate((50, 30, 20)):
        u = sorted(draw.u for (draw,) in plan if draw.operation == operation)
        assert [int(n * value) for value in u] == list(range(n))


def test_shifts_go_both_ways_alike():
    op = get_operation("frequency_shift", sfreq=100)
    plan = choose_operations([[1.0]], n_copies=4, seed=0)
    u = sorted(float(draws[0].noise_for(op, torch.zeros(1, 2, 300))["u"]) for draws in plan)
    assert [int(4 * value) for value in u] == [0, 1, 2, 3]


def test_noise_that_is_not_uniform_is_left_as_it_is():
    op = get_operation("gaussian_noise")
    plan = choose_operations([[1.0]], n_copies=8, seed=0)
    noise = torch.cat([draws[0].noise_for(op, torch.zeros(1, 2, 3000))["noise"] for draws in plan])
    assert abs(float(noise.std()) - 1) < 0.02
    assert float(noise.min()) < -3


class Sevens(Operation):
    """One of a user's own that draws in its own way."""

    name = "sevens"

    def draw(self, n, n_channels, n_times, generator=None, device=None):
        return {"seven": torch.full((n, n_channels), 7)}


def test_draws_of_ones_own_are_left_as_they_are():
    for (draw,) in choose_operations([[1.0]], n_copies=3, seed=0):
        assert torch.equal(draw.noise_for(Sevens(), torch.zeros(1, 2, 30))["seven"], torch.full((1, 2), 7))
