import copy
import json
import pickle

import numpy as np
import pytest
import torch
from braindecode.augmentation import AugmentedDataLoader
from small import NAMES, X, Y, staging
from torch.utils.data import Dataset

from eegaug.policy import ClassPolicy, Policy, SubPolicy, load_policy

FLIP = Policy(sub_policies=[SubPolicy(operations=[("sign_flip", 1.0)])])
MIXED = Policy(
    sub_policies=[
        SubPolicy(operations=[("gaussian_noise", 0.7, 0.5), ("sign_flip", 0.5)], weight=2),
        SubPolicy(operations=[("frequency_shift", 0.9, 0.3)]),
    ],
    sfreq=100,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def example(**changes):
    given = {
        "classes": [0, 1, 2],
        "policies": [FLIP, Policy.identity(), MIXED],
        "names": ["W", "N1", "N2"],
        "sfreq": 100,
    }
    return ClassPolicy(**{**given, "searcher": "CADDA", "settings": {"steps": 3}, **changes})


def signal(*shape):
    return torch.randn(shape, generator=rng(7))


class TestApply:
    def test_each_window_by_the_policy_of_its_class(self):
        X, y = signal(30, 2, 50), torch.arange(30) % 2
        out, same = example().apply(X, y, rng())
        assert same is y
        assert torch.equal(out, torch.where((y == 0)[:, None, None], -X, X))

    def test_equal_policies_for_all_classes_are_one_policy(self):
        X, y = signal(64, 2, 50), torch.randint(0, 3, (64,), generator=rng(1))
        out, _ = example(policies=[MIXED] * 3).apply(X, y, rng(3))
        assert torch.equal(out, MIXED.apply(X, generator=rng(3)))

    def test_permuted_labels_permute_policies(self):
        X, y = signal(64, 2, 50), torch.randint(0, 3, (64,), generator=rng(1))
        one, _ = example().apply(X, y, rng(3))
        order = torch.tensor([2, 0, 1])  # class i is called order[i] now
        policies = [None] * 3
        for i, policy in enumerate([FLIP, Policy.identity(), MIXED]):
            policies[order[i]] = policy
        other, _ = example(policies=policies).apply(X, order[y], rng(3))
        assert torch.equal(one, other)

    @pytest.mark.parametrize("y", [["W", "N1", "N2"], np.array(["W", "N1", "N2"]), (0, 1, 2), torch.tensor([0, 1, 2])])
    def test_labels_or_names(self, y):
        policies = [FLIP, Policy.identity(), FLIP]
        out, _ = example(policies=policies).apply(torch.ones(3, 2, 5), y)
        assert out[:, 0, 0].tolist() == [-1.0, 1.0, -1.0]

    def test_codes_where_labels_are_words(self):
        policy = ClassPolicy(classes=["a", "b"], policies=[FLIP, Policy.identity()])
        for y in (["b", "a"], torch.tensor([1, 0])):
            assert policy.apply(torch.ones(2, 1, 3), y)[0][:, 0, 0].tolist() == [1.0, -1.0]

    def test_numbers_that_are_labels_are_never_codes(self):
        policy = ClassPolicy(classes=[1, 0], policies=[FLIP, Policy.identity()])
        assert policy.apply(torch.ones(2, 1, 3), [0, 1])[0][:, 0, 0].tolist() == [1.0, -1.0]
        with pytest.raises(ValueError, match="label 2 has no policy"):
            policy.apply(torch.ones(1, 1, 3), [2])

    @pytest.mark.parametrize("y", [["a", None], np.array(["a", None], dtype=object)])
    def test_windows_without_a_label_are_named(self, y):
        policy = ClassPolicy(classes=["a", "b"], policies=[FLIP, Policy.identity()])
        with pytest.raises(ValueError, match="label None has no policy; the classes are 'a', 'b'"):
            policy.apply(torch.ones(2, 1, 3), y)

    def test_sequences(self):
        X, policy = torch.ones(2, 3, 1, 4), example(policies=[FLIP, Policy.identity(), FLIP])
        assert policy.apply(X, torch.tensor([[0, 1, 1], [1, 0, 0]]))[0][..., 0, 0].tolist() == [[-1, 1, 1], [1, -1, -1]]
        assert policy.apply(X, torch.tensor([0, 1]))[0][..., 0, 0].tolist() == [[-1, -1, -1], [1, 1, 1]]
        assert policy.apply(torch.ones(1, 4), 0)[0].tolist() == [[-1.0] * 4]
        assert policy.apply(torch.ones(0, 1, 4), torch.zeros(0))[0].shape == (0, 1, 4)
        assert policy.apply(torch.ones(0, 3, 1, 4), torch.zeros(0))[0].shape == (0, 3, 1, 4)

    @pytest.mark.parametrize(
        ("shape", "y"),
        [((4, 1, 3), [0, 1]), ((4, 1, 3), 0), ((2, 3, 1, 4), [0, 1, 0]), ((4, 3, 1, 4), [0, 1]), ((1, 3), [])],
    )
    def test_labels_are_not_repeated_but_for_the_windows_of_a_sequence(self, shape, y):
        with pytest.raises(
            ValueError, match=f"there are {np.prod(shape[:-2], dtype=int)} windows and {np.size(y)} labels"
        ):
            example().apply(torch.ones(shape), y)

    def test_refusals(self):
        X = signal(2, 2, 50)
        with pytest.raises(ValueError, match="needs the labels of the windows"):
            example().apply(X)
        with pytest.raises(ValueError, match=r"label 'REM' has no policy; the classes are 0, 1, 2 \(W, N1, N2\)"):
            example().apply(X, ["W", "REM"])
        with pytest.raises(ValueError, match="2 windows and 3 labels"):
            example().apply(X, [0, 1, 2])


class TestData:
    def test_same_kind_of_object(self, tmp_path):
        policy, same = example(), example()
        other = example(policies=[FLIP, FLIP, MIXED])
        assert policy == same and hash(policy) == hash(same) and policy != other and policy != FLIP
        path = tmp_path / "policy.json"
        policy.save(path)
        for again in (load_policy(path), Policy.load(path), ClassPolicy.load(path), copy.deepcopy(policy)):
            assert again == policy and type(again) is ClassPolicy
        X, y = signal(16, 2, 50), torch.arange(16) % 3
        assert torch.equal(pickle.loads(pickle.dumps(policy)).apply(X, y, rng())[0], policy.apply(X, y, rng())[0])
        assert json.loads(path.read_text())["kind"] == "class-wise"
        assert [op.name for op in policy.operations] == ["sign_flip", "gaussian_noise", "frequency_shift"]

    def test_file_of_another_kind(self, tmp_path):
        FLIP.save(tmp_path / "flip.json")
        with pytest.raises(TypeError, match="holds a Policy, not a ClassPolicy"):
            ClassPolicy.load(tmp_path / "flip.json")
        document = {**json.loads((tmp_path / "flip.json").read_text()), "kind": "telepathic"}
        (tmp_path / "flip.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match="unknown kind 'telepathic'; known are sub-policies, class-wise"):
            load_policy(tmp_path / "flip.json")
        document = {**example().model_dump(mode="json"), "version": 9}
        (tmp_path / "flip.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=r"newer eegaug \(version 9"):
            load_policy(tmp_path / "flip.json")

    def test_unknown_operation_of_one_class(self, tmp_path):
        document = example().model_dump(mode="json")
        document["policies"][2]["sub_policies"][0]["operations"][0]["operation"] = "swirl"
        (tmp_path / "p.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=r"policies.2.sub_policies.0.operations.0: unknown operation 'swirl'"):
            load_policy(tmp_path / "p.json")

    @pytest.mark.parametrize("damage", [{"policies": 3}, {"policies": None}, {"positions": 3, "ch_names": ["C3"]}])
    def test_damaged_file(self, tmp_path, damage):
        (tmp_path / "p.json").write_text(json.dumps(example().model_dump(mode="json") | damage))
        with pytest.raises(ValueError, match=r"p\.json cannot be read as a policy: .*(policies|positions)"):
            Policy.load(tmp_path / "p.json")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"classes": [0, 1]}, "2 classes and 3 policies"),
            ({"classes": [0, 1, 1]}, "twice"),
            ({"names": ["W", "W", "N1"]}, "names must be 3 different ones"),
            ({"sfreq": 50}, r"class 2 has sfreq=100.0, the others 50.0"),
            ({"policies": [FLIP, FLIP, Policy.rand_augment(operations=["sign_flip"])]}, "draws must be the same"),
        ],
    )
    def test_refusals(self, changes, reason):
        with pytest.raises(ValueError, match=reason):
            example(**changes)

    def test_signal_of_the_policies(self):
        assert example(sfreq=None).sfreq == 100

    def test_words(self):
        text = example().describe()
        assert text.splitlines()[0] == "Augments windows of each of 3 classes in their own way (100 Hz)."
        assert "W: Does the same to each window.\n    100 %: with probability 1 flips the sign of all channels" in text
        assert "3 classes, 4 sub-policies" in repr(example().to_braindecode())
        assert example().policy_of("N1") == example().policy_of(1) == Policy.identity()

    def test_table(self):
        table = example().table()
        assert table["class"].tolist() == ["W", "N1", "N2", "N2", "N2"]
        assert table["draws"].tolist() == [1] * 5
        row = table.iloc[-1]
        assert (row["operation"], row["unit"]) == ("frequency_shift", "Hz")
        assert (row["strength"], row["weight"]) == (pytest.approx(1.5), pytest.approx(1 / 3))


class Windows(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, i):
        return torch.ones(2, 50), i % 2, [0, 0, 50]


def test_braindecode_passes_the_labels():
    transform = example().to_braindecode(random_state=0)
    loader = AugmentedDataLoader(Windows(), transforms=transform, batch_size=8)
    for windows, y, *_ in loader:
        assert torch.equal(windows[:, 0, 0], 2.0 * y - 1)
    assert torch.equal(example().to_braindecode(only_training=True).eval()(torch.ones(2, 2, 50)), torch.ones(2, 2, 50))


class TestTraining:
    def test_the_classifier_hands_over_the_labels_as_given(self):
        seen = []

        class Spy(ClassPolicy):
            def apply(self, X, y=None, generator=None):
                seen.append(np.asarray(y))
                return super().apply(X, y, generator)

        policy = Spy(classes=NAMES, policies=[FLIP, Policy.identity(), FLIP])
        staging(policy=policy, max_epochs=1).fit(X, NAMES[Y])
        assert set(np.concatenate(seen)) == set(NAMES)

    def test_class_without_policy(self):
        policy = ClassPolicy(classes=[0, 1], policies=[FLIP, FLIP])
        with pytest.raises(ValueError, match=r"label 2 has no policy; the classes are 0, 1"):
            staging(policy=policy, max_epochs=1).fit(X, Y)

    def test_survives_a_model_folder(self, tmp_path):
        policy = ClassPolicy(classes=[0, 1, 2], policies=[FLIP] * 3)
        model = staging("SleepStagerChambon2018", policy=policy, max_epochs=1).fit(X, Y).save(tmp_path / "model")
        assert type(staging().load(model).policy) is ClassPolicy
        assert staging().load(model).policy == policy
