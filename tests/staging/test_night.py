import datetime
from types import SimpleNamespace

import mne
import numpy as np
import pytest
from data.edf_files import noise, pages, write_edf
from sklearn.exceptions import NotFittedError

import eegaug
from eegaug import AugNetClassifier
from eegaug.data import STAGES as NAMES
from eegaug.data import Preprocessing, load_recordings, parse_stage, simulate_nights
from eegaug.staging import StagedNight
from eegaug.staging.prepare import prepare

from .conftest import N_EPOCHS, STAGES

CODES = [parse_stage(s) for s in STAGES]


@pytest.fixture
def night(recording, model):
    return eegaug.stage(recording, model, reference=recording.with_name("anna-Hypnogram.edf"))


def as_raw(signals, sfreq=100.0, **more):
    info = mne.create_info(list(signals), sfreq, "eeg")
    return mne.io.RawArray(np.array(list(signals.values())) * 1e-6, info, verbose="error")


class TestStage:
    def test_windows_are_those_the_model_is_trained_on(self, recording, model, night, tmp_path):
        fields = model.preprocessing_
        loaded = load_recordings(recording, Preprocessing(**fields), labels="ignore", store=tmp_path / "store")
        np.testing.assert_allclose(night.proba, model.predict_proba(loaded), atol=1e-5)

    def test_channels_whose_unit_is_no_voltage_are_named_with_it(self, signals, model, tmp_path):
        path = write_edf(tmp_path / "counts.edf", signals, unit="counts")
        with pytest.raises(
            ValueError,
            match=r"'C3', 'C4' are missing; there are none.*; 'EEG C3-A2' in 'counts', 'EEG C4-A1' in 'counts' ",
        ):
            eegaug.stage(path, model)

    def test_columns(self, night):
        table = night.hypnogram
        probabilities = [f"p_{name}" for name in NAMES]
        columns = ["onset", "duration", "stage", *probabilities, "confidence", "disagreement"]
        assert table.columns.tolist() == columns
        assert table["onset"].tolist() == [30.0 * i for i in range(N_EPOCHS)] and (table["duration"] == 30).all()
        assert table[probabilities].sum(axis=1).to_numpy() == pytest.approx(1)
        assert (table["stage"] == np.array(NAMES)[table[probabilities].to_numpy().argmax(1)]).all()
        assert table["confidence"].to_numpy() == pytest.approx(table[probabilities].max(axis=1).to_numpy())
        assert night.probabilities.columns.tolist() == list(NAMES) and len(night.probabilities) == N_EPOCHS

    def test_a_raw_and_its_file_are_staged_alike(self, recording, model, night):
        raw = mne.io.read_raw_edf(recording, verbose="error")
        again = eegaug.stage(raw, model)
        np.testing.assert_allclose(again.proba, night.proba, atol=1e-4)
        assert again.channels.equals(night.channels) and again.name == "anna" and again.agreement is None

    def test_other_files_go_through_mne(self, signals, model, tmp_path):
        raw = as_raw(signals)
        raw.save(tmp_path / "night_raw.fif", verbose="error")
        found = eegaug.stage(tmp_path / "night_raw.fif", model)
        np.testing.assert_allclose(found.proba, eegaug.stage(raw, model).proba, atol=1e-4)

    def test_channels_called_as_mne_calls_a_kind(self, signals, model, tmp_path):
        named = dict(zip(["eeg", "misc"], signals.values(), strict=True))
        write_edf(tmp_path / "a.edf", named)
        for night in (as_raw(named), tmp_path / "a.edf"):
            found = eegaug.stage(night, model, channels=["eeg", "misc"])
            np.testing.assert_allclose(found.proba, eegaug.stage(as_raw(signals), model).proba, atol=2e-3)

    def test_channels_by_their_place(self, signals, model, night):
        raw = as_raw(dict(zip(["E36", "E104"], signals.values(), strict=True)))
        built_in = mne.channels.get_builtin_montages()
        montage = mne.channels.make_standard_montage("colin27_1005" if "colin27_1005" in built_in else "standard_1005")
        raw.set_montage(montage.rename_channels({"C3": "E36", "C4": "E104"}))
        found = eegaug.stage(raw, model)
        assert found.channels["how"].str.contains("cm from").all()
        np.testing.assert_allclose(found.proba, night.proba, atol=1e-3)

    def test_npz_with_stages(self, signals, model, tmp_path):
        X = np.stack([x.reshape(N_EPOCHS, 3000) for x in signals.values()], axis=1)
        np.savez(tmp_path / "n.npz", X=X, ch_names=list(signals), sfreq=100.0, y=CODES)
        found = eegaug.stage(tmp_path / "n.npz", model)
        np.testing.assert_allclose(found.proba, eegaug.stage(as_raw(signals), model).proba, atol=2e-3)
        assert found.agreement.scored.tolist() == CODES
        (tmp_path / "n.csv").write_text("\n".join(map(str, CODES)))
        for night in (tmp_path / "n.npz", as_raw(signals)):
            notes = eegaug.stage(night, model, reference=tmp_path / "n.csv").notes
            assert sum("stage numbers 0 to 4 were read as W" in note for note in notes) == 1

    def test_epochs_chosen_one_by_one_are_put_in_order(self, signals, model, tmp_path):
        X = np.stack([x.reshape(N_EPOCHS, 3000) for x in signals.values()], axis=1)
        picked = np.array([7, 2, 10])
        np.savez(tmp_path / "n.npz", X=X[picked], ch_names=list(signals), sfreq=100.0, y=[1, 2, 3], epoch_index=picked)
        found = eegaug.stage(tmp_path / "n.npz", model)
        assert found.onset_s.tolist() == [60.0, 210.0, 300.0] and found.agreement.scored.tolist() == [2, 1, 3]
        assert found.statistics["TIB"] == 4.5 and found.plot().axes
        alone = eegaug.stage(as_raw({name: x[6000:9000] for name, x in signals.items()}), model)
        np.testing.assert_allclose(found.proba[0], alone.proba[0], atol=1e-5)

    def test_a_night_of_windows(self, nights, model):
        found = eegaug.stage(nights.datasets[1], model)
        np.testing.assert_allclose(found.proba, model.predict_proba(nights.datasets[1]), atol=1e-6)
        assert found.agreement.scored.tolist() == nights.datasets[1].y.tolist()
        np.testing.assert_allclose(found.onset_s, nights.datasets[1].onset_s)

    def test_a_saved_model(self, recording, bundle, night):
        found = eegaug.stage(recording, bundle)
        np.testing.assert_allclose(found.proba, night.proba, atol=1e-6)
        assert (found.model, night.model) == ("sleeper", "AugNetClassifier")

    def test_the_best_of_a_search(self, recording, model, night):
        search = type("Search", (), {"best_estimator_": model})()
        np.testing.assert_array_equal(eegaug.stage(recording, search).proba, night.proba)

    def test_a_model_of_arrays_needs_to_be_told_the_preprocessing(self, recording):
        clf = AugNetClassifier(layers=["sensors"], sfreq=50.0, ch_names=["C3", "C4"], max_epochs=1, verbose=0)
        clf.fit(np.random.default_rng(0).standard_normal((10, 2, 1500)).astype("float32"), ["W", "N2"] * 5)
        with pytest.raises(ValueError, match="does not say how its windows were made"):
            eegaug.stage(recording, clf)
        how = Preprocessing(ch_names=["C3", "C4"], sfreq=50, h_freq=20)
        found = eegaug.stage(recording, clf, preprocessing=how)
        assert set(found.hypnogram["stage"]) <= {"W", "N2"} and (found.probabilities[["N1", "N3", "REM"]] == 0).all(
            None
        )

    def test_what_is_left_at_the_end_is_noted(self, model, tmp_path):
        path = write_edf(tmp_path / "a.edf", {"C3": noise(100), "C4": noise(100, seed=1)})
        found = eegaug.stage(path, model)
        assert len(found) == 3 and "the last 10 s are less than an epoch and were left out" in found.notes

    def test_spectra_are_densities_of_the_power(self):
        t = np.arange(12000) / 100
        raw = as_raw({"C3": 20 * np.sin(2 * np.pi * 10 * t), "C4": 8 * np.sin(2 * np.pi * 5 * t)})
        found = prepare(raw, Preprocessing(ch_names=["C3", "C4"], sfreq=50, h_freq=20))
        assert found.freqs_hz.tolist() == [k / 4 for k in range(1, 81)]  # windows of 4 s, to where the filter ends
        assert found.freqs_hz[found.power.argmax(-1)].tolist() == [[10.0, 5.0]] * 4
        # Half the square of a sine's amplitude; the ends of the recording suffer from the filter.
        np.testing.assert_allclose(found.power.sum(-1) / 4, [[200.0, 32.0]] * 4, rtol=0.03)

    def test_flat_epochs_and_odd_units_are_noted(self, model):
        flat = noise(120)
        flat[2400:6600] = 0
        found = eegaug.stage(as_raw({"C3": flat, "C4": 1e-3 * noise(120, seed=1)}), model)
        text = "; ".join(found.notes)
        assert "C3 is flat in 1 of 4 epochs" in text and "C4 has a standard deviation of" in text

    @pytest.mark.filterwarnings("ignore:channels 'C3', 'C4' of X are flat")
    def test_what_is_flat_because_of_its_unit_is_told_with_its_size(self, model):
        volts = 1e-6 * noise(120)
        found = eegaug.stage(as_raw({"C3": volts, "C4": volts}), model)
        assert any(note.startswith("channel C3 has a standard deviation of 1.") for note in found.notes), found.notes


