import copy
import inspect
import pickle

import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader, Compose, Transform
from torch import nn
from torch.utils.data import Dataset

from eegaug import transforms
from eegaug.operations import get_operation, list_operations
from eegaug.transforms import (
    ChannelsDropout,
    FrequencyShift,
    GaussianNoise,
    OperationTransform,
    SignFlip,
    TimeReverse,
)

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]
CLASSES = {
    cls.operation_name: cls
    for _, cls in inspect.getmembers(transforms, inspect.isclass)
    if issubclass(cls, OperationTransform) and cls.operation_name
}


def signal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed)).to(dtype)


def test_there_is_one_for_each_operation():
    assert sorted(CLASSES) == sorted(list_operations())


@pytest.mark.parametrize("name", list_operations())
class TestEach:
    def make(self, name, probability=0.5, **settings):
        return CLASSES[name](probability, random_state=0, sfreq=100, ch_names=MASS, **settings)

    def test_is_a_braindecode_transform(self, name):
        transform = self.make(name)
        assert isinstance(transform, Transform) and transform.operation.name == name
        X, y = signal(4, 6, 200), torch.arange(4)
        Z, z = transform(X, y)
        assert z is y and Z.shape == X.shape
        assert transform(X).shape == X.shape
        assert transform(X[0]).shape == X[0].shape
        assert transform(signal(2, 3, 6, 100)).shape == (2, 3, 6, 100)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_keeps_dtype_and_input(self, name, dtype):
        X = signal(4, 6, 200, dtype=dtype)
        before = X.clone()
        assert self.make(name)(X).dtype == dtype and torch.equal(X, before)

    def test_gradients_arrive(self, name):
        transform = self.make(name)
        X = signal(32, 6, 300).requires_grad_()
        (transform(X) - signal(32, 6, 300, seed=4)).pow(2).sum().backward()
        for value in [X, *transform.parameters()]:
            assert torch.isfinite(value.grad).all() and value.grad.abs().sum() > 0
        assert {key for key, _ in transform.named_parameters()} == (
            {"probability", "magnitude"} if transform.operation.has_magnitude else {"probability"}
        )

    def test_plain_augmentation_tracks_nothing(self, name):
        transform = self.make(name, learnable=False)
        assert not transform(signal(4, 6, 200)).requires_grad
        assert "learnable" not in repr(transform)

    def test_probability_of_zero_and_one(self, name):
        X = signal(16, 6, 200)
        assert torch.equal(self.make(name, 0.0)(X), X)
        changed = (self.make(name, 1.0, magnitude=1.0)(X) != X).flatten(1).any(1)
        assert changed.double().mean() > 0.8  # a shuffle may draw the order that was
        part = (self.make(name, 0.5, magnitude=1.0)(signal(400, 6, 20)) != signal(400, 6, 20)).flatten(1).any(1)
        assert 0.35 < part.double().mean() < 0.6

    def test_seed(self, name):
        X = signal(8, 6, 200)
        first, again = (self.make(name) for _ in range(2))
        a, b = first(X), again(X)
        assert torch.equal(a, b) and not torch.equal(a, first(X))
        state, numpy_state = torch.get_rng_state(), pickle.dumps(np.random.mtrand._rand)
        first(X)
        assert torch.equal(torch.get_rng_state(), state)
        assert pickle.dumps(np.random.mtrand._rand) == numpy_state

    def test_copies_go_on_alike(self, name):
        X = signal(8, 6, 200)
        transform = self.make(name)
        transform(X)
        others = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
        expected = transform(X)
        for other in others:
            assert torch.equal(other(X), expected) and repr(other) == repr(transform)

    def test_state_dict(self, name):
        transform, other = self.make(name, 0.3), self.make(name, 0.9)
        other.load_state_dict(transform.state_dict())
        assert other.probability.item() == pytest.approx(0.3)
        assert set(transform.state_dict()) == {key for key, _ in transform.named_parameters()}

    def test_repr_tells_the_settings(self, name):
        text = repr(self.make(name))
        assert text.startswith(f"{CLASSES[name].__name__}(probability=0.5") and "sfreq=100" in text
        if get_operation(name, sfreq=100, ch_names=MASS).has_magnitude:
            assert "magnitude=0.5 (" in text


