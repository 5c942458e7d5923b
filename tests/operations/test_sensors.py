import warnings

import numpy as np
import pytest
import torch
from braindecode.augmentation import functional as braindecode

from eegaug import operations
from eegaug.montage import electrode_positions
from eegaug.operations import get_operation
from eegaug.operations.sensors import ChannelsDropout, SensorsOperation

from .base import MASS, OperationTests, rng, signal

TEN_TWENTY = [
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "O2",
]


class SensorsTests(OperationTests):
    def test_matrix_is_the_operation(self):
        X = signal(5, 6, 50, dtype=torch.float64)
        op, noise = self.drawn(X)
        noise = {key: value.double() for key, value in noise.items()}
        magnitude = torch.linspace(0, 1, 5, dtype=torch.float64)
        matrix = op.mixing_matrix(magnitude, noise, 6).double()
        assert matrix.shape in ((5, 6, 6), (1, 6, 6))
        torch.testing.assert_close(matrix @ X, op.apply(X, magnitude, noise))

    def test_matrix_has_the_same_gradient(self):
        X = signal(64, 6, 20, dtype=torch.float64)
        op, noise = self.drawn(X)
        if not op.has_magnitude:
            return
        noise = {key: value.double() for key, value in noise.items()}
        magnitude = torch.full((64,), 0.4, dtype=torch.float64, requires_grad=True)
        target = signal(64, 6, 20, dtype=torch.float64, seed=9)
        slopes = [
            torch.autograd.grad((Y * target).sum(), magnitude)[0]
            for Y in (op.mixing_matrix(magnitude, noise, 6) @ X, op.apply(X, magnitude, noise))
        ]
        torch.testing.assert_close(*slopes)


class TestSignFlip(SensorsTests):
    name = "sign_flip"
    random = False

    def test_flips(self):
        X = signal(2, 6, 10)
        assert torch.equal(self.op()(X), -X)
        assert torch.equal(self.op()(X), braindecode.sign_flip(X, None)[0])


class TestChannelsSymmetry(SensorsTests):
    name = "channels_symmetry"
    random = False

    def test_exchanges_sides(self):
        X = signal(2, 6, 10)
        op = self.op()
        assert torch.equal(op(X), X[:, [1, 0, 3, 2, 5, 4]]) and torch.equal(op(op(X)), X)

    def test_bipolar_names(self):
        X = signal(2, 3, 10)
        op = get_operation(self.name, ch_names=["EEG C3-A2", "EEG Fz-A2", "EEG C4-A1"])
        assert torch.equal(op(X), X[:, [2, 1, 0]])

    def test_needs_names(self):
        with pytest.raises(ValueError, match=r"channels_symmetry needs to know the electrodes; pass ch_names"):
            get_operation(self.name)
        with pytest.raises(TypeError, match="got the string 'C3'"):
            get_operation(self.name, ch_names="C3")