class TestReference:
    def test_agreement(self, night):
        assert night.agreement.scored.tolist() == CODES
        assert night.agreement.scores["accuracy"] == np.mean(night.stages == CODES)
        assert night.agreement.confusion.to_numpy().sum() == N_EPOCHS

    def test_epochs_follow_the_scorers(self, recording, model, tmp_path):
        scored = write_edf(tmp_path / "b.edf", stages=pages(["2", "?", "3"], start_s=42.0))
        found = eegaug.stage(recording, model, reference=scored)
        assert found.onset_s[:3].tolist() == [12.0, 42.0, 72.0] and len(found) == 11
        assert found.agreement.scored.tolist() == [-1, 2, -1, 3, *[-1] * 7] and found.agreement.n_epochs == 2
        assert any("begin at 12 s" in note for note in found.notes)
        assert any("9 of 11 epochs have no stage" in note for note in found.notes)

    def test_scorings_that_may_be_of_another_night_are_noted(self, recording, model, tmp_path):
        scored = write_edf(tmp_path / "b.edf", stages=[*pages(["2"] * N_EPOCHS), (360, 6000, "Sleep stage ?")])
        assert not any("goes on after" in note for note in eegaug.stage(recording, model, reference=scored).notes)
        scored = write_edf(tmp_path / "b.edf", stages=pages(["2"] * (N_EPOCHS + 5)))
        header = bytearray(scored.read_bytes())
        header[168:184] = b"02.01.2023.59.00"
        scored.write_bytes(header)
        notes = eegaug.stage(recording, model, reference=scored).notes
        assert any("has another start time" in note for note in notes)
        assert any("goes on after the end of the recording" in note for note in notes)
        same = eegaug.stage(recording, model, reference=write_edf(tmp_path / "c.edf", stages=pages(["2"] * N_EPOCHS)))
        assert not any("start time" in note or "goes on" in note for note in same.notes)

    def test_times_of_the_day_count_from_the_recordings_start(self, recording, model, tmp_path):
        header = bytearray(recording.read_bytes())
        header[176:184] = b"23.57.48"
        recording.write_bytes(header)
        rows = [("W", "23:58:00"), ("N2", "23:59:00"), ("N3", "00:01:00"), ("R", "00:02:30")]
        text = "\n".join(f"{name}\t{at}\t..." for name, at in rows)
        (tmp_path / "a.annot").write_text(text)
        found = eegaug.stage(recording, model, reference=tmp_path / "a.annot")
        assert found.onset_s[0] == 12 and found.agreement.scored.tolist() == [0, 0, 2, 2, 2, 2, 3, 3, 3, 4, 4]
        raw = mne.io.read_raw_edf(recording, verbose="error").set_meas_date(None)
        with pytest.raises(ValueError, match="times of the day, and the recording does not say when it began"):
            eegaug.stage(raw, model, reference=tmp_path / "a.annot")

    def test_text_without_times_is_as_long_as_the_night(self, signals, tmp_path):
        short = simulate_nights(n_subjects=2, n_windows=40, window_s=10, ch_names=["C3", "C4"], random_state=0)
        model = AugNetClassifier(layers=[["sign_flip"]], max_epochs=1, random_state=0, verbose=0).fit(short)
        for lines, times in ((CODES, 3), (CODES * 3, 1)):
            (tmp_path / "a.txt").write_text("\n".join(NAMES[code] for code in lines))
            found = eegaug.stage(as_raw(signals), model, reference=tmp_path / "a.txt")
            assert found.agreement.scored.tolist() == np.repeat(lines, times).tolist()

    @pytest.mark.parametrize(
        "odd", [[(0, 15, "Sleep stage ?")], [(315, 17, "Sleep stage 2")]], ids=["before the first", "the last"]
    )
    def test_an_odd_stretch_does_not_move_the_epochs(self, recording, model, tmp_path, odd):
        scored = write_edf(tmp_path / "b.edf", stages=[*odd, *pages("2W" * 5, start_s=15.0)])
        found = eegaug.stage(recording, model, reference=scored)
        assert found.onset_s.tolist() == [15.0 + 30 * k for k in range(N_EPOCHS - 1)]
        assert found.agreement.scored[:10].tolist() == [2, 0] * 5

    def test_a_start_within_the_same_second_is_no_other(self, recording, model, tmp_path):
        raw = mne.io.read_raw_edf(recording, preload=True, verbose="error")
        raw.set_meas_date(raw.info["meas_date"] + datetime.timedelta(seconds=0.5))
        found = eegaug.stage(raw, model, reference=recording.with_name("anna-Hypnogram.edf"))
        assert not any("another start" in note for note in found.notes)

    def test_pages_of_20_s_count_where_the_middle_of_an_epoch_lies(self, recording, model, tmp_path):
        scored = write_edf(tmp_path / "b.edf", stages=pages(["W", "1", "2", "3"], page_s=20))
        found = eegaug.stage(recording, model, reference=scored)
        assert found.agreement.scored[:4].tolist() == [0, 2, 3, -1]

    @pytest.mark.parametrize(("page_s", "start_s", "first_s"), [(10, 10.0, 0), (20, 20.0, 20), (30, 40.0, 10)])
    def test_epochs_begin_with_a_page_where_pages_are_no_part_of_them(
        self, recording, model, tmp_path, page_s, start_s, first_s
    ):
        scored = write_edf(tmp_path / "b.edf", stages=pages(["2"] * 9, start_s=start_s, page_s=page_s))
        assert eegaug.stage(recording, model, reference=scored).onset_s[0] == first_s

    def test_one_stage_per_epoch(self, recording, model):
        assert eegaug.stage(recording, model, reference=CODES).agreement.scored.tolist() == CODES
        with pytest.raises(ValueError, match="scorer has 3 epochs, the night has 12"):
            eegaug.stage(recording, model, reference=[0, 1, 2])

    def test_of_another_time(self, recording, model, tmp_path):
        scored = write_edf(tmp_path / "b.edf", stages=pages(["2"], start_s=9000.0))
        with pytest.raises(ValueError, match="scores no epoch"):
            eegaug.stage(recording, model, reference=scored)


