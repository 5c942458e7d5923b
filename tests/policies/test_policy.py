import copy
import json
import pickle

import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader, Compose, Transform
from torch.utils.data import Dataset

from eegaug.operations import get_operation, list_operations
from eegaug.policy import Policy, PolicyOperation, SubPolicy

MASS = ["C3", "C4", "F3", "F4", "O1", "O2"]


def signal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1000 + seed)).to(dtype)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def example(**changes):
    settings = {
        "sub_policies": [
            SubPolicy(operations=[("frequency_shift", 0.5, 0.06), ("sign_flip", 1.0)], weight=3),
            SubPolicy(operations=[("channels_dropout", 1.0, 1.0)], weight=1),
        ],
        "sfreq": 100,
        "ch_names": MASS,
        "searcher": "by hand",
        "settings": {"steps": 3, "rates": [0.1, 0.2]},
    }
    return Policy(**{**settings, **changes})


class TestData:
    def test_weights_sum_to_one(self):
        assert [sub.weight for sub in example().sub_policies] == [0.75, 0.25]

    def test_shown_in_one_line(self):
        assert repr(example()) == str(example()) == f"<Policy: 2 sub-policies (100 Hz; {', '.join(MASS)})>"
        assert repr(Policy.identity()) == "<Policy: 1 sub-policy>"

    def test_frozen_equal_and_hashable(self):
        policy, same = example(), example()
        other = example(sfreq=128)
        assert policy == same and hash(policy) == hash(same) and policy is not same
        assert policy != other and len({policy, same, other}) == 2 and policy != "policy"
        with pytest.raises(ValueError, match="frozen"):
            policy.sfreq = 3
        reordered = example(settings={"rates": [0.1, 0.2], "steps": 3})
        assert reordered == policy
        spelled = example(sfreq=float(policy.sfreq), settings={"rates": [0.1, 0.2], "steps": 3.0})
        assert spelled == policy and hash(spelled) == hash(policy)
        zeros = (PolicyOperation(operation="gaussian_noise", magnitude=zero) for zero in (0, 0.0, -0.0))
        assert len(set(zeros)) == 1

    def test_copies(self):
        policy = example()
        for other in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy)), Policy(**dict(policy))):
            assert other == policy
            X = signal(4, 6, 100)
            assert torch.equal(other.apply(X, generator=rng()), policy.apply(X, generator=rng()))

    def test_copies_with_other_values_do_what_they_say(self):
        X, shift = signal(2, 6, 400), [{"operations": [("frequency_shift", 1.0, 1.0)]}]
        policy = Policy(sub_policies=shift, sfreq=100)
        for changes in ({"sfreq": 200}, {"sub_policies": Policy.identity().sub_policies}, {"draws": 3}):
            changed, new = policy.model_copy(update=changes), Policy(**{**dict(policy), **changes})
            assert changed == new != policy and changed.describe() == new.describe()
            assert torch.equal(changed.apply(X, generator=rng()), new.apply(X, generator=rng()))
        with pytest.raises(ValueError, match="sfreq"):
            policy.model_copy(update={"sfreq": -1})
        with pytest.raises(ValueError, match="sample_rate"):
            policy.model_copy(update={"sample_rate": 200})

    def test_operations_give_their_options(self):
        op = get_operation("frequency_shift", sfreq=100, max_strength=1.0)
        step = PolicyOperation(operation=op, probability=0.5, magnitude=0.5)
        assert step.operation == "frequency_shift" and step.options["max_strength"] == 1.0
        policy = Policy(sub_policies=[SubPolicy(operations=[step])], sfreq=100)
        assert "up to ±0.5 Hz" in policy.describe()

    @pytest.mark.parametrize(
        ("sub_policies", "reason"),
        [
            ([], "at least 1"),
            ([SubPolicy(operations=[("frequency_shift", 0.5)])], "frequency_shift needs a magnitude in"),
            ([{"operations": [("swirl", 0.5, 0.5)]}], "unknown operation 'swirl'; known are"),
            ([{"operations": [("sign_flip", 1.5)]}], "less than or equal to 1"),
            ([{"operations": [], "weight": 0}], "greater than 0"),
            ([{"operations": [], "weight": 1e308}] * 2, "too large: their sum is inf"),
            (
                [{"operations": [], "weight": 1e-320}, {"operations": [], "weight": 1e10}],
                "weight 1e-320 would never be",
            ),
            (
                [{"operations": [("sign_flip", 1.0, None, {}, 0.5)]}],
                "an operation is .*magnitude, options.*, got 5 val",
            ),
            ([{"operations": [], "weight": "1"}], "must be a number, got '1'"),
            ([{"operations": [("sign_flip", True)]}], "must be a number, got True"),
            ([{"operations": [("gaussian_noise", 0.5, 0.5, {"colour": "pink"})]}], "no option 'colour'"),
            ([{"operations": [], "chance": 1}], "chance"),
        ],
    )
    def test_refusals(self, sub_policies, reason):
        with pytest.raises(ValueError, match=reason):
            example(sub_policies=sub_policies)

    @pytest.mark.parametrize(
        "magnitude", [1.5, -0.1, float("nan"), "x", "0.5", True, np.True_, (0.1,), (0.2, 1.5), (0.1, "0.5"), {}]
    )
    def test_one_reason_for_a_wrong_magnitude(self, magnitude):
        with pytest.raises(ValueError) as refused:
            PolicyOperation(operation="gaussian_noise", magnitude=magnitude)
        (error,) = refused.value.errors()
        reason = f"magnitude must be a number or a pair (low, high) in [0, 1], got {magnitude!r}"
        assert error["loc"] == ("magnitude",) and error["msg"] == f"Value error, {reason}"

    def test_magnitudes_of_numpy(self):
        for given, kept in ((np.float32(0.25), 0.25), (np.array([0.25, 0.5]), (0.25, 0.5)), ([0, 1], (0.0, 1.0))):
            assert PolicyOperation(operation="gaussian_noise", magnitude=given).magnitude == kept

    def test_says_what_is_missing(self):
        with pytest.raises(ValueError, match="frequency_shift needs the sampling rate; pass sfreq"):
            example(sfreq=None)
        symmetry = [SubPolicy(operations=[("channels_symmetry", 0.5)])]
        with pytest.raises(ValueError, match="channels_symmetry needs to know the electrodes; pass ch_names"):
            example(sub_policies=symmetry, ch_names=None)
        with pytest.raises(ValueError, match="positions need ch_names"):
            example(ch_names=None, positions=np.eye(3))

    @pytest.mark.parametrize(
        "wrong", [{"sfreq": True}, {"sfreq": "100"}, {"draws": True}, {"draws": "2"}, {"draws": 0}]
    )
    def test_numbers_are_numbers(self, wrong):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
            example(**wrong)

    def test_own_positions(self):
        names = ["a", "b", "c", "d"]
        places = {"a": (1, 0, 0.5), "b": (-1, 0, 0.5), "c": (0, 1, 1), "d": (0, -1, 1)}
        rotation = [SubPolicy(operations=[("sensors_rotation_z", 1.0, 1.0)])]
        policy = Policy(sub_policies=rotation, ch_names=names, positions=places)
        X = signal(4, 4, 10)
        assert (policy.apply(X) != X).any()
        assert Policy.model_validate_json(policy.model_dump_json()) == policy

    def test_signal_of_operations_that_are_instances(self):
        names, places = ["a", "b", "c", "d"], np.array([(1, 0, 0.5), (-1, 0, 0.5), (0, 1, 1), (0, -1, 1)])
        turn = get_operation("sensors_rotation_z", ch_names=names, positions=places)
        shift = get_operation("frequency_shift", sfreq=100)
        steps = [PolicyOperation(operation=turn, magnitude=1.0), (shift, 1.0, 0.5)]
        policy = Policy(sub_policies=[SubPolicy(operations=steps)])
        told = {"sub_policies": [{"operations": steps}], "sfreq": 100, "ch_names": names}
        Policy(**told, positions=9 * places)  # rounded otherwise
        assert policy == Policy(**told, positions=places)
        assert policy.positions == policy.operations[0].positions == turn.positions
        assert Policy.model_validate_json(policy.model_dump_json()) == copy.deepcopy(policy) == policy
        assert Policy.uniform(operations=[shift]).sfreq == 100
        flip = get_operation("sign_flip", sfreq=50, ch_names=["x"])  # does not look at them
        assert Policy(sub_policies=[{"operations": [(flip, 1.0)]}], sfreq=100).ch_names is None

    @pytest.mark.parametrize(
        ("signal", "reason"),
        [
            ({"sfreq": 50}, r"frequency_shift was built for sfreq=100.0, the policy or another .* for 50.0"),
            ({"ch_names": ["C4", "C3"]}, r"channels_symmetry was built for ch_names=\('C3', 'C4'\)"),
            ({}, r"frequency_shift was built for sfreq=50.0, the policy or another of its operations for 100.0"),
        ],
    )
    def test_instances_for_another_signal(self, signal, reason):
        steps = [
            (get_operation("frequency_shift", sfreq=100), 1.0, 0.5),
            (get_operation("channels_symmetry", ch_names=["C3", "C4"]), 1.0),
            (get_operation("frequency_shift", sfreq=100 if signal else 50), 1.0, 0.5),
        ]
        with pytest.raises(ValueError, match=reason):
            Policy(sub_policies=[SubPolicy(operations=steps)], **signal)


