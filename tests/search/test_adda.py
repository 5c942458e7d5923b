"""ADDA and CADDA: what they find, what they leave alone, what they count."""

from __future__ import annotations

import contextlib
import copy
import gc
import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from small import SmallNet

from eegaug.operations import get_operation
from eegaug.policy import ClassPolicy, Policy
from eegaug.search import ADDASearch

from .bumps import bumps, estimator

CHOICES = ["softmax", "gumbel", "relax"]


def operations():
    """An invariance, and what destroys a bump."""
    return [
        get_operation("channels_dropout"),
        get_operation("sign_flip"),
        get_operation("time_masking", max_strength=60),
    ]


def search(module=None, **settings):
    trunk = estimator() if module is None else estimator(module)
    settings = {
        "operations": operations(),
        "valid_size": [1],
        "refit": False,
        "max_steps": 2,
        "warm_start": 1,
    } | settings
    return ADDASearch(trunk, **{"random_state": 0, "verbose": 0} | settings)


def planted(seed, **settings):
    """How often each operation is applied, after a search for what makes up for windows that are upside down."""
    X, y, subjects = bumps(seed=seed)
    settings = {"max_steps": 12, "warm_start": 4, "policy_lr": 0.04, "random_state": seed} | settings
    return search(**settings).fit(X, y, subjects).operation_shares().mean(axis=1).to_numpy()


def test_a_planted_invariance_has_the_largest_share_in_eight_of_ten_seeds():
    assert sum(planted(seed).argmax() == 1 for seed in range(10)) >= 8


@pytest.mark.parametrize(
    "settings",
    [{"choice": "gumbel"}, {"choice": "relax"}, {"hypergradient": "finite_difference"}, {"class_wise": True}],
    ids=str,
)
def test_a_planted_invariance_is_found_whatever_the_estimator(settings):
    assert np.mean([planted(seed, **settings) for seed in range(2)], axis=0).argmax() == 1


@pytest.mark.parametrize("choice", CHOICES)
def test_the_warm_start_changes_the_network_and_not_the_policy(choice):
    X, y, subjects = bumps()
    begun = search(choice=choice, warm_start=3, max_steps=1, step_callback=lambda s, row: kept.append(state_of(s)))
    kept = []
    begun.fit(X, y, subjects)
    start = copy.deepcopy(begun._new_policy(fresh_task(begun, X, y, subjects)).state_dict())
    for _trunk, policy in kept[:3]:
        assert all(torch.equal(policy[key], start[key]) for key in start)
    assert not torch.equal(kept[0][0]["conv.weight"], kept[2][0]["conv.weight"])
    # Then weights, probabilities and magnitudes all learn.
    assert not any(torch.equal(kept[3][1][key], start[key]) for key in start)
    assert begun.history_["phase"].tolist() == ["warm start"] * 3 + ["search"]


@pytest.mark.parametrize("choice", CHOICES)
def test_probabilities_and_magnitudes_stay_in_their_range(choice):
    found = search(choice=choice, warm_start=0, max_steps=1, policy_lr=0.9).fit(*bumps())
    policy = found._running.state.policy
    for values in (policy.probabilities[0], policy.magnitudes[0]):
        assert values.min() >= 0.0 and values.max() <= 1.0
    assert (policy.probabilities[0] % 1 == 0).any()  # steps as long as these lead to the ends


def test_the_warm_start_leaves_most_of_a_budget_to_the_search():
    begun = search(warm_start=50, max_steps=2)
    begun._running, begun._rows = SimpleNamespace(budget=30.0), [{"phase": "warm start", "seconds": 3.0}] * 3
    assert begun._next_phase() == "warm start"
    begun._rows = begun._rows + [{"phase": "warm start", "seconds": 3.0}]
    assert begun._next_phase() == "search"
    begun._rows = [{"phase": "warm start", "seconds": 1.0}, {"phase": "search", "seconds": 1.0}]
    assert begun._next_phase() == "search"  # and there is no way back, whatever a longer budget would allow
    begun._running.budget = None
    begun._rows = [{"phase": "warm start", "seconds": 99.0}] * 49
    assert begun._next_phase() == "warm start"


@pytest.mark.parametrize(("first", "then", "warm"), [(None, "90s", 3), ("30s", None, 5)])
def test_the_warm_start_goes_by_the_budget_of_the_call(first, then, warm, monkeypatch):
    def stop(search, row):
        search.step_callback = None
        raise KeyboardInterrupt

    step = ADDASearch._step
    monkeypatch.setattr(ADDASearch, "_step", lambda *given: step(*given) | {"seconds": 10.0})
    begun = search(warm_start=5, max_steps=2, time_budget=first, step_callback=stop)
    with pytest.warns(UserWarning, match="was stopped"):
        begun.fit(*bumps())
    begun.continue_fit(time_budget=then)
    assert begun.history_["phase"].tolist() == ["warm start"] * warm + ["search"] * 2