class TestChannelsShuffle(SensorsTests):
    name = "channels_shuffle"
    pathwise = False

    @pytest.mark.parametrize("magnitude", [0.2, 0.7, 1.0])
    def test_is_a_permutation(self, magnitude):
        X = torch.arange(6.0)[None, :, None].expand(200, 6, 3)
        Y = self.op()(X, magnitude, generator=rng())
        assert torch.equal(Y.sort(1).values, X) and torch.equal(Y.sum(1), X.sum(1))

    def test_members(self):
        # At 0.4, channels that moved are a subset of those drawn; a lone member stays.
        op = self.op()
        X = torch.arange(6.0)[None, :, None].expand(3000, 6, 1)
        noise = op.draw(3000, 6, 1, generator=rng())
        moved = (op.apply(X, 0.4, noise) != X)[..., 0]
        member = noise["u"] < 0.4
        assert not (moved & ~member).any()
        assert not moved[member.sum(1) == 1].any()
        assert float(member.double().mean()) == pytest.approx(0.4, abs=3 * np.sqrt(0.24 / 18000))

    def test_every_order_is_equally_likely(self):
        n = 6000
        X = torch.arange(3.0)[None, :, None].expand(n, 3, 1)
        op = get_operation(self.name)
        Y = op(X, 1.0, generator=rng())[..., 0]
        counts = np.unique(Y.numpy(), axis=0, return_counts=True)[1]
        assert len(counts) == 6
        assert ((counts - n / 6) ** 2 / (n / 6)).sum() < 15.1  # chi-square with 5 degrees of freedom, 1 %

    def test_gradient_is_the_effect_of_joining(self):
        op = get_operation(self.name)
        X = signal(1, 3, 4, dtype=torch.float64)
        noise = {"u": torch.tensor([[0.1, 0.9, 0.2]]), "keys": torch.tensor([[0.8, 0.5, 0.3]])}
        weight = signal(1, 3, 4, dtype=torch.float64, seed=1)
        magnitude = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        Y = op.apply(X, magnitude, noise)
        assert torch.equal(Y, X[:, [2, 1, 0]])
        (slope,) = torch.autograd.grad((Y * weight).sum(), magnitude)
        # With everybody in, keys order the channels 2, 1, 0: channel 1 would stay, and adds nothing.
        effect = ((X[:, [2, 1, 0]] - X) * weight).sum(-1)[0]
        b = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
        soft = torch.sigmoid((torch.logit(b) - torch.logit(noise["u"][0].double())) / 0.5)
        (expected,) = torch.autograd.grad((soft * effect).sum(), b)
        torch.testing.assert_close(slope, expected)

    def test_same_as_braindecode(self):
        X = signal(50, 6, 20)
        expected, _ = braindecode.channels_shuffle(X, None, 0.6, random_state=np.random.RandomState(1))
        state = np.random.RandomState(1)
        u = torch.as_tensor(state.uniform(0, 1, size=(50, 6)), dtype=torch.float)
        keys = torch.zeros(50, 6)
        for example in range(50):
            members = torch.nonzero(torch.sigmoid(1000 * (u[example] - 0.4)).round()).flatten()
            drawn = torch.tensor(state.permutation(members.numpy()))
            keys[example, drawn] = torch.linspace(0.1, 0.9, len(members))
        Y = self.op(parity=True).apply(X, 0.6, {"u": u, "keys": keys})
        assert torch.equal(Y, expected)

    def test_single_channel(self):
        op = get_operation(self.name)
        operations.base._warned.clear()
        with pytest.warns(
            UserWarning, match="channels_shuffle means nothing on this montage: there is only one channel"
        ):
            assert torch.equal(op(torch.ones(2, 1, 5), 1.0), torch.ones(2, 1, 5))


class TestChannelsDropout(SensorsTests):
    name = "channels_dropout"
    pathwise = False

    def test_all_or_nothing(self):
        Y = self.op()(torch.ones(2000, 6, 1), 0.3, generator=rng())
        assert set(Y.unique().tolist()) == {0.0, 1.0}
        assert float(Y.mean()) == pytest.approx(0.7, abs=3 * np.sqrt(0.21 / 12000))
        assert torch.equal(self.op()(torch.ones(50, 6, 1), 1.0), torch.zeros(50, 6, 1))

    def test_gradient_averages_to_the_derivative(self):
        # E sum(X keep) falls by sum(X) with the probability; the surrogate's slope averages to 0.86 at one half.
        magnitude = torch.tensor(0.5, requires_grad=True)
        self.op()(torch.ones(4000, 6, 1), magnitude, generator=rng()).mean().backward()
        assert float(magnitude.grad) == pytest.approx(-0.86, abs=0.03)

    def test_same_as_braindecode(self):
        X = signal(20, 6, 30)
        u = np.random.RandomState(2).uniform(0, 1, size=(20, 6))
        expected, _ = braindecode.channels_dropout(X, None, 0.4, random_state=2)
        Y = self.op(parity=True).apply(X, 0.4, {"u": torch.from_numpy(u)})
        torch.testing.assert_close(Y, expected, rtol=0, atol=1e-4)


