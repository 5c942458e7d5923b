import copy
import json
import pickle

import pytest
import torch
from braindecode.models import SleepStagerChambon2018
from safetensors.torch import save_file
from small import CHANNELS, SFREQ, SmallNet, X, Y, staging

from eegaug._inputs import Signal
from eegaug.operations import get_operation
from eegaug.policies.network import AugmentationNetwork
from eegaug.policy import ClassPolicy, ConditionalPolicy, Policy, load_policy

NAMED = ["sign_flip", "time_reverse", "gaussian_noise"]
PAIRS = [(0, 1), (0, 2), (1, 2)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def network(seed=0, n_pairs=3):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        trunk = SleepStagerChambon2018(n_chans=4, sfreq=SFREQ, n_times=100, n_outputs=3)
        net = AugmentationNetwork(trunk, n_pairs, Signal(4, 100, SFREQ, tuple(CHANNELS)))
    return net


def example(seed=0, **changes):
    given = {"network": network(seed), "operations": NAMED, "pairs": PAIRS, "sfreq": SFREQ, "ch_names": CHANNELS}
    return ConditionalPolicy(**{**given, "searcher": "DNASearch", "settings": {"steps": 2}, **changes})


class Planted(torch.nn.Module):
    """Flips the sign of windows with a positive mean, reverses others."""

    def config(self):
        return {"planted": True}

    def forward(self, X):
        positive = X.mean((1, 2)) > 0
        n = len(X)
        probability = torch.zeros(n, 3, 2)
        probability[:, 1, 0] = probability[:, 2, 0] = 1.0
        log_weights = torch.full((n, 3), -100.0)
        log_weights[positive, 1] = log_weights[~positive, 2] = 0.0
        return probability, torch.full((n, 3, 2), 0.5), log_weights


class OnePair(Planted):
    """Says something of one operation only."""

    def forward(self, X):
        return torch.ones(len(X), 1, 1), torch.ones(len(X), 1, 1), torch.zeros(len(X), 1)


class TestApply:
    def test_what_the_network_sees_decides(self):
        X = torch.randn(40, 4, 30, generator=rng()) + torch.linspace(-1, 1, 40)[:, None, None]
        out = example(network=Planted()).apply(X, generator=rng())
        positive = (X.mean((1, 2)) > 0)[:, None, None]
        assert torch.equal(out, torch.where(positive, -X, X.flip(-1)))

    def test_law_of_the_draws(self):
        class Constant(Planted):
            def forward(self, X):
                n = len(X)
                weights = torch.tensor([0.5, 0.3, 0.2]).log().expand(n, 3)
                return torch.full((n, 3, 2), 0.5), torch.full((n, 3, 2), 1.0), weights

        X = 3 + torch.arange(30.0).expand(20000, 4, 30)
        out = example(network=Constant()).apply(X, generator=rng())
        flipped, reversed_ = out[:, 0].mean(-1) < 0, out[:, 0, 0].abs() > out[:, 0, -1].abs()
        noisy = (out[:, 0].frac() != 0).any(-1)
        found = [float(kind.double().mean()) for kind in (flipped, reversed_, noisy)]
        assert found == pytest.approx([0.5 * 0.8, 0.5 * 0.7, 0.5 * 0.5], abs=0.015)

    def test_seed_and_shapes(self):
        policy = example()
        before = torch.get_rng_state()
        for shape in [(4, 100), (0, 4, 100), (1, 4, 100), (6, 4, 100), (2, 3, 4, 100)]:
            Z = torch.randn(shape, generator=rng(5))
            one, same = (policy.apply(Z, generator=rng(1)) for _ in range(2))
            assert one.shape == Z.shape and torch.equal(one, same)
        Z, y = torch.randn(64, 4, 100, generator=rng(5)), object()
        assert policy.apply(Z, y, rng(1))[1] is y
        assert not torch.equal(policy.apply(Z, generator=rng(1)), policy.apply(Z, generator=rng(2)))
        assert torch.equal(torch.get_rng_state(), before)

    def test_the_network_is_a_frozen_copy(self):
        net = network()
        policy = example(network=net)
        with torch.no_grad():
            net.weight.bias += 3.0
        module = policy.module()
        state = copy.deepcopy(module.state_dict())
        policy.apply(torch.randn(64, 4, 100))
        assert not module.training and not any(p.requires_grad for p in module.parameters())
        assert all(torch.equal(value, module.state_dict()[name]) for name, value in state.items())
        assert policy == example() and policy != example(network=net)

    def test_predict(self):
        probabilities, magnitudes, weights = example().predict(torch.randn(5, 4, 100))
        assert probabilities.shape == magnitudes.shape == (5, 3, 2)
        torch.testing.assert_close(weights.sum(1), torch.ones(5))


class TestData:
    def test_round_trip(self, tmp_path):
        policy = example(mean=Policy.identity())
        path = tmp_path / "policy.json"
        policy.save(path)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["policy.json", "policy.safetensors"]
        Z = torch.randn(32, 4, 100)
        copies = [load_policy(path), Policy.load(str(path)), copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))]
        for again in copies:
            assert again == policy and hash(again) == hash(policy) and type(again) is ConditionalPolicy
            assert torch.equal(again.apply(Z, generator=rng()), policy.apply(Z, generator=rng()))

    def test_equality(self):
        op = get_operation("gaussian_noise", max_strength=0.1)
        assert example() == example() and example() != example(1)
        assert example() != example(operations=["sign_flip", "time_reverse", op])
        assert example(pairs=torch.tensor(PAIRS)) == example()

    def test_files_that_do_not_belong_together(self, tmp_path):
        example(0).save(tmp_path / "a.json")
        example(1).save(tmp_path / "b.json")
        (tmp_path / "b.safetensors").replace(tmp_path / "a.safetensors")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "b.json").rename(tmp_path / "elsewhere" / "b.json")
        with pytest.raises(FileNotFoundError, match=r"weights of the policy's network are missing.*b.safetensors"):
            load_policy(tmp_path / "elsewhere" / "b.json")
        with pytest.raises(ValueError, match="weights of another policy"):
            load_policy(tmp_path / "a.json")
        (tmp_path / "a.safetensors").write_bytes(b"nonsense")
        with pytest.raises(ValueError, match="does not hold the weights"):
            load_policy(tmp_path / "a.json")

    def test_each_name_has_weights_of_its_own(self, tmp_path):
        names = ["dna.fold1", "dna.fold2", "dna.json"]
        for seed, name in enumerate(names):
            example(seed).save(tmp_path / name)
        assert len(list(tmp_path.iterdir())) == 6 and (tmp_path / "dna.fold2.safetensors").is_file()
        assert [load_policy(tmp_path / name) for name in names] == [example(seed) for seed in range(3)]

    def test_renamed_policies_find_their_weights(self, tmp_path):
        save_file({"x": torch.zeros(2, dtype=torch.bfloat16)}, tmp_path / "0.safetensors")
        (tmp_path / "1.safetensors").write_bytes(b"damaged")
        names = ["fold.1", "fold.txt", "dna.json"]
        for seed, name in enumerate(names):
            example(seed).save(tmp_path / name)
            (tmp_path / name).rename(tmp_path / f"policy{seed}.json")
        assert [load_policy(tmp_path / f"policy{seed}.json") for seed in range(3)] == [example(s) for s in range(3)]

    def test_weights_are_not_overwritten_by_the_policy(self, tmp_path):
        with pytest.raises(ValueError, match=r"x\.safetensors is a name for the weights.* name the policy \*\.json"):
            example().save(tmp_path / "x.safetensors")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("damage", "reason"),
        [
            ({"network": {}}, "KeyError: 'trunk'"),
            ({"network": example().network | {"trunk": None}}, "TypeError"),
            ({"network": example().network | {"n_pairs": None}}, "TypeError"),
            ({"operations": 3}, "TypeError"),
            ({"pairs": PAIRS[:2]}, r"array of shape \(3, 2\) .* pairs is of shape \(2, 2\)"),
            ({"pairs": [(0,), (1,), (2,)]}, r"array of shape \(3, 2\) .* pairs is of shape \(3, 1\)"),
        ],
    )
    def test_damaged_file(self, tmp_path, damage, reason):
        example().save(tmp_path / "p.json")
        (tmp_path / "p.json").write_text(json.dumps(example().model_dump(mode="json") | damage))
        with pytest.raises(ValueError, match=rf"p\.json cannot be read as a policy: .*{reason}"):
            load_policy(tmp_path / "p.json")

    def test_a_trunk_of_ones_own_is_never_built_from_its_name(self, tmp_path):
        net = AugmentationNetwork(
            SmallNet(4, 3), 3, Signal(4, 100, SFREQ, tuple(CHANNELS)), {"n_chans": 4, "n_outputs": 3}
        )
        example(network=net).save(tmp_path / "policy.json")
        with pytest.raises(ValueError, match="pass module=SmallNet"):
            load_policy(tmp_path / "policy.json")
        assert load_policy(tmp_path / "policy.json", module=SmallNet) == example(network=net)

    def test_newer_version_and_unknown_operation(self, tmp_path):
        document = example().model_dump(mode="json")
        (tmp_path / "p.json").write_text(json.dumps({**document, "version": 2}))
        with pytest.raises(ValueError, match=r"newer eegaug \(version 2"):
            load_policy(tmp_path / "p.json")
        document["operation_list"][0]["operation"] = "swirl"
        (tmp_path / "p.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=r"operation_list\.0: unknown operation 'swirl'"):
            load_policy(tmp_path / "p.json")

    def test_without_its_weights_it_says_so(self):
        bare = ConditionalPolicy.model_validate(example().model_dump(mode="json"))
        assert bare == example()
        with pytest.raises(ValueError, match="read without its weights"):
            bare.apply(torch.randn(2, 4, 100))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"pairs": []}, "at least 1"),
            ({"pairs": [(0, 3)]}, "names operation 3; there are 3"),
            ({"pairs": [(0, 1), (2,)]}, "same number"),
            ({"pairs": [*PAIRS, (0, 0)]}, r"of shape \(3, 2\) .* pairs is of shape \(4, 2\)"),
            ({"pairs": [(0,), (1,), (2,)]}, r"of shape \(3, 2\) .* pairs is of shape \(3, 1\)"),
            ({"operations": ["swirl"]}, "unknown operation 'swirl'"),
            ({"sfreq": None, "operations": ["frequency_shift"], "pairs": [(0, 0)]}, "needs the sampling rate"),
        ],
    )
    def test_refusals(self, changes, reason):
        with pytest.raises(ValueError, match=reason):
            example(**changes)

    def test_a_network_of_ones_own_is_checked_when_it_speaks(self):
        with pytest.raises(ValueError, match=r"array of shape \(1, 1\) .* pairs is of shape \(3, 2\)"):
            example(network=OnePair()).apply(torch.randn(2, 4, 100))

    def test_signal_of_operations_that_are_instances(self):
        op = get_operation("frequency_shift", sfreq=SFREQ)
        policy = example(operations=[op, op, op], sfreq=None)
        assert policy.sfreq == SFREQ
        with pytest.raises(ValueError, match=r"frequency_shift was built for sfreq=50\.0, the policy"):
            example(operations=[op, op, op], sfreq=100)

    def test_words(self):
        text = example().describe()
        assert text.startswith("Reads off each window which of 3 sub-policies of 2 operations in a row to draw")
        flip = Policy(sub_policies=[{"operations": [("sign_flip", 1.0)]}])
        mean = ClassPolicy(classes=[0, 1], policies=[flip, Policy.identity()], names=["W", "N1"])
        policy = example(mean=mean)
        assert "    W: Does the same to each window." in policy.describe()
        assert policy.table()["class"].tolist() == ["W", "N1"]
        with pytest.raises(ValueError, match="differs from window to window"):
            example().table()