def state_of(search):
    state = search._running.state
    return copy.deepcopy((state.trunk.state_dict(), state.policy.state_dict()))


def fresh_task(search, X, y, subjects):
    return search._make_task(*search._prepare(X, y), subjects, search._running.task.seed)


def test_passes_are_counted():
    X, y, subjects = bumps()  # 64 windows to train on: 4 batches
    assert search().fit(X, y, subjects).history_["n_forward_backward"].tolist() == [4, 20, 36]
    differences = search(hypergradient="finite_difference").fit(X, y, subjects)
    assert differences.n_forward_backward_ == 4 + 2 * 4 * 5


def test_the_exact_gradient_and_finite_differences_lead_the_same_way():
    X, y, subjects = bumps()
    policies = [
        search(hypergradient=how, max_steps=1, policy_lr=1e-3).fit(X, y, subjects)._running.state.policy
        for how in ("exact", "finite_difference")
    ]
    a, b = (torch.cat([m.detach().flatten() for m in policy.weight_logits]) for policy in policies)
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.8  # kinks of the network apart


@pytest.mark.parametrize("choice", CHOICES)
def test_a_policy_update_leaves_the_network_and_its_optimiser_alone(choice):
    X, y, subjects = bumps()
    begun = search(SmallNet, choice=choice).fit(X, y, subjects)
    task, state = begun._running.task, begun._running.state
    before = copy.deepcopy((state.trunk.state_dict(), state.trunk_optimizer.state_dict()))
    policy = copy.deepcopy(state.policy.state_dict())
    batch = next(task.batches(task.train))
    begun.update_policy(task, state, task.new_criterion(), batch)
    assert all(torch.equal(value, before[0][key]) for key, value in state.trunk.state_dict().items())
    for index, kept in state.trunk_optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, before[1]["state"][index][key]) for key, value in kept.items())
    assert not all(torch.equal(value, policy[key]) for key, value in state.policy.state_dict().items())