class TestForms:
    def test_statistics(self, night):
        assert night.statistics["TIB"] == 6.0
        assert night.statistics["N3"] == (night.stages == 3).sum() / 2
        assert night.transitions.to_numpy().sum() == N_EPOCHS - 1

    def test_statistics_count_gaps_as_unscored(self, nights, model):
        part = nights.datasets[0]
        kept = np.r_[0:10, 20:40]
        gapped = type(part)(
            part.read(kept), part.y[kept], ch_names=part.ch_names, sfreq=part.sfreq, onset_s=300 + 30 * kept
        )
        found = eegaug.stage(gapped, model)
        assert len(found) == 30 and found.statistics["TIB"] == 20.0
        assert sum(found.statistics[name] for name in NAMES) == 15.0
        assert "10 of 40 epochs between the first and the last are not there" in found.notes

    def test_statistics_are_of_the_time_in_bed(self, signals, model, tmp_path):
        events = [(5.0, 0, "Lights on"), (70.0, 0, "Lights off"), (100.0, 0, "lights on"), (331.0, 0, "Lights ON")]
        path = write_edf(tmp_path / "a.edf", signals, stages=events)
        found = eegaug.stage(path, model)
        assert found.in_bed == (3, 11) and found.statistics["TIB"] == 4.0 and len(found) == N_EPOCHS
        assert "statistics from lights off to lights on: epochs 4 to 11" in found.notes
        raw = mne.io.read_raw_edf(path, verbose="error")
        assert eegaug.stage(raw, model).in_bed == (3, 11)
        assert eegaug.stage(raw.crop(60.0), model).in_bed == (1, 9)
        assert eegaug.stage(path, model, lights=(60, None)).in_bed == (2, 12)
        with pytest.raises(ValueError, match="off comes first"):
            eegaug.stage(path, model, lights=(60, 30))

    def test_annotations(self, night, recording):
        raw = mne.io.read_raw_edf(recording, verbose="error").set_annotations(night.to_annotations())
        events, ids = mne.events_from_annotations(raw, verbose="error")
        assert len(events) == N_EPOCHS and events[:, 0].tolist() == [3000 * i for i in range(N_EPOCHS)]
        assert set(ids) <= {f"Sleep stage {s}" for s in ("W", "N1", "N2", "N3", "R")}
        merged = night.to_annotations(merge=True)
        assert len(merged) <= N_EPOCHS and merged.duration.sum() == pytest.approx(360)

    def test_least_certain_first(self, night):
        table = night.least_certain()
        assert (np.diff(table["confidence"]) >= 0).all() and len(night.least_certain(3)) == 3
        first = table.iloc[0]
        assert first["confidence"] == pytest.approx(night.confidence.min())
        ranked = np.sort(night.proba[first["epoch"] - 1])
        assert first["p_second"] == pytest.approx(ranked[-2])
        assert table["scored"].iloc[0] == NAMES[CODES[first["epoch"] - 1]]

    def test_clock(self, signals, model):
        raw = as_raw(signals)
        raw.set_meas_date(datetime.datetime(2025, 3, 1, 22, 30, 10, tzinfo=datetime.UTC))
        table = eegaug.stage(raw, model).least_certain().set_index("epoch")
        assert table.loc[1, "clock"] == "22:30:10" and table.loc[3, "clock"] == "22:31:10"
        later = eegaug.stage(raw.crop(60.0), model)
        assert later.least_certain().set_index("epoch").loc[1, "clock"] == "22:31:10"
        assert eegaug.stage(raw, model, lights=("22:32:10", None)).in_bed == (2, 10)

    def test_yasa(self, night):
        pytest.importorskip("yasa")
        hypnogram = night.to_yasa()
        assert hypnogram.hypno.str[:1].tolist() == [NAMES[code][:1] for code in night.stages]
        assert hypnogram.proba["WAKE"].to_numpy() == pytest.approx(night.probabilities["W"].to_numpy())