class TestFile:
    def test_round_trip(self, tmp_path):
        policy = example()
        path = tmp_path / "policy.json"
        policy.save(path)
        policy.save(str(path))
        assert Policy.load(path) == policy
        assert [p.name for p in tmp_path.iterdir()] == ["policy.json"]
        data = json.loads(path.read_text())
        assert data["format"] == "eegaug policy" and data["version"] == 1 and data["settings"]["steps"] == 3

    def test_weights_survive(self, tmp_path):
        policy = example(sub_policies=[SubPolicy(operations=[], weight=w) for w in np.random.default_rng(0).random(17)])
        policy.save(tmp_path / "p.json")
        assert Policy.load(tmp_path / "p.json") == policy

    def write(self, tmp_path, **changes):
        path = tmp_path / "policy.json"
        example().save(path)
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return path

    def test_newer_version(self, tmp_path):
        path = self.write(tmp_path, version=2, novelty=[1])
        with pytest.raises(
            ValueError, match=r"newer eegaug \(version 2 of the format, this one reads up to 1\); upgrade"
        ):
            Policy.load(path)
        with pytest.raises(ValueError, match="version 2 of the format is newer"):
            Policy.model_validate_json(path.read_text())

    @pytest.mark.parametrize("version", [2.0, 0, "1", True, None])
    def test_what_is_no_version(self, tmp_path, version):
        with pytest.raises(ValueError, match=f"version: there is no version {version!r} of the format"):
            Policy.load(self.write(tmp_path, version=version))

    def test_unknown_operation(self, tmp_path):
        path = self.write(tmp_path, sub_policies=[{"operations": [{"operation": "os.system"}]}])
        with pytest.raises(ValueError, match=r"sub_policies.0.operations.0: unknown operation 'os.system'; known are"):
            Policy.load(path)

    @pytest.mark.parametrize("positions", [3, [[None, {}, 0]] * 6, {"C3": {}}, True, "C3"])
    def test_damaged_positions(self, tmp_path, positions):
        with pytest.raises(ValueError, match=r"policy\.json cannot be read as a policy: .*position"):
            Policy.load(self.write(tmp_path, positions=positions))

    def test_wrong_magnitude(self, tmp_path):
        path = self.write(tmp_path, sub_policies=[{"operations": [["gaussian_noise", 1, 1.5]]}])
        reason = r"operations\.0\.magnitude: magnitude must be a number or a pair .* in \[0, 1\], got 1\.5"
        with pytest.raises(ValueError, match=reason):
            Policy.load(path)

    def test_not_a_policy(self, tmp_path):
        path = tmp_path / "policy.json"
        for text in ("__import__('os')", "[1]", '{"a": 1}', "[" * 100_000):
            path.write_text(text)
            with pytest.raises(ValueError, match="is not a policy"):
                Policy.load(path)
        with pytest.raises(ValueError, match="novelty: Extra inputs"):
            Policy.load(self.write(tmp_path, novelty=1))
        with pytest.raises(FileNotFoundError, match=r"there is no policy .*absent.json: eegaug search"):
            Policy.load(tmp_path / "absent.json")

    def test_unwritable(self, tmp_path):
        with pytest.raises(OSError):
            example().save(tmp_path / "no" / "such" / "folder.json")