@pytest.mark.parametrize("class_wise", [False, True])
def test_the_policy_follows_the_validation_loss_after_a_step_of_the_network(class_wise, monkeypatch):
    X, y, subjects = bumps()
    known = {"sfreq": 50.0, "ch_names": ["C3", "C4"]}
    noisy = [get_operation(name, **known) for name in ("gaussian_noise", "time_masking", "sign_flip")]
    settings = {"operations": noisy, "mask": "soft", "inner_step": "gradient", "class_wise": class_wise}
    settings["pooled"] = False
    begun = search(SmallNet, max_steps=1, **settings).fit(X, y, subjects)
    task, state = begun._running.task, begun._running.state
    trunk, policy, criterion = state.trunk.double(), state.policy.double(), task.new_criterion().double()
    lr = state.trunk_optimizer.param_groups[0]["lr"]
    (X, y), (V, w) = next(task.batches(task.train)), task.next_batch("valid")
    X, V = X.double(), V.double()
    y = torch.ones_like(y)  # the other class is missing
    draw = policy.draw(X, y, torch.Generator().manual_seed(0))
    monkeypatch.setattr(policy, "draw", lambda *_: draw)
    monkeypatch.setattr(task, "next_batch", lambda _: (V, w))
    state.policy_optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    found = begun.update_policy(task, state, criterion, (X, y))

    def after() -> float:
        network = copy.deepcopy(trunk)
        logits = network(policy.augment(X, draw).detach())
        weights = criterion.weight[y]
        losses = logits.logsumexp(1) - logits[torch.arange(len(y)), y]
        grads = torch.autograd.grad((losses * weights).sum() / weights.sum(), list(network.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(network.parameters(), grads, strict=True):
                parameter -= lr * grad
            return criterion(network.eval()(V), w).item()

    assert found.valid_loss.item() == pytest.approx(after(), rel=1e-12)
    for parameters in (policy.weight_logits, policy.probabilities, policy.magnitudes):
        one = parameters[-1]
        assert parameters[0].grad is None or not class_wise
        for place in [(0, 0, 0), (2, 0, 1), (4, 1, 1)]:
            start, values = one.data[place].item(), []
            for step in (1e-5, -1e-5):
                one.data[place] = start + step
                values.append(after())
            one.data[place] = start
            slope = (values[0] - values[1]) / 2e-5
            assert one.grad[place].item() == pytest.approx(slope, rel=1e-3, abs=1e-10)


@pytest.mark.parametrize("settings", [{"choice": c} for c in CHOICES] + [{"class_wise": True}], ids=str)
def test_a_search_that_was_stopped_ends_as_one_that_was_not(settings, tmp_path):
    X, y, subjects = bumps()
    whole = search(**settings, max_steps=3).fit(X, y, subjects)
    search(**settings, max_steps=1, checkpoint=tmp_path / "search.pt").fit(X, y, subjects)
    resumed = search(**settings, max_steps=3, checkpoint=tmp_path / "search.pt").fit(X, y, subjects)
    assert resumed.policy_ == whole.policy_
    drop = ["seconds"]
    assert resumed.history_.drop(columns=drop).equals(whole.history_.drop(columns=drop))
    assert search(**settings, max_steps=2).fit(X, y, subjects).continue_fit(max_epochs=3).policy_ == whole.policy_


def test_the_policy_has_one_operation_for_each_stage_and_says_how_sure_it_is():
    X, y, subjects = bumps()
    found = search(n_sub_policies=3, n_operations=4).fit(X, y, subjects)
    assert isinstance(found.policy_, Policy)
    assert [len(sub.operations) for sub in found.policy_.sub_policies] == [4, 4, 4]
    assert found.policy_.searcher == "adda"
    entropy = np.array(found.policy_.settings["entropy"])
    assert entropy.shape == (3, 4)
    assert (entropy <= math.log(3) + 1e-4).all()
    assert found.history_["entropy"].iloc[-1] == pytest.approx(entropy.mean(), abs=1e-3)
    out = found.policy_.apply(torch.from_numpy(X), generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(out).all()


def test_asking_for_a_sampled_policy_does_not_change_the_search():
    X, y, subjects = bumps()
    seen = []
    asked = search(
        discretise="sample", step_callback=lambda s, row: seen.append((s.current_policy(), s.current_policy()))
    )
    plain = search(discretise="sample").fit(X, y, subjects)
    assert asked.fit(X, y, subjects).policy_ == plain.policy_
    assert all(a == b for a, b in seen)
    assert plain.policy_ != search().fit(X, y, subjects).policy_


def test_each_class_has_a_policy_of_its_own():
    X, y, subjects = bumps()
    names = np.array(["N2", "REM"])
    found = search(class_wise=True).fit(X, names[y], subjects)
    policy = found.policy_
    assert isinstance(policy, ClassPolicy)
    assert policy.classes == ("N2", "REM")
    assert policy.policies[0] != policy.policies[1]
    assert np.array(policy.settings["entropy"]).shape == (2, 5, 2)
    out, _ = policy.apply(torch.from_numpy(X), names[y], torch.Generator().manual_seed(0))
    assert out.shape == X.shape


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_class_that_a_batch_has_no_window_of_takes_the_step_of_the_others_or_none(choice, pooled):
    X, y, subjects = bumps()
    found = search(class_wise=True, choice=choice, pooled=pooled).fit(X, y, subjects)
    task, state = found._running.task, found._running.state
    windows, labels = next(task.batches(task.train, batch_size=64))
    before = copy.deepcopy(state.policy)
    # Adam, which has been at work, would go on by its momentum.
    found.update_policy(task, state, task.new_criterion(), (windows[labels == 1], labels[labels == 1]))
    for now, then in zip(state.policy.children(), before.children(), strict=True):
        assert torch.equal(now[0], then[0]) == (not pooled) and not torch.equal(now[1], then[1])
        if pooled:  # the gradient of what classes have in common, which is all that the absent one has
            assert now[0].grad.any() and torch.equal(now[1].grad, 2 * now[0].grad)


def test_pooling_is_of_no_account_for_one_policy():
    X, y, subjects = bumps()
    apart = search(pooled=False).fit(X, y, subjects)
    assert search().fit(X, y, subjects).policy_.sub_policies == apart.policy_.sub_policies


def test_searches_from_before_classes_were_pooled_go_on_as_they_were_begun(tmp_path):
    X, y, subjects = bumps()
    for class_wise in (False, True):
        path = tmp_path / f"{class_wise}.pt"
        search(class_wise=class_wise, pooled=not class_wise, checkpoint=path, max_steps=1).fit(X, y, subjects)
        saved = torch.load(path, weights_only=True)
        settings = json.loads(saved["settings"])
        del settings["pooled"]
        torch.save(saved | {"settings": json.dumps(settings)}, path)
    assert len(search(checkpoint=tmp_path / "False.pt").fit(X, y, subjects).history_) == 3
    with pytest.raises(ValueError, match="of another search: pooled was False, is True"):
        search(class_wise=True, checkpoint=tmp_path / "True.pt").fit(X, y, subjects)
    search(class_wise=True, pooled=False, checkpoint=tmp_path / "True.pt").fit(X, y, subjects)


def test_the_policy_is_trained_with():
    X, y, subjects = bumps()
    found = search(refit=True, class_wise=True).fit(X, y, subjects)
    assert found.best_estimator_.policy == found.policy_
    assert found.predict(X).shape == y.shape


def test_shares_are_how_often_operations_are_applied():
    X, y, subjects = bumps(32, 16)
    found = search(class_wise=True, max_steps=1).fit(X, np.array(["N2", "REM"])[y], subjects)
    shares = found.operation_shares()
    assert shares.columns.tolist() == ["N2", "REM"]
    assert shares.index.tolist() == ["channels_dropout", "sign_flip", "time_masking"]
    policy = found._running.state.policy.eval()
    n, counts = 3000, torch.zeros(3)
    rows = policy.draw_rows(n, torch.ones(n, dtype=torch.int64), torch.Generator().manual_seed(0), "cpu")
    for k in range(2):
        lots, u = torch.rand(2, n, 3, generator=torch.Generator().manual_seed(k))
        chosen = policy._choose(k, rows, lots[:, None].expand(n, 2, 3))
        counts += (chosen * (u < policy.of(policy.probabilities, k, rows))).sum(0)
    np.testing.assert_allclose(counts / n, shares["REM"], atol=0.05)


@pytest.mark.parametrize("choice", ["softmax", "relax"])
def test_memory_does_not_grow_with_the_steps(choice):
    def count(found, row):
        gc.collect()
        counts.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))

    counts = []
    search(choice=choice, max_steps=3, step_callback=count).fit(*bumps(32, 16))
    assert counts[1] == counts[2] == counts[3]


def test_losses_of_an_epoch_do_not_hold_its_batches_in_memory():
    found = search(max_steps=1).fit(*bumps(32, 16))
    task, state = found._running.task, found._running.state
    batch = next(task.batches(task.train))
    assert found.update_trunk(task, state, task.new_criterion(), batch).grad_fn is None
    assert found.update_policy(task, state, task.new_criterion(), batch).valid_loss.grad_fn is None


def test_a_search_that_diverges_says_so():
    X, y, subjects = bumps()
    broken = search().set_params(estimator__lr=1e30, estimator__optimizer=torch.optim.SGD)
    broken.set_params(estimator__optimizer__betas=(0.0, 0.999))
    with pytest.raises(ValueError, match=r"diverged: train_loss is (nan|inf) in step 1\. Lower .* \(now 1e\+30\)"):
        broken.fit(X, y, subjects)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choice": "best"}, "choice is 'best'"),
        ({"hypergradient": "none"}, "hypergradient is 'none'"),
        ({"inner_step": "newton"}, "inner_step is 'newton'"),
        ({"policy_lr": 0}, "policy_lr is 0"),
        ({"warm_start": -9}, "warm_start is -9"),
        ({"warm_start": 1.5}, "warm_start is 1.5"),
        ({"warm_start": True}, "warm_start is True"),
        ({"discretise": "mean"}, "discretise is 'mean'"),
        ({"n_sub_policies": 0}, "n_sub_policies is 0"),
        ({"mask": "hard"}, "mask is 'hard'"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        search(**settings).fit(*bumps())


def test_settings_survive_cloning():
    settings = {"choice": "relax", "class_wise": True, "inner_step": "adam", "n_sub_policies": 2}
    assert {k: clone(search(**settings)).get_params()[k] for k in settings} == settings


def test_a_warm_start_that_the_budget_cuts_short_leaves_no_steps_to_the_search(monkeypatch):
    tick = iter(range(10**6))
    monkeypatch.setattr("eegaug.search._loop.time.perf_counter", lambda: float(next(tick)))  # a step takes one second
    X, y, subjects = bumps()
    found = search(warm_start=50, max_steps=2, time_budget=30).fit(X, y, subjects)
    phases = found.history_["phase"].tolist()
    assert 5 < len(phases) < 15 and phases == ["warm start"] * (len(phases) - 2) + ["search"] * 2
    assert len(found.continue_fit(max_epochs=3).history_) == len(phases) + 1


@pytest.mark.parametrize("warm_start", [0, 1])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_goes_on_from_the_middle_of_the_first_step_of_the_search(warm_start, error, monkeypatch):
    X, y, subjects = bumps()
    whole = search(warm_start=warm_start).fit(X, y, subjects)
    update, calls = ADDASearch.update_trunk, []

    def broken_off(self, *given, **more):
        calls.append(self._next_phase())
        if calls.count("search") == 2:
            raise error
        return update(self, *given, **more)

    monkeypatch.setattr(ADDASearch, "update_trunk", broken_off)
    stopped = search(warm_start=warm_start)
    with warnings.catch_warnings(), contextlib.suppress(KeyboardInterrupt, RuntimeError):
        warnings.simplefilter("ignore", UserWarning)
        stopped.fit(X, y, subjects)
    monkeypatch.undo()
    stopped.continue_fit()
    assert stopped.policy_ == whole.policy_
    assert stopped.history_.drop(columns="seconds").equals(whole.history_.drop(columns="seconds"))
