"""Windows that judge the strengths and do not train the network."""

from __future__ import annotations

import contextlib
import pickle
import signal

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint
from skorch.dataset import ValidSplit
from small import CHANNELS, SFREQ, SmallNet, X, Y, nights
from torch.utils.data import Subset

from eegaug import AugNetClassifier
from eegaug.checkpoint import TrainingCheckpoint


def judged(**settings):
    settings = {"layers": [["frequency_shift", "sign_flip"]], "selection": "single", "judge_share": 0.25} | settings
    common = {"sfreq": SFREQ, "ch_names": CHANNELS, "max_epochs": 2, "lr": 0.01, "random_state": 0, "verbose": 0}
    return AugNetClassifier(SmallNet, **common | settings)


def trunk(clf):
    return torch.cat([p.detach().flatten() for p in clf.module_.trunk.parameters()])


def test_judges_are_a_share_of_their_own():
    clf = judged().fit(X, Y)
    assert len(clf.judge_indices_) == len(set(clf.judge_indices_)) == 12
    assert clf.judge_indices_ == clone(clf).fit(X, Y).judge_indices_
    assert clf.judge_indices_ != judged(random_state=1).fit(X, Y).judge_indices_
    # 36 windows are three batches of 16, 16 and 4; each has a batch of judges.
    assert clf.n_forward_backward_ == 2 * 2 * 3
    assert clf.history[-1, "judge_ce"] > 0
    assert clf.invariances_["loss_rise"].notna().all()


def test_judges_do_not_train_the_network():
    still = {"augmentation_lr": 0.0}
    clf = judged(**still).fit(X, Y)
    other = X.copy()
    other[clf.judge_indices_] = other[clf.judge_indices_][::-1]
    assert torch.equal(trunk(judged(**still).fit(other, Y)), trunk(clf))
    others = np.setdiff1d(np.arange(len(X)), clf.judge_indices_)
    other = X.copy()
    other[others[0]] *= 2
    assert not torch.equal(trunk(judged(**still).fit(other, Y)), trunk(clf))


def test_strengths_are_moved_by_judges_alone():
    """Without a rate of its own the network stays as it was drawn: then only the judges can make a difference."""
    frozen = {"lr": 0.0, "augmentation_lr": 0.05}
    clf = judged(**frozen).fit(X, Y)
    assert (clf.invariances_["magnitude"] != 0.1).all()
    others = np.setdiff1d(np.arange(len(X)), clf.judge_indices_)
    other = X.copy()
    other[others] = other[others][::-1]
    assert judged(**frozen).fit(other, Y).invariances_.equals(clf.invariances_)  # what they do is theirs to say, too
    other = X.copy()
    other[clf.judge_indices_] = other[clf.judge_indices_][::-1]
    assert not judged(**frozen).fit(other, Y).invariances_["magnitude"].equals(clf.invariances_["magnitude"])


def test_judges_are_asked_of_the_network_as_it_is_at_prediction():
    still = {"lr": 0.0, "augmentation_lr": 0.0, "initial_strength": 0.0, "class_weight": None}
    clf = judged(module__drop_prob=0.8, **still).fit(X, Y)
    judges = np.array(clf.judge_indices_)
    likelihood = clf.predict_proba(X[judges])[np.arange(12), Y[judges]]
    assert clf.history[-1, "judge_ce"] == pytest.approx(-np.log(likelihood).mean(), rel=1e-5)


def test_judges_are_asked_with_the_penalty():
    frozen = {"lr": 0.0, "augmentation_lr": 0.01}
    rewarded, free = (judged(penalty=penalty, **frozen).fit(X, Y).invariances_["magnitude"] for penalty in (100.0, 0.0))
    assert (rewarded > free + 0.005).all()


def test_training_goes_on_and_is_pickled_with_datasets_too():
    clf = judged().fit(nights())
    proba = clf.predict_proba(X)
    again = pickle.loads(pickle.dumps(clf))
    assert np.array_equal(again.predict_proba(X), proba)
    first = clf.judge_indices_
    clf.partial_fit(nights())
    assert clf.judge_indices_ == first


class Stop(Callback):
    """Ctrl-C in the second epoch, once."""

    done = False

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and len(net.history) == 2 and not Stop.done:
            Stop.done = True
            signal.raise_signal(signal.SIGINT)


def test_a_training_that_was_stopped_goes_on_exactly(tmp_path):
    # 36 windows to train on and 12 judges: an epoch has five batches, a round of judges two.
    settings = {"max_epochs": 4, "batch_size": 8}
    whole = judged(**settings).fit(X, Y)
    settings["callbacks"] = [Stop(), TrainingCheckpoint(tmp_path / "training.pt")]
    with contextlib.suppress(KeyboardInterrupt):
        judged(**settings).fit(X, Y)
    again = judged(**settings).fit(X, Y)
    assert again.resumed_epochs_ == 1
    assert torch.equal(trunk(again), trunk(whole))
    assert again.invariances_.equals(whole.invariances_)
    assert [row["judge_ce"] for row in again.history] == [row["judge_ce"] for row in whole.history]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"judge_share": 1.0}, "judge_share is 1.0"),
        ({"selection": "weighted"}, "goes with selection='single'"),
        ({"judge_share": 0.001}, "leaves nothing to judge on"),
    ],
)
def test_what_is_wrong_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        judged(**settings).fit(X, Y)


def test_judges_are_numbered_as_the_windows_given():
    """Also where some windows are kept apart to validate on."""
    noted = judged(train_split=ValidSplit(3, stratified=True)).fit(X, Y)
    train, valid = ValidSplit(3, stratified=True)(noted.get_dataset(X, Y), Y)
    assert set(noted.judge_indices_) <= set(train.indices)
    assert not set(noted.judge_indices_) & set(valid.indices)
    part = Subset(nights(), list(range(10, 40)))
    assert max(judged().fit(part).judge_indices_) < 30


def test_judges_who_make_no_batch_are_refused():
    """Looking for a batch among them went on for ever."""
    with pytest.raises(ValueError, match=r"makes 5 judges, .* smaller than 16"):
        judged(judge_share=0.1, iterator_train__drop_last=True).fit(X, Y)
    assert len(judged(judge_share=0.5, iterator_train__drop_last=True).fit(X, Y).history) == 2


def test_an_estimator_can_be_pickled_while_it_is_trained(tmp_path):
    unsaved = dict.fromkeys(("f_params", "f_optimizer", "f_criterion", "f_history"))
    saving = Checkpoint(monitor=None, f_pickle=f"{tmp_path}/net.pkl", **unsaved)
    clf = judged(callbacks=[saving]).fit(X, Y)
    saved = pickle.loads((tmp_path / "net.pkl").read_bytes())
    assert np.array_equal(saved.predict_proba(X), clf.predict_proba(X))
    assert saved.partial_fit(X, Y).judge_indices_ == clf.judge_indices_