class TestApply:
    def test_draws_by_weight_and_probability(self):
        n = 4000
        X = signal(n, 6, 64)
        Y = example().apply(X, generator=rng())
        dropped = (Y == 0).flatten(1).all(1)
        flipped = (Y == -X).flatten(1).all(1)
        shifted = ~dropped & ~flipped
        share = [float(kind.double().mean()) for kind in (dropped, flipped, shifted)]
        assert share == pytest.approx([0.25, 0.375, 0.375], abs=0.025)

    def test_operations_follow_in_order(self):
        steps = [("sign_flip", 1.0), ("channels_symmetry", 1.0), ("time_reverse", 1.0)]
        policy = example(sub_policies=[SubPolicy(operations=steps)])
        X = signal(5, 6, 20)
        assert torch.equal(policy.apply(X), -X[:, [1, 0, 3, 2, 5, 4]].flip(-1))

    def test_identity(self):
        X = signal(5, 6, 20)
        assert torch.equal(Policy.identity().apply(X), X)
        assert "changes nothing" in Policy.identity(sfreq=100).describe()

    @pytest.mark.parametrize("shape", [(6, 100), (0, 6, 100), (1, 6, 100), (4, 6, 101), (2, 3, 6, 100)])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_shapes_and_dtypes(self, shape, dtype):
        X = signal(*shape, dtype=dtype)
        before = X.clone()
        y = object()
        Y, same = Policy.fixed_sleep(sfreq=100, ch_names=MASS).apply(X, y, generator=rng())
        assert Y.shape == X.shape and Y.dtype == dtype and same is y
        assert torch.equal(X, before)

    def test_each_window_of_a_sequence_is_drawn_for(self):
        X = torch.ones(50, 4, 6, 10)
        Y = example(sub_policies=[SubPolicy(operations=[("sign_flip", 0.5)])]).apply(X, generator=rng())
        per_window = Y.flatten(2).mean(-1)
        assert (per_window.abs() == 1).all() and (per_window.std(1) > 0).any()

    def test_seed(self):
        X = signal(16, 6, 200)
        policy = Policy.fixed_sleep(sfreq=100, ch_names=MASS)
        before = torch.get_rng_state()
        one, same, other = (policy.apply(X, generator=rng(seed)) for seed in (1, 1, 2))
        assert torch.equal(one, same) and not torch.equal(one, other)
        assert torch.equal(torch.get_rng_state(), before)

    def test_gradient_to_the_signal(self):
        X = signal(32, 6, 200).requires_grad_()
        Policy.fixed_sleep(sfreq=100, ch_names=MASS).apply(X, generator=rng()).pow(2).sum().backward()
        assert torch.isfinite(X.grad).all() and (X.grad.abs().sum((1, 2)) > 0).double().mean() > 0.8

    def test_wrong_signals(self):
        with pytest.raises(ValueError, match=r"6 channels \['C3'.*got X with 5"):
            example().apply(signal(2, 5, 100))
        with pytest.raises(ValueError, match=r"got \(100,\)"):
            example().apply(signal(100))
        with pytest.raises(TypeError, match="X must be a tensor of floating-point numbers, got a ndarray: torch"):
            example().apply(signal(2, 6, 100).numpy())
        with pytest.raises(TypeError, match=r"got a tensor of torch\.int64"):
            example().apply(signal(2, 6, 100).long())


