"""Layers are plain modules: a loop of one's own, Lightning, saving, compilers, mixed precision, accelerate."""

import copy
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from small import CHANNELS, SFREQ, SmallNet, X, Y
from torch import nn

from eegaug import (
    AugAveragedModel,
    AugmentationLayer,
    AugmentationModule,
    AugNetClassifier,
    Policy,
)

LAYERS = [["frequency_shift", "time_reverse", "gaussian_noise"], ["channels_dropout", "sensors_rotation_x"]]

AUGNET = {"layers": LAYERS, "sfreq": SFREQ, "ch_names": CHANNELS, "max_epochs": 1, "random_state": 0, "verbose": 0}
AUGNET |= {"lr": 0.01, "n_copies": 2, "penalty": 0.1}


def build(seed=0, **settings):
    torch.manual_seed(seed)
    return AugAveragedModel(
        SmallNet(4, 3), AugmentationModule(LAYERS, sfreq=SFREQ, ch_names=CHANNELS), n_copies=2, **settings
    )


def trained(epochs=2):
    """A model after a plain PyTorch loop."""
    model = build()
    groups = [
        {"params": model.trunk.parameters(), "lr": 0.05},
        {"params": model.augmentation.parameters(), "lr": 0.01, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups)
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    losses = []
    for _ in range(epochs):
        model.train()
        for Xi, yi in torch.utils.data.DataLoader(data, batch_size=16, shuffle=True):
            loss = nn.functional.cross_entropy(model(Xi), yi) - 0.1 * model.regularization()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.project_()
            losses.append(loss.item())
    return model.eval(), losses


def test_plain_loop():
    model, losses = trained(epochs=25)
    with torch.no_grad():
        out = model(torch.from_numpy(X))
    assert (out.argmax(1).numpy() == Y).mean() > 0.8
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    for layer in model.augmentation.layers:
        assert layer.strengths.min() >= 0 and layer.strengths.max() <= 1
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_policy_in_a_loop():
    policy = Policy.fixed_sleep(sfreq=SFREQ, ch_names=CHANNELS)
    batch = torch.from_numpy(X)
    first, again = (policy.apply(batch, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == batch.shape and not torch.equal(first, batch)


class TestSaving:
    def test_state_dict_through_torch_save(self):
        model, _ = trained()
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other = build(seed=5)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other.eval()(torch.from_numpy(X)), model(torch.from_numpy(X)))

    @pytest.mark.parametrize("how", ["pickle", "deepcopy", "torch"])
    def test_whole_model(self, how):
        model, _ = trained()
        if how == "pickle":
            other = pickle.loads(pickle.dumps(model))
        elif how == "deepcopy":
            other = copy.deepcopy(model)
        else:
            file = io.BytesIO()
            torch.save(model, file)
            file.seek(0)
            other = torch.load(file, weights_only=False)
        assert torch.equal(other(torch.from_numpy(X)), model(torch.from_numpy(X)))

    def test_safetensors_of_the_state_dict(self, tmp_path):
        model, _ = trained()
        save_file(model.state_dict(), tmp_path / "a.safetensors")
        other = build(seed=5)
        other.load_state_dict(load_file(tmp_path / "a.safetensors"))
        assert torch.equal(other.eval()(torch.from_numpy(X)), model(torch.from_numpy(X)))

    def test_safetensors_of_the_model(self, tmp_path):
        model, _ = trained()
        save_model(model, str(tmp_path / "a.safetensors"))
        other = build(seed=5)
        missing, unexpected = load_model(other, tmp_path / "a.safetensors")
        assert not missing and not unexpected
        assert torch.equal(other.eval()(torch.from_numpy(X)), model(torch.from_numpy(X)))


class TestModule:
    def test_parameters_are_named_and_move(self):
        model = build()
        names = {name for name, _ in model.named_parameters()}
        assert {f"augmentation.layers.{i}.{p}" for i in (0, 1) for p in ("weight_logits", "strengths")} <= names
        out = model.double()(torch.from_numpy(X).double())
        assert out.dtype == torch.float64
        assert model.to("meta").augmentation.layers[0].strengths.device.type == "meta"

    def test_inside_a_sequential(self):
        layer = AugmentationLayer("time-frequency", sfreq=SFREQ)
        net = nn.Sequential(layer, SmallNet(4, 3))
        torch.manual_seed(0)
        nn.functional.cross_entropy(net(torch.from_numpy(X)), torch.from_numpy(Y)).backward()
        assert layer.weight_logits.grad.abs().sum() > 0 and layer.strengths.grad.abs().sum() > 0

    @pytest.mark.parametrize("backward_inside", [False, True])
    def test_mixed_precision_is_the_trunks(self, backward_inside):
        torch.manual_seed(0)
        layer = AugmentationLayer(["frequency_shift", "channels_dropout"], sfreq=SFREQ)
        batch = torch.from_numpy(X).requires_grad_()
        outputs, gradients = [], []
        for enabled in (False, True):
            torch.manual_seed(1)
            layer.zero_grad()
            batch.grad = None
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                outputs.append(layer(batch))
                if backward_inside:
                    outputs[-1].square().sum().backward()
            if not backward_inside:
                outputs[-1].square().sum().backward()
            gradients.append([layer.weight_logits.grad.clone(), layer.strengths.grad.clone(), batch.grad])
        assert torch.equal(*outputs)
        for a, b in zip(*gradients, strict=True):
            assert torch.equal(a, b)
        model = build()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(torch.from_numpy(X))
            loss = nn.functional.cross_entropy(logits, torch.from_numpy(Y))
        assert logits.dtype == torch.bfloat16
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


class TestCompile:
    """Compiled as far as it can be: with a backend that needs no C++ compiler."""

    @pytest.fixture(autouse=True)
    def fresh(self):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        yield
        torch._dynamo.reset()

    @pytest.mark.parametrize("backend", ["eager", "aot_eager"])
    def test_training(self, backend):
        plain, model = build(), build()
        compiled = torch.compile(model, backend=backend)
        batch, y = torch.from_numpy(X), torch.from_numpy(Y)
        for _ in range(2):
            losses = []
            for net in (plain, compiled):
                torch.manual_seed(1)
                losses.append(nn.functional.cross_entropy(net(batch), y))
                losses[-1].backward()
            assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
        for a, b in zip(plain.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)

    def test_layers_break_the_graph_once_and_are_not_compiled_again(self):
        model = build()
        compiled = torch.compile(model, backend="eager")
        compiled(torch.from_numpy(X))
        graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        assert 0 < graphs <= 2
        for k in range(3):
            with torch.no_grad():
                model.augmentation.layers[0].weight_logits[k] += 1.0
            compiled(torch.from_numpy(X))
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs

    def test_prediction_follows_what_is_learned(self):
        model = build().eval()
        compiled = torch.compile(model, backend="eager")
        batch = torch.from_numpy(X)
        with torch.no_grad():
            torch.testing.assert_close(compiled(batch), model(batch))
            # Another operation is chosen: nothing of the first choice may be baked in.
            model.augmentation.layers[0].weight_logits.copy_(torch.tensor([0.0, 2.0, 0.0]))
            torch.testing.assert_close(compiled(batch), model(batch))
            torch.testing.assert_close(compiled(batch[:7]), model(batch[:7]))

    def test_no_warning_of_what_a_compiler_cannot_follow(self):
        model = build()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.compile(model, backend="eager")(torch.from_numpy(X))
        assert [str(w.message) for w in caught if "Dynamo" in str(w.message)] == []

    def test_through_the_estimator(self):
        plain = AugNetClassifier(SmallNet, **AUGNET).fit(X, Y)
        clf = AugNetClassifier(SmallNet, compile=True, compile__backend="eager", **AUGNET).fit(X, Y)
        np.testing.assert_allclose(clf.predict_proba(X), plain.predict_proba(X), atol=1e-5)
        np.testing.assert_allclose(clf.invariances_["magnitude"], plain.invariances_["magnitude"], atol=1e-5)


class TestLightning:
    @pytest.fixture
    def lightning(self):
        return pytest.importorskip("lightning")

    def test_trains_and_comes_back_from_a_checkpoint(self, lightning, tmp_path):
        class Stager(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.model = build()

            def training_step(self, batch, batch_idx):
                Xi, yi = batch
                loss = nn.functional.cross_entropy(self.model(Xi), yi) - 0.1 * self.model.regularization()
                self.log("loss", loss)
                return loss

            def on_train_batch_end(self, *args):
                self.model.project_()

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), lr=0.02)

        data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
        loader = torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = lightning.Trainer(
                max_epochs=12,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                default_root_dir=tmp_path,
            )
            stager = Stager()
            start = copy.deepcopy(stager.model.augmentation.state_dict())
            trainer.fit(stager, loader)
            trainer.save_checkpoint(tmp_path / "a.ckpt")
            again = Stager.load_from_checkpoint(tmp_path / "a.ckpt").eval()
        model = stager.model.eval()
        assert any(not torch.equal(v, start[k]) for k, v in model.augmentation.state_dict().items())
        with torch.no_grad():
            out = model(torch.from_numpy(X))
            assert (out.argmax(1).numpy() == Y).mean() > 0.6
            assert torch.equal(again.model(torch.from_numpy(X)), out)


class TestAccelerate:
    @pytest.fixture
    def accelerated(self):
        accelerate = pytest.importorskip("accelerate")
        from skorch.hf import AccelerateMixin

        class Accelerated(AccelerateMixin, AugNetClassifier):
            """As docs/interop.md has it."""

        def build(**settings):
            accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
            accelerator = accelerate.Accelerator(cpu=True, **settings)
            return Accelerated(SmallNet, accelerator=accelerator, device=None, **AUGNET)

        return build

    def test_through_skorchs_mixin(self, accelerated):
        plain = AugNetClassifier(SmallNet, **AUGNET).fit(X, Y)
        clf = accelerated().fit(X, Y)
        np.testing.assert_allclose(clf.predict_proba(X), plain.predict_proba(X), atol=1e-6)
        assert clf.history[:, "train_penalty"] == pytest.approx(plain.history[:, "train_penalty"])
        assert clf.invariances_.equals(plain.invariances_)
        assert clf.n_forward_backward_ == plain.n_forward_backward_ == 3

    def test_mixed_precision(self, accelerated):
        clf = accelerated(mixed_precision="bf16").fit(X, Y)
        assert np.isfinite(clf.history[:, "train_loss"]).all() and clf.predict(X).shape == (48,)


def test_a_mixin_does_not_replace_the_training_step():
    # What accelerate's test above says, where accelerate is not installed.
    from skorch.hf import AccelerateMixin

    class Accelerated(AccelerateMixin, AugNetClassifier):
        """Never built here."""

    assert Accelerated.train_step_single is AugNetClassifier.train_step_single


@pytest.mark.skipif(not hasattr(torch.compiler, "is_exporting"), reason="this torch does not tell when it exports")
class TestExport:
    BATCH = {"X": {0: torch.export.Dim("batch", min=1, max=64)}}

    def exported(self, model):
        return torch.export.export(model, (torch.as_tensor(X[:3]),), dynamic_shapes=self.BATCH, strict=False).module()

    def test_predicts_the_same_whatever_the_batch(self):
        model = trained()[0].eval()
        expected = model(torch.as_tensor(X))
        program = self.exported(model)
        assert torch.equal(program(torch.as_tensor(X)), expected)
        assert torch.equal(program(torch.as_tensor(X[:1])), model(torch.as_tensor(X[:1])))

    def test_every_operation(self):
        model = AugAveragedModel(
            SmallNet(4, 3),
            AugmentationModule(["all"], sfreq=SFREQ, ch_names=CHANNELS, initial_strength=0.5),
            n_copies=26,
        ).eval()
        used = {draws[0].operation for draws in model.augmentation.plan(26, model.seed)}
        assert used == set(range(len(model.augmentation.layers[0].operations)))
        expected = model(torch.as_tensor(X))
        assert torch.equal(self.exported(model)(torch.as_tensor(X)), expected)

    def test_only_what_has_predicted_since_its_weights_changed(self):
        model = trained()[0].eval()
        with pytest.raises(RuntimeError, match="a model is exported after it has predicted: call it once"):
            self.exported(model)
        model(torch.as_tensor(X))
        self.exported(model)
        for change in (lambda: model.train().eval(), lambda: model.load_state_dict(build().state_dict())):
            change()
            with pytest.raises(RuntimeError, match="after it has predicted"):
                self.exported(model)
            model(torch.as_tensor(X))
