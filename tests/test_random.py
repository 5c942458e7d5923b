"""Random states: contained on every kind of device."""

import pytest
import torch

from eegaug._random import contained_rng, restore_rng, rng_states


class Apple:
    """In the place of torch.mps: a generator whose state is a number that every draw raises."""

    state = 7

    @classmethod
    def get_rng_state(cls):
        return torch.tensor(cls.state)

    @classmethod
    def set_rng_state(cls, state):
        cls.state = int(state)

    @classmethod
    def manual_seed(cls, seed):
        cls.state = seed


def test_default_generators_are_seeded_and_put_back():
    before = torch.random.get_rng_state()
    with pytest.raises(KeyError), contained_rng(3):
        a = torch.rand(2)
        raise KeyError
    assert torch.equal(torch.random.get_rng_state(), before)
    with contained_rng(3, None):
        assert torch.equal(torch.rand(2), a)


def test_the_generator_of_apples_accelerator_is_contained_too(monkeypatch):
    monkeypatch.setattr(torch, "mps", Apple)
    with contained_rng(3, "mps"):
        assert Apple.state == 3
        Apple.state += 1
        states = rng_states("mps")
    assert Apple.state == 7
    restore_rng(states, "mps")
    assert Apple.state == 4
    restore_rng(states | {"mps": torch.tensor(9)}, "cpu")  # begun there, gone on here
    assert Apple.state == 4