class TestWords:
    policy = Policy(
        sub_policies=[
            SubPolicy(operations=[("sign_flip", 1.0), ("time_reverse", 0.5)], weight=1),
            SubPolicy(operations=[("time_reverse", 0.5)], weight=5),
            SubPolicy(operations=[("gaussian_noise", 0.25, (0.5, 1.0))], weight=3),
            SubPolicy(operations=(), weight=1),
        ]
    )

    def test_the_likeliest_are_named_and_the_others_summed_up(self):
        words = [
            "Draws one of 4 sub-policies for each window.",
            "10 %: with probability 1 flips the sign of all channels;",
            "    then with probability 0.5 plays windows backwards",
            "50 %: with probability 0.5 plays windows backwards",
            "30 %: with probability 0.25 adds white noise of standard deviation 0.2, times a factor drawn between 0.5 "
            "and 1",
            "10 %: changes nothing",
        ]
        assert self.policy.describe().splitlines() == self.policy.describe(4).splitlines() == words
        assert self.policy.describe(2).splitlines() == [words[0], *words[3:5], "20 %: one of 2 others"]

    def test_table(self):
        table = self.policy.table()
        assert table[["sub_policy", "place"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [2, 0], [3, 0]]
        assert table["operation"].tolist() == ["sign_flip", "time_reverse", "time_reverse", "gaussian_noise", ""]
        assert table["weight"].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.3, 0.1])
        nan = float("nan")
        for name, values in {
            "probability": [1.0, 0.5, 0.5, 0.25, nan],
            "lowest_magnitude": [nan, nan, nan, 0.5, nan],
            "magnitude": [nan, nan, nan, 1.0, nan],
            "strength": [nan, nan, nan, 0.2, nan],
        }.items():
            np.testing.assert_allclose(table[name], values)
        assert table["unit"].tolist()[3] == "SD" and (table["draws"] == 1).all()