class TestRefuses:
    def test_a_montage_that_does_not_serve(self, tmp_path, model):
        path = write_edf(tmp_path / "a.edf", {"C3": noise(60), "EOG": noise(60, seed=1)})
        with pytest.raises(ValueError, match="needs C3, C4: channel 'C4' is missing; there are 'C3', 'EOG'"):
            eegaug.stage(path, model)

    def test_sources(self, model, nights, tmp_path):
        with pytest.raises(TypeError, match=r"not a Nights: pass one of its nights, such as nights.datasets\[0\]"):
            eegaug.stage(nights, model)
        with pytest.raises(TypeError, match="not a list"):
            eegaug.stage([1, 2], model)
        with pytest.raises(FileNotFoundError, match=r"no file .*b\.edf"):
            eegaug.stage(tmp_path / "b.edf", model)
        (tmp_path / "b.vhdr").write_text("nothing")
        with pytest.raises(ValueError, match="MNE cannot read it"):
            eegaug.stage(tmp_path / "b.vhdr", model)
        short = write_edf(tmp_path / "a.edf", {"C3": noise(20), "C4": noise(20, seed=1)})
        with pytest.raises(ValueError, match="20 s long, shorter than one window of 30 s"):
            eegaug.stage(short, model)

    def test_models(self, recording, tmp_path):
        with pytest.raises(FileNotFoundError, match="no model in"):
            eegaug.stage(recording, tmp_path / "nothing")
        with pytest.raises(TypeError, match="model is a dict"):
            eegaug.stage(recording, {})
        with pytest.raises(NotFittedError):
            eegaug.stage(recording, AugNetClassifier())

    def test_windows_of_another_rate(self, nights, model):
        part = nights.datasets[0]
        other = type(part)(part.read(), part.y, ch_names=["F3", "F4"], sfreq=part.sfreq)
        with pytest.raises(ValueError, match="channels F3, F4"):
            eegaug.stage(other, model)
        with pytest.raises(ValueError, match="channels are of recordings"):
            eegaug.stage(part, model, channels=part.ch_names[::-1])

    @pytest.mark.parametrize(("wrong", "words"), [(5, "hold 5"), ("W", "hold 'W'"), (None, "hold None")])
    def test_references_that_hold_no_stages(self, nights, model, wrong, words):
        part = nights.datasets[0]
        with pytest.raises(ValueError, match=words):
            eegaug.stage(part, model, reference=[wrong] * len(part))
        found = eegaug.stage(part, model, reference=[2.0] * len(part)).agreement
        assert found.n_epochs == len(part) and found.scored.tolist() == [2] * len(part)


