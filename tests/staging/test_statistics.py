import numpy as np
import pytest

from eegaug.data import STAGES, simulate_nights
from eegaug.staging import STATISTICS, sleep_statistics, stage_transitions, statistics

# Four epochs awake, six minutes of sleep that a minute of waking breaks, two epochs awake.
NIGHT = [0] * 4 + [1] * 2 + [2] * 4 + [0] * 2 + [3] * 4 + [4] * 2 + [0] * 2


def test_counts_by_hand():
    found = sleep_statistics(NIGHT, engine="eegaug")
    assert found["TIB"] == 10 and found["TST"] == 6 and found["SPT"] == 7 and found["WASO"] == 1
    assert found["SE"] == 60 and found["SME"] == pytest.approx(100 * 6 / 7, abs=1e-4)
    assert (found["SOL"], found["Lat_N1"], found["Lat_N2"], found["Lat_N3"], found["Lat_REM"]) == (2, 2, 3, 6, 8)
    assert [found[s] for s in STAGES] == [4, 1, 2, 2, 1]
    assert found["%N2"] == pytest.approx(100 / 3, abs=1e-4) and found["SFI"] == 20
    assert np.isnan(found["SOL_5min"])


def test_latency_to_sleep_that_lasts():
    found = sleep_statistics([0, 1, 0, *[2] * 10, 0], engine="eegaug")
    assert (found["SOL"], found["SOL_5min"]) == (0.5, 1.5)


def test_a_night_without_sleep():
    found = sleep_statistics([0] * 10, engine="eegaug")
    assert found["TST"] == found["SE"] == found["SPT"] == 0 and found["W"] == 5
    assert all(np.isnan(found[name]) for name in ("SOL", "WASO", "SME", "SFI", "Lat_REM", "%N2"))


@pytest.mark.parametrize(
    ("engine", "installed", "by"),
    [("auto", True, "yasa"), ("auto", False, "ourselves"), ("yasa", True, "yasa"), ("eegaug", True, "ourselves")],
)
def test_who_computes(engine, installed, by, monkeypatch):
    asked, compute = [], statistics._by_ourselves
    monkeypatch.setattr(statistics, "find_spec", lambda name: installed or None)
    for name in ("yasa", "ourselves"):
        monkeypatch.setattr(statistics, f"_by_{name}", lambda *night, name=name: asked.append(name) or compute(*night))
    assert sleep_statistics(NIGHT, engine=engine)["TST"] == 6
    assert asked == [by]


class TestYasa:
    """Where YASA is installed it computes; its numbers and ours are the same."""

    @pytest.fixture(autouse=True)
    def _needs_yasa(self):
        pytest.importorskip("yasa")

    @staticmethod
    def same(stages, epoch_s=30.0):
        ours, theirs = (sleep_statistics(stages, epoch_s, engine=engine) for engine in ("eegaug", "yasa"))
        assert list(ours) == list(theirs) == list(STATISTICS)
        np.testing.assert_allclose(list(ours.values()), list(theirs.values()), atol=1.1e-4, equal_nan=True)

    @pytest.mark.parametrize("epoch_s", [20.0, 30.0])
    def test_simulated_night(self, epoch_s):
        y = simulate_nights(n_subjects=1, hours=4, ch_names=["C3"], sfreq=5, h_freq=2, random_state=1).y
        assert set(y) == set(range(5))
        self.same(y, epoch_s)

    @pytest.mark.parametrize(
        "stages",
        [NIGHT, [0] * 8, [2] * 30, [4], [0, 1], [-1, 0, 2, -1, 2, 0, -1], [2, -1, -1, 3], [*[1] * 9, 0, *[1] * 10]],
    )
    def test_odd_nights(self, stages):
        self.same(stages)

    def test_transitions(self):
        from eegaug.staging.statistics import yasa_hypnogram

        theirs = yasa_hypnogram(NIGHT).transition_matrix()[0].to_numpy()
        assert stage_transitions(NIGHT).to_numpy().tolist() == theirs.tolist()


def test_names_of_stages_are_refused():
    with pytest.raises(ValueError, match="stages hold 'N1'"):
        stage_transitions(["W", "N1"])


def test_transitions_leave_out_epochs_without_stage():
    counts = stage_transitions([0, 1, -1, 1, 2])
    assert counts.to_numpy().sum() == 2 and counts.loc["W", "N1"] == counts.loc["N1", "N2"] == 1


@pytest.mark.parametrize(
    ("stages", "options", "message"),
    [
        ([], {}, "at least one"),
        ([0, 5], {}, "hold 5"),
        ([0, 1], {"epoch_s": 0}, "above 0"),
        ([0, 1], {"engine": "other"}, "'other'"),
    ],
)
def test_refuses(stages, options, message):
    with pytest.raises(ValueError, match=message):
        sleep_statistics(stages, **options)