class TestFixedSleep:
    def test_strengths(self):
        policy = Policy.fixed_sleep(sfreq=100, ch_names=MASS)
        assert [sub.operations[0].operation for sub in policy.sub_policies] == list_operations()
        assert all(sub.operations[0].probability == 0.5 for sub in policy.sub_policies)
        np.testing.assert_allclose([sub.weight for sub in policy.sub_policies], 1 / 13)
        strength = {}
        for sub in policy.sub_policies:
            (step,) = sub.operations
            op = get_operation(step.operation, sfreq=100, ch_names=MASS, **step.options)
            strength[step.operation] = None if step.magnitude is None else op.physical(step.magnitude)
        assert strength == pytest.approx(
            {
                "time_reverse": None,
                "time_masking": 200,
                "gaussian_noise": 0.12,
                "ft_surrogate": 0.8 * 2 * np.pi,
                "frequency_shift": 0.3,
                "bandstop_filter": 1.2,
                "sign_flip": None,
                "channels_symmetry": None,
                "channels_shuffle": 0.8,
                "channels_dropout": 0.4,
                "sensors_rotation_x": 25,
                "sensors_rotation_y": 9,
                "sensors_rotation_z": 30,
            }
        )

    def test_void_operations_are_left_out(self, recwarn):
        names = {s.operations[0].operation for s in Policy.fixed_sleep(sfreq=100, ch_names=["Fpz", "Pz"]).sub_policies}
        assert set(list_operations()) - names == {
            "channels_symmetry",
            "sensors_rotation_x",
            "sensors_rotation_y",
            "sensors_rotation_z",
        }
        single = {s.operations[0].operation for s in Policy.fixed_sleep(sfreq=100, ch_names=["C3"]).sub_policies}
        assert "channels_shuffle" not in single and "channels_dropout" in single
        assert len(Policy.fixed_sleep(sfreq=100).sub_policies) == 9
        assert not [w for w in recwarn if issubclass(w.category, UserWarning)]

    def test_unknown_electrodes_are_said(self):
        with pytest.warns(
            UserWarning, match="goes without sensors_rotation_x, .*_z: channel 'EOG' is not in the 10-05 montage"
        ):
            policy = Policy.fixed_sleep(sfreq=100, ch_names=["C3", "C4", "EOG", "O1"])
        assert len(policy.sub_policies) == 10

    def test_text(self):
        text = Policy.fixed_sleep(sfreq=100, ch_names=MASS).describe()
        assert text.splitlines()[0] == "Draws one of 13 sub-policies for each window (100 Hz; C3, C4, F3, F4, O1, O2)."
        assert "7.69 %: with probability 0.5 shifts all frequencies by up to ±0.3 Hz" in text
        assert "turns the cap about the axis through the nose by up to ±9 degrees" in text


class Windows(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.ones(6, 100), i, [0, 0, 100]


class TestBraindecode:
    def test_same_effect(self):
        policy = example()
        transform = policy.to_braindecode(random_state=0)
        assert isinstance(transform, Transform) and "2 sub-policies" in repr(transform)
        X, y = signal(64, 6, 100), torch.arange(64)
        state = copy.deepcopy(transform).generators.get(X.device)
        Z, z = transform(X, y)
        assert z is y and torch.equal(Z, policy.apply(X, generator=state))
        assert torch.equal(copy.deepcopy(transform)(X), pickle.loads(pickle.dumps(transform))(X))
        assert Compose([transform, transform])(X, y)[0].shape == X.shape

    def test_only_training(self):
        X = signal(64, 6, 100)
        assert torch.equal(example().to_braindecode(only_training=True).eval()(X), X)
        assert not torch.equal(example().to_braindecode().eval()(X), X)

    def test_in_a_loader_with_workers(self):
        loader = AugmentedDataLoader(
            Windows(), transforms=example().to_braindecode(random_state=0), batch_size=8, num_workers=2
        )
        epochs = torch.stack([torch.cat([batch[0] for batch in loader]) for _ in range(2)])
        assert epochs.shape == (2, 32, 6, 100) and not torch.equal(epochs[0], epochs[1])
        assert not torch.equal(epochs[0, :8], epochs[0, 8:16])