def test_repr_in_physical_units():
    assert "magnitude=0.3 (1.5 Hz)" in repr(FrequencyShift(0.5, 0.3, sfreq=100))
    assert repr(OperationTransform("sign_flip", 0.2)).startswith("OperationTransform('sign_flip', probability=0.2")


@pytest.mark.parametrize("operation", [get_operation("gaussian_noise"), "gaussian_noise"], ids=["instance", "name"])
@pytest.mark.parametrize("wrong", ["propability", "max_strenght"])
def test_unknown_arguments_are_refused(operation, wrong):
    with pytest.raises(TypeError, match=wrong):
        OperationTransform(operation, **{wrong: 0.1})


def test_options_of_an_instance_are_its_own():
    op = get_operation("gaussian_noise", max_strength=0.5)
    with pytest.raises(TypeError, match="built already"):
        OperationTransform(op, max_strength=0.1)
    assert OperationTransform(op, 0.1, sfreq=100, ch_names=["C3"], positions=None).operation is op


class TestLearning:
    def test_finds_an_invariance(self):
        # Half of the windows are flipped at random; the loss is lowest when the transform does as much.
        transform = SignFlip(0.1, random_state=0)
        optimiser = torch.optim.Adam(transform.parameters(), lr=0.05)
        for _ in range(80):
            mean = transform(torch.ones(64, 1, 1)).mean()
            optimiser.zero_grad()
            mean.pow(2).backward()
            optimiser.step()
        assert transform.probability.item() == pytest.approx(0.5, abs=0.1)

    def test_parameters_stay_in_range_and_come_back(self):
        transform = ChannelsDropout(1.0, 0.05, random_state=0)
        optimiser = torch.optim.SGD([transform.magnitude], lr=10.0)

        def step(sign):
            optimiser.zero_grad()
            (sign * transform(torch.ones(500, 4, 1)).mean()).backward()
            optimiser.step()

        step(-1)  # punish dropping channels: far beyond zero
        assert transform.magnitude.item() < -1
        step(-1)
        step(1)  # reward it: it comes back at once
        transform.project_()
        assert 0.5 < transform.magnitude.item() <= 1.0

    def test_raw_value_outside_is_used_as_its_border(self):
        transform = GaussianNoise(1.0, 0.5, random_state=0)
        with torch.no_grad():
            transform.magnitude.fill_(-0.4)
        assert torch.equal(transform.eval()(torch.zeros(3, 2, 10)), torch.zeros(3, 2, 10))
        transform.train()(torch.zeros(3, 2, 10))
        assert transform.magnitude.item() == 0.0

    def test_shared_parameter(self):
        shared = nn.Parameter(torch.tensor(0.5))
        first, second = SignFlip(shared), TimeReverse(shared)
        assert first.probability is second.probability
        assert len(list(nn.Sequential(first, second).parameters())) == 1

    def test_values_of_a_call(self):
        transform = GaussianNoise(0.5, 0.5, random_state=0)
        X = torch.zeros(4, 2, 50)
        chance = torch.tensor([0.0, 1.0, 0.0, 1.0])
        strength = torch.tensor([0.5, 0.5, 1.0, 1.0], requires_grad=True)
        Y = transform(X, magnitude=strength, probability=chance)
        std = Y.std((1, 2)).tolist()
        assert std[0] == std[2] == 0 and std[3] == pytest.approx(0.2, rel=0.3) and std[3] > std[1] > 0
        Y.pow(2).sum().backward()
        assert (strength.grad != 0).tolist() == [False, True, False, True]

    def test_in_a_sequential_model(self):
        model = nn.Sequential(SignFlip(0.5), ChannelsDropout(0.5, 0.2), nn.Flatten(), nn.Linear(12, 2))
        assert len(list(model.parameters())) == 5
        model(signal(8, 2, 6)).sum().backward()
        assert model[1].magnitude.grad is not None