class RotationTests(SensorsTests):
    variants = ({"max_strength": 80.0},)

    def matrix(self, degrees, ch_names=MASS, **options):
        op = get_operation(self.name, ch_names=ch_names, max_strength=90, **options)
        noise = {"u": torch.tensor([(degrees / 90 + 1) / 2], dtype=torch.float64)}
        return op.mixing_matrix(torch.ones(1, dtype=torch.float64), noise, len(ch_names))[0]

    @pytest.mark.parametrize("degrees", [-30, -7, 3, 30])
    @pytest.mark.parametrize("ch_names", [MASS, TEN_TWENTY])
    def test_same_as_braindecode(self, ch_names, degrees):
        positions = torch.from_numpy(electrode_positions(ch_names).T)
        X = torch.eye(len(ch_names))[None]
        expected, _ = braindecode.sensors_rotation(
            X, None, positions, self.name[-1], torch.tensor([float(degrees)], dtype=torch.float64), True
        )
        torch.testing.assert_close(self.matrix(degrees, ch_names, parity=True).float(), expected[0], rtol=0, atol=2e-6)

    @pytest.mark.parametrize("ch_names", [MASS, TEN_TWENTY])
    def test_rows_sum_to_one(self, ch_names):
        sums = self.matrix(25, ch_names).sum(1)
        torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-7)

    @pytest.mark.parametrize(("ch_names", "off"), [(MASS, 0.033), (TEN_TWENTY, 0.31)])
    def test_exact_identity(self, ch_names, off):
        eye = torch.eye(len(ch_names), dtype=torch.float64)
        assert torch.equal(self.matrix(0, ch_names), eye)
        # What the exact form does away with: the splines' ridge smooths even a cap that does not turn.
        assert float((self.matrix(0, ch_names, parity=True) - eye).abs().max()) == pytest.approx(off, rel=0.05)

    def test_both_forms_turn_alike(self):
        exact, ridge = (self.matrix(20, parity=p) - self.matrix(0, parity=p) for p in (False, True))
        torch.testing.assert_close(exact, ridge)

    def test_reads_a_smooth_field(self):
        # A dipole-like field, one centimetre-scale bump: read 15 degrees further on.
        at = electrode_positions(TEN_TWENTY)
        angle = np.deg2rad(15)
        i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[self.name[-1]]
        turned = at.copy()
        turned[:, i] = np.cos(angle) * at[:, i] - np.sin(angle) * at[:, j]
        turned[:, j] = np.sin(angle) * at[:, i] + np.cos(angle) * at[:, j]

        def field(places):
            return places @ [0.3, 0.5, 0.8]

        read = self.matrix(15, TEN_TWENTY).numpy() @ field(at)
        error = np.linalg.norm(read - field(turned)) / np.linalg.norm(field(turned))
        moved = np.linalg.norm(field(at) - field(turned)) / np.linalg.norm(field(turned))
        assert error < 0.05 and error < moved / 4

    def test_there_and_back(self):
        at = electrode_positions(TEN_TWENTY) @ [0.3, 0.5, 0.8]
        back = self.matrix(-8, TEN_TWENTY).numpy() @ self.matrix(8, TEN_TWENTY).numpy() @ at
        assert np.linalg.norm(back - at) / np.linalg.norm(at) < 0.03

    def test_single_precision(self):
        X = torch.eye(19)[None]
        op = get_operation(self.name, ch_names=TEN_TWENTY)
        noise = {"u": torch.tensor([0.9])}
        double = op.apply(X.double(), 1.0, noise)
        torch.testing.assert_close(op.apply(X, 1.0, noise).double(), double, rtol=0, atol=2e-6)

    def test_own_positions(self):
        names = ["a", "b", "c", "d"]
        places = {"a": (1, 0, 0.5), "b": (-1, 0, 0.5), "c": (0, 1, 1), "d": (0, -1, 1)}
        by_name = get_operation(self.name, ch_names=names, positions=places)
        by_array = get_operation(self.name, ch_names=names, positions=np.array(list(places.values())) * 0.09)
        X = signal(2, 4, 10)
        torch.testing.assert_close(by_name(X, 1.0, generator=rng()), by_array(X, 1.0, generator=rng()))

    def test_unknown_electrode(self):
        with pytest.raises(ValueError, match=r"channel 'E17' is not in the 10-05 montage.*positions="):
            get_operation(self.name, ch_names=["C3", "C4", "E17", "O1"])

    def test_single_channel_stays(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            op = get_operation(self.name, ch_names=["C3"])
        X = signal(3, 1, 10)
        torch.testing.assert_close(op(X, 1.0), X)

    def test_too_few_electrodes(self):
        operations.base._warned.clear()
        with pytest.warns(
            UserWarning, match=rf"{self.name} means nothing on this montage: it has 2 of the 4 electrodes"
        ):
            op = get_operation(self.name, ch_names=["EEG Fpz-Cz", "EEG Pz-Oz"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once for each montage
            op(signal(2, 2, 10), 0.5)
            get_operation(self.name, ch_names=["EEG Fpz-Cz", "EEG Pz-Oz"])
            get_operation(self.name, ch_names=MASS)


class TestSensorsRotationX(RotationTests):
    name = "sensors_rotation_x"


class TestSensorsRotationY(RotationTests):
    name = "sensors_rotation_y"


class TestSensorsRotationZ(RotationTests):
    name = "sensors_rotation_z"


def test_midline_montage_turns_along_itself_only():
    midline = ["Fpz", "Fz", "Cz", "Pz", "Oz"]
    reasons = [get_operation(f"sensors_rotation_{a}", ch_names=midline, warn=False).void_reason(5) for a in "xyz"]
    assert reasons[0] is None and all("one line across the head" in reason for reason in reasons[1:])


def test_three_electrodes_tell_too_little_of_the_field():
    few = get_operation("sensors_rotation_x", ch_names=["C3", "C4", "O1"], warn=False)
    assert "it has 3 of the 4 electrodes" in few.void_reason(3)
    assert get_operation("sensors_rotation_x", ch_names=["C3", "C4", "O1", "O2"]).void_reason(4) is None
    chain = ["Fp1-F7", "F7-T3", "Fp2-F8", "F8-T4", "Cz-Pz"]
    bipolar = get_operation("sensors_rotation_x", ch_names=chain, warn=False)
    assert "Fp1-F7, F7-T3, Fp2-F8 … are differences between electrodes of the cap" in bipolar.void_reason(5)
    placed = get_operation("sensors_rotation_x", ch_names=chain, positions=np.eye(5, 3) + 0.1, warn=False)
    assert placed.void_reason(5) is None
    referenced = ["C3-A2", "C4-A1", "O1-A2", "O2-A1"]
    assert get_operation("sensors_rotation_x", ch_names=referenced).void_reason(4) is None


def test_the_reason_names_a_few_of_many_channels():
    names = [f"E{i}" for i in range(1, 129)]
    reason = get_operation("channels_symmetry", ch_names=names, warn=False).void_reason(128)
    assert reason.startswith(f"none of {names[:8]} … (128 in all) has its left-right partner")


def test_symmetry_without_pairs():
    operations.base._warned.clear()
    with pytest.warns(
        UserWarning, match=r"channels_symmetry means nothing .*none of \['Fpz', 'Pz'\] has its left-right"
    ):
        op = get_operation("channels_symmetry", ch_names=["Fpz", "Pz"])
    X = signal(2, 2, 10)
    assert torch.equal(op(X), X)


def test_other_coefficients_than_the_parents():
    """A subclass that changes the matrices alone is differentiated by its own matrices."""

    class HalfDropout(ChannelsDropout):
        name = "half_dropout"

        def mixing_matrix(self, magnitude, noise, n_channels):
            return torch.lerp(
                torch.eye(n_channels, dtype=magnitude.dtype), super().mixing_matrix(magnitude, noise, n_channels), 0.5
            )

        transform = SensorsOperation.transform

    op, X = HalfDropout(), torch.randn(3, 4, 20, dtype=torch.float64)
    noise = {"u": torch.rand(3, 4, dtype=torch.float64)}
    magnitude = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    out = op.apply(X, magnitude, noise)
    expected = op.transform(X, magnitude, noise)
    torch.testing.assert_close(out, expected)
    upstream = torch.randn_like(X)
    found, right = (torch.autograd.grad(Y, magnitude, upstream)[0] for Y in (out, expected))
    torch.testing.assert_close(found, right)