def test_real_sleep_edf_as_its_user_has_it(data_folder, preprocessing, model):
    folder = data_folder / "edf"
    channels = {"C3": "EEG Fpz-Cz", "C4": "EEG Pz-Oz"}
    reference = folder / "SC4001EC-Hypnogram.edf"
    found = eegaug.stage(folder / "SC4001E0-PSG_first300s.edf", model, channels=channels, reference=reference)
    assert len(found) == 10 and found.agreement.scored.tolist() == [0] * 10
    assert found.start == datetime.datetime(1989, 4, 24, 16, 13)
    assert found.channels["recording"].tolist() == ["EEG Fpz-Cz", "EEG Pz-Oz"]


def test_real_recording_at_300_hz(data_folder, model):
    found = eegaug.stage(data_folder / "edf" / "mednick_example1_sleep_rec.edf", model)
    assert len(found) == 40 and found.channels["recording"].tolist() == ["C3-A2", "C4-A1"]
    assert np.isfinite(found.prepared.power).all()


def test_epochs_after_gaps_of_half_an_epoch_keep_places_of_their_own():
    onset_s = np.array([0.0, 30.0, 75.0, 105.0, 165.0])
    there = SimpleNamespace(onset_s=onset_s, epoch_s=30.0)
    assert StagedNight.on_grid(there, np.arange(5), -1).tolist() == [0, 1, -1, 2, 3, -1, 4]