def test_only_training():
    X = signal(8, 2, 50)
    always, training = SignFlip(1.0), SignFlip(1.0, only_training=True)
    assert torch.equal(always.eval()(X), -X)
    assert torch.equal(training(X), -X) and torch.equal(training.eval()(X), X)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_values_outside_their_range(value):
    with pytest.raises(ValueError, match=r"sign_flip: probability must lie in \[0, 1\]"):
        SignFlip(value)
    with pytest.raises(ValueError, match=r"gaussian_noise: magnitude must lie in \[0, 1\]"):
        GaussianNoise(0.5, value)
    with pytest.raises(ValueError, match=r"sign_flip: probability must lie in \[0, 1\]"):
        SignFlip(0.5)(torch.zeros(2, 2, 5), probability=torch.tensor([0.5, value]))


class Windows(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, i):
        return torch.zeros(2, 50), i, [0, 0, 50]


class TestLoader:
    def batches(self, loader):
        return torch.stack([batch[0] for batch in loader])

    @pytest.mark.parametrize("seed", [None, 0])
    def test_workers_and_epochs_draw_differently(self, seed):
        loader = AugmentedDataLoader(
            Windows(), transforms=[GaussianNoise(1.0, 0.5, random_state=seed)], batch_size=16, num_workers=2
        )
        epochs = torch.cat([self.batches(loader), self.batches(loader)])
        assert epochs.shape == (8, 16, 2, 50) and not epochs.requires_grad
        flat = epochs.reshape(8, -1)
        for i in range(8):
            for j in range(i):
                assert not torch.equal(flat[i], flat[j])
        assert np.abs(np.corrcoef(flat.numpy()) - np.eye(8)).max() < 0.12

    def test_workers_repeat_when_the_loader_does(self):
        def run():
            loader = AugmentedDataLoader(
                Windows(),
                transforms=GaussianNoise(1.0, 0.5, random_state=0),
                batch_size=16,
                num_workers=2,
                generator=torch.Generator().manual_seed(3),
            )
            return torch.cat([self.batches(loader), self.batches(loader)])

        assert torch.equal(run(), run())

    def test_a_worker_that_is_spawned_gets_no_shared_memory_of_the_state(self):
        # Of a tensor that is made for the copy, the memory is gone before the worker has begun.
        transform = GaussianNoise(1.0, 0.5, random_state=0)
        transform(torch.zeros(1, 2, 50))
        states = transform.generators.__getstate__()["_states"]
        assert [type(state) for state in states.values()] == [np.ndarray]
        again = pickle.loads(pickle.dumps(transform))
        X = torch.zeros(3, 2, 50)
        out = again(X)
        assert torch.equal(out, transform(X)) and out.any()

    def test_in_this_process(self):
        first, second = (
            SignFlip(0.5, learnable=False, random_state=0),
            GaussianNoise(1.0, 0.5, learnable=False, random_state=0),
        )
        loader = AugmentedDataLoader(Windows(), transforms=[first, second], batch_size=16)
        one, two = self.batches(loader), self.batches(loader)
        assert not torch.equal(one, two) and not one.requires_grad
        X, y, crops = next(iter(loader))
        assert X.shape == (16, 2, 50) and y.tolist() == list(range(16)) and len(crops) == 3

    def test_copies_added_by_the_loader(self):
        loader = AugmentedDataLoader(Windows(), transforms=GaussianNoise(1.0, 0.5), batch_size=16, n_augmentation=2)
        X, y = next(iter(loader))
        assert X.shape == (48, 2, 50) and y.tolist() == list(range(16)) * 3
        assert torch.equal(X[:16], torch.zeros(16, 2, 50)) and not torch.equal(X[16:32], X[32:])

    def test_compose(self):
        X, y = signal(8, 2, 50), torch.arange(8)
        Z, z = Compose([SignFlip(1.0), TimeReverse(1.0)])(X, y)
        assert torch.equal(Z, -X.flip(-1)) and z is y

    def test_arrays_and_integers(self):
        assert SignFlip(1.0)(np.ones((2, 3, 4))).dtype == torch.float64
        assert torch.equal(SignFlip(1.0)(np.ones((3, 4), dtype=np.int16)), -torch.ones(3, 4))