def test_trains_a_classifier_and_survives_its_folder(tmp_path):
    policy = example()
    clf = staging("SleepStagerChambon2018", policy=policy, max_epochs=1).fit(X, Y)
    again = staging().load(clf.save(tmp_path / "model"))
    assert again.policy == policy
    Z = torch.randn(8, 4, 100)
    assert torch.equal(again.policy.apply(Z, generator=rng()), policy.apply(Z, generator=rng()))


def test_copies_with_other_values_keep_the_network():
    policy, Z = example(), torch.randn(16, 4, 100)
    flips = policy.model_copy(update={"operations": ["sign_flip"] * 3, "settings": {}})
    assert flips == example(operations=["sign_flip"] * 3, settings={}) and flips.weights == policy.weights
    out = flips.apply(Z, generator=rng())
    assert all(torch.equal(one, X) or torch.equal(one, -X) for one, X in zip(out, Z, strict=True))
    with pytest.raises(ValueError, match="names operation 2; there are 2"):
        policy.model_copy(update={"operations": NAMED[:2]})


def test_as_a_braindecode_transform():
    policy = example()
    transform = policy.to_braindecode(random_state=0)
    Z, y = torch.randn(16, 4, 100), torch.arange(16)
    state = copy.deepcopy(transform).generators.get(Z.device)
    out, same = transform(Z, y)
    assert same is y and torch.equal(out, policy.apply(Z, generator=state))
    assert "drawn by what a network sees" in repr(transform)


def test_copies_on_other_devices_are_not_pickled():
    policy = example()
    policy.module("meta")
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy and list(policy._elsewhere) == ["meta"] and not again._elsewhere
    X = torch.randn(6, 4, 100, generator=rng())
    assert torch.equal(again.apply(X, generator=rng(1)), policy.apply(X, generator=rng(1)))


def test_a_model_whose_policy_has_lost_its_network_says_so(tmp_path):
    clf = staging("SleepStagerChambon2018", policy=example(), max_epochs=1).fit(X, Y)
    folder = clf.save(tmp_path / "model")
    (folder / "policy.safetensors").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"comes without its network .*: the model predicts"):
        again = staging().load(folder)
    assert (again.predict(X) == clf.predict(X)).all()
