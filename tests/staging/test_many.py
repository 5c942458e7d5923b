import json
import os
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from data.edf_files import noise, pages, write_edf
from data.scoring_files import nsrr_xml, profusion_xml

from eegaug.cli import main
from eegaug.staging import find_tasks, stage_files
from eegaug.staging.many import _stage_one
from eegaug.staging.night import as_hypnogram
from eegaug.staging.prepare import reference_stages

from .conftest import STAGES


@pytest.fixture
def folder(recording):
    """Two recordings with their hypnograms, and two that cannot be staged."""
    folder = recording.parent
    shutil.copy(recording, folder / "bert.edf")
    shutil.copy(folder / "anna-Hypnogram.edf", folder / "bert-Hypnogram.edf")
    whole = recording.read_bytes()
    (folder / "cut.edf").write_bytes(whole[: len(whole) // 2])
    write_edf(folder / "eyes.edf", {"EOG": noise(60)})
    return folder


def call(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


class TestFindTasks:
    def test_files_folders_and_patterns_once_each(self, folder, tmp_path):
        tasks = find_tasks([folder / "anna.edf", folder, str(folder / "b*.edf")], tmp_path / "out")
        assert [task.path.name for task in tasks] == ["anna.edf", "bert.edf", "cut.edf", "eyes.edf"]
        assert tasks[0].folder == tmp_path / "out" / "anna" and tasks[0].reference is None

    def test_recordings_of_other_kinds_are_left_out_of_folders_and_said_to_be(self, folder, tmp_path):
        for name in ("a_raw.fif.gz", "b.HDF5", "b.eeg", "c.hdf5", "d.edf.gz"):
            (folder / name).touch()
        with pytest.warns(UserWarning, match=r"a_raw.fif.gz, b.HDF5, c.hdf5 and 1 more not staged: of a folder, .edf,"):
            assert len(find_tasks([folder], tmp_path)) == 4

    def test_references_of_a_folder(self, folder, tmp_path):
        tasks = find_tasks([folder], tmp_path, reference=folder)
        assert [task.reference and task.reference.name for task in tasks] == [
            "anna-Hypnogram.edf",
            "bert-Hypnogram.edf",
            None,
            None,
        ]
        assert tasks[0].note is None and "no hypnogram of its name" in tasks[3].note
        (folder / "bert_stages.csv").write_text("W\n" * 12)
        (task,) = find_tasks([folder / "bert.edf"], tmp_path, reference=folder)
        assert task.reference is None and "several hypnograms could be its own" in task.note

    def test_references_in_the_folders_of_nsrr(self, recording, tmp_path):
        edf = tmp_path / "polysomnography" / "edfs" / "shhs1" / "shhs1-200001.edf"
        edf.parent.mkdir(parents=True)
        shutil.copy(recording, edf)
        top = edf.parents[2]
        stages = [0, 0, 1, 2, 2, 4, 4, 5, 9, 2, 2, 0]
        for form, write in (("nsrr", nsrr_xml), ("profusion", profusion_xml)):
            write(top / f"annotations-events-{form}" / "shhs1" / f"shhs1-200001-{form}.xml", stages)
        for where, name in (
            ("", "nsrr"),
            ("annotations-events-nsrr", "nsrr"),
            ("annotations-events-profusion", "profusion"),
        ):
            (task,) = find_tasks([top / "edfs"], tmp_path / "out", reference=top / where)
            assert (task.reference.name, task.note) == (f"shhs1-200001-{name}.xml", None)
            scored = reference_stages(as_hypnogram(task.reference), 30.0 * np.arange(12), 30)
            assert scored.tolist() == [0, 0, 1, 2, 2, 3, 3, 4, -1, 2, 2, 0]

    def test_references_among_annotations_of_the_recordings(self, recording, signals, tmp_path):
        inside = tmp_path / "inside"
        write_edf(inside / "anna.edf", signals, stages=pages(STAGES))
        write_edf(inside / "bert.edf", signals, stages=[(5.0, 1.0, "Arousal")])
        tasks = find_tasks([inside], tmp_path, reference=inside)
        assert [task.reference for task in tasks] == [inside / "anna.edf", None]
        assert "no hypnogram of its name" in tasks[1].note
        (other,) = find_tasks([recording], tmp_path, reference=inside)
        assert other.reference == inside / "anna.edf"
        (elsewhere,) = find_tasks([inside / "anna.edf"], tmp_path, reference=recording.parent)
        assert elsewhere.reference == recording.parent / "anna-Hypnogram.edf"

    def test_references_of_other_kinds_of_recordings(self, tmp_path):
        names = ("sub-01_task-sleep_eeg.vhdr", "anna_raw.fif", "bert.set")
        for name in (*names, "sub-01_task-sleep_events.tsv", "anna-stages.csv", "bert.txt"):
            (tmp_path / name).touch()
        tasks = find_tasks([tmp_path / name for name in names], tmp_path, reference=tmp_path)
        found = [task.reference and task.reference.name for task in tasks]
        assert found == ["sub-01_task-sleep_events.tsv", "anna-stages.csv", "bert.txt"]
        assert [task.subject for task in tasks] == ["sub-01", "anna_raw", "bert"]

    def test_one_reference_is_for_one_recording(self, folder, tmp_path):
        hypnogram = folder / "anna-Hypnogram.edf"
        assert find_tasks([folder / "anna.edf"], tmp_path, hypnogram)[0].reference == hypnogram
        with pytest.raises(ValueError, match="one hypnogram for 4 recordings"):
            find_tasks([folder], tmp_path, hypnogram)

    def test_subjects(self, folder, tmp_path):
        np.savez(folder / "x.npz", X=np.zeros((1, 1, 10)), ch_names=["C3"], sfreq=1.0, subject="carl")
        (folder / "y.npz").write_text("no archive")
        tasks = find_tasks([folder / name for name in ("anna.edf", "x.npz", "y.npz")], tmp_path)
        assert [task.subject for task in tasks] == ["anna", "carl", "y"]

    def test_recordings_of_one_name_get_folders_of_their_own(self, folder, tmp_path):
        for subject in ("s1", "s 2"):
            (folder / subject).mkdir()
            shutil.copy(folder / "anna.edf", folder / subject / "night.edf")
        tasks = find_tasks([folder / "s1", folder / "s 2"], tmp_path)
        assert [task.folder.name for task in tasks] == ["s1_night", "s_2_night"]

    def test_names_that_differ_in_upper_case_get_folders_of_their_own(self, folder, tmp_path):
        for name in ("s1/Night.edf", "s2/night.edf"):
            (folder / name).parent.mkdir()
            shutil.copy(folder / "anna.edf", folder / name)
        tasks = find_tasks([folder / "s1", folder / "s2", folder / "anna.edf"], tmp_path)
        assert [task.folder.name for task in tasks] == ["s1_Night", "s2_night", "anna"]

    def test_names_that_differ_in_a_space_get_folders_of_their_own(self, folder, tmp_path):
        for name in ("night 1.edf", "night_1.edf"):
            shutil.copy(folder / "anna.edf", folder / name)
        tasks = find_tasks([folder / "night 1.edf", folder / "night_1.edf"], tmp_path)
        assert tasks[0].folder != tasks[1].folder

    def test_what_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file or folder .*nix\.edf"):
            find_tasks([tmp_path / "nix.edf"], tmp_path)
        with pytest.raises(FileNotFoundError, match="No file matches"):
            find_tasks([str(tmp_path / "*.edf")], tmp_path)


class TestStageFiles:
    def test_bad_files_are_named_and_the_others_done(self, folder, bundle, tmp_path):
        out = tmp_path / "out"
        result = stage_files(find_tasks([folder], out, folder), bundle, out=out, page=False)
        assert [one["recording"] for one in result.done] == ["anna", "bert"]
        reasons = {one["recording"].rsplit("/", 1)[-1]: one["reason"] for one in result.failed}
        assert "truncated EDF" in reasons["cut.edf"] and "needs C3, C4" in reasons["eyes.edf"]
        table = pd.read_csv(out / "summary.csv")
        assert table["recording"].tolist() == ["anna", "bert"] and table["agreement_epochs"].tolist() == [12, 12]
        assert table["TIB"].tolist() == [6.0, 6.0]

    def test_a_link_to_what_was_never_fetched_is_one_of_the_bad_files(self, folder, bundle, tmp_path):
        (folder / "dora.edf").symlink_to(tmp_path / ".git" / "annex" / "dora.edf")
        result = stage_files(find_tasks([folder], tmp_path / "out"), bundle, out=tmp_path / "out", page=False)
        assert [one["recording"].split("/")[-1] for one in result.failed] == ["cut.edf", "dora.edf", "eyes.edf"]
        assert "dora.edf" in result.failed[1]["reason"] and len(result.done) == 2

    @pytest.mark.skipif(sys.platform != "linux", reason="names of files are text")
    def test_a_file_whose_name_is_not_utf8(self, recording, bundle, tmp_path):
        path = recording.with_name(os.fsdecode(b"M\xfcller.edf"))
        recording.rename(path)
        for n_kept in (0, 1):
            result = stage_files(find_tasks([path], tmp_path / "out"), bundle, out=tmp_path / "out", page=False)
            assert (result.failed, result.n_kept) == ([], n_kept)
        (one,) = result.done
        assert one["recording"] == "Müller" and one["made_from"]["file"] == str(path)
        assert pd.read_csv(tmp_path / "out" / "summary.csv")["recording"].tolist() == ["Müller"]

    def test_subjects_that_the_model_has_seen_are_named(self, folder, model, tmp_path):
        saved = model.save(tmp_path / "model", splits={"train": ["anna"], "valid": [], "test": None})
        files = [folder / "anna.edf", folder / "bert.edf"]
        result = stage_files(find_tasks(files, tmp_path, folder), saved, out=tmp_path, page=False)
        said = [any("trained or stopped on" in note for note in one["notes"]) for one in result.done]
        assert said == [True, False]

    def test_what_is_finished_is_kept(self, folder, bundle, tmp_path):
        out, files = tmp_path / "out", [folder / "anna.edf", folder / "bert.edf"]
        stage_files(find_tasks(files[:1], out), bundle, out=out, page=False)
        before = (out / "anna" / "night.json").stat().st_mtime_ns
        tasks = find_tasks(files, out)
        result = stage_files(tasks, bundle, out=out, page=False)
        assert result.n_kept == 1 and len(result.summary) == 2
        assert (out / "anna" / "night.json").stat().st_mtime_ns == before
        # Another setting, or the user's word, and it is done again.
        assert stage_files(tasks, bundle, out=out, page=False, n_copies=2).n_kept == 0
        assert stage_files(tasks, bundle, out=out, page=False, n_copies=2, again=True).n_kept == 0
        assert stage_files(tasks, bundle, out=out, page=False, n_copies=2).n_kept == 2

    def test_another_recording_of_the_name_does_not_replace_it(self, folder, bundle, tmp_path, monkeypatch):
        out, files = tmp_path / "out", [folder / name / "night.edf" for name in ("s1", "s2")]
        for path in files:
            path.parent.mkdir()
            shutil.copy(folder / "anna.edf", path)
        stage_files(find_tasks(files[:1], out), bundle, out=out, page=False)
        before = (out / "night" / "night.json").read_bytes()
        result = stage_files(find_tasks([files[1], folder / "bert.edf"], out), bundle, out=out, page=False)
        assert [one["recording"] for one in result.done] == ["bert"]
        assert result.failed[0]["reason"].startswith(f"{out / 'night'} holds the results of {files[0]}: pass another")
        assert (out / "night" / "night.json").read_bytes() == before

        def stat(path, *rest, real=os.stat, **more):
            if os.fspath(path) == str(files[0]):
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *rest, **more)

        with monkeypatch.context() as locked:
            locked.setattr(os, "stat", stat)  # another's, in a folder that is not for all
            result = stage_files(find_tasks(files[1:], out), bundle, out=out, page=False)
        assert "holds the results of" in result.failed[0]["reason"]
        files[0].unlink()  # moved away, perhaps to where the other is
        result = stage_files(find_tasks(files[1:], out), bundle, out=out, page=False)
        assert json.loads((out / "night" / "night.json").read_text())["made_from"]["file"] == str(files[1])

    def test_a_folder_that_cannot_be_made_is_no_fault_of_the_recordings(self, folder, bundle, tmp_path):
        out = tmp_path / "out"
        out.write_text("a file")
        with pytest.raises(FileExistsError):
            stage_files(find_tasks([folder], out), bundle, out=out)

    def test_a_model_trained_anew_is_noticed(self, folder, model, tmp_path):
        out, saved = tmp_path / "out", model.save(tmp_path / "model")
        tasks = find_tasks([folder / "anna.edf"], out)
        before = stage_files(tasks, saved, out=out, page=False).done[0]["mean_confidence"]
        other = model.__class__(**model.get_params(deep=False)).set_params(
            random_state=5, sfreq=50.0, ch_names=["C3", "C4"]
        )
        other.fit(np.random.default_rng(0).standard_normal((20, 2, 1500)).astype("float32"), np.arange(20) % 5)
        other.save(saved, preprocessing=model.preprocessing_)
        after = stage_files(tasks, saved, out=out, page=False)
        assert after.n_kept == 0 and after.done[0]["mean_confidence"] != before

    def test_one_five_among_the_references_settles_what_four_is(self, folder, bundle, tmp_path):
        (tmp_path / "h").mkdir()
        for name, stages in (("anna", "0012224" * 2), ("bert", "0012225" * 2)):
            (tmp_path / "h" / f"{name}.txt").write_text("\n".join(stages[:12]))
        tasks = find_tasks([folder / "anna.edf", folder / "bert.edf"], tmp_path / "out", reference=tmp_path / "h")
        result = stage_files(tasks, bundle, out=tmp_path / "out", page=False)
        scored = [pd.read_csv(where / "agreement.csv", index_col=0).sum(axis=1) for where in result.folders]
        assert (scored[0]["N3"], scored[0]["REM"], scored[1]["N3"], scored[1]["REM"]) == (1, 0, 0, 1)
        assert [any("its 4 was read as stage 4" in note for note in one["notes"]) for one in result.done] == [
            True,
            False,
        ]
        alone = find_tasks([folder / "anna.edf"], tmp_path / "out", reference=tmp_path / "h")
        assert stage_files(alone, bundle, out=tmp_path / "out", page=False).n_kept == 0
        (tmp_path / "h" / "anna.txt").write_text("spam\n" * 12)
        (failed,) = stage_files(alone, bundle, out=tmp_path / "out", page=False).failed
        assert failed["reason"] == "reference anna.txt: row 1 is no sleep stage: 'spam'"

    def test_a_file_of_another_kind(self, bundle, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        result = stage_files(find_tasks([tmp_path / "notes.txt"], tmp_path), bundle, out=tmp_path, page=False)
        assert result.failed[0]["reason"].startswith("MNE cannot read it (")

    def test_ctrl_c_leaves_what_is_finished(self, folder, bundle, tmp_path, monkeypatch):
        def stopped(task, *rest):
            if task.path.name == "bert.edf":
                raise KeyboardInterrupt
            return _stage_one(task, *rest)

        monkeypatch.setattr("eegaug.staging.many._stage_one", stopped)
        out = tmp_path / "out"
        tasks = find_tasks([folder / "anna.edf", folder / "bert.edf"], out)
        result = stage_files(tasks, bundle, out=out, page=False)
        assert result.interrupted and result.n_left == 1 and len(pd.read_csv(out / "summary.csv")) == 1
        monkeypatch.undo()
        assert stage_files(tasks, bundle, out=out, page=False).n_kept == 1


class TestCommand:
    def test_files_pages_and_words(self, folder, bundle, tmp_path, capsys):
        out = tmp_path / "out"
        assert call("stage", folder / "anna.edf", "--model", bundle, "--out", out, "--reference", folder) == 0
        assert (out / "anna" / "report.html").stat().st_size > 10_000
        assert (out / "anna" / "report.png").read_bytes().startswith(b"\x89PNG")
        words = capsys.readouterr().out
        assert "C3 ← EEG C3-A2 (same electrode, with its reference)" in words and "scorer: kappa" in words

    def test_recordings_of_one_name_are_told_by_their_folders(self, recording, bundle, tmp_path, capsys):
        for name in ("p1", "p2"):
            (tmp_path / "all" / name).mkdir(parents=True)
            shutil.copy(recording, tmp_path / "all" / name / "night.edf")
        assert call("stage", tmp_path / "all", "--model", bundle, "--out", tmp_path / "out", "--no-pages") == 0
        told = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if "asleep" in line]
        assert told == ["p1_night", "p2_night"]

    def test_bad_files_are_counted_at_the_end(self, folder, bundle, tmp_path, capsys):
        code = call("stage", folder, "--model", bundle, "--out", tmp_path / "out", "--no-pages", "--quiet", "--json")
        captured = capsys.readouterr()
        found = json.loads(captured.out)
        assert code == 1 and len(found["nights"]) == 2 and len(found["failed"]) == 2
        assert "cut.edf: truncated EDF" in captured.err

    @pytest.mark.parametrize("channels", ["EEG C4-A1,EOG left", "C3=EEG C4-A1,C4=EOG left"])
    def test_channels(self, folder, bundle, tmp_path, capsys, channels):
        options = ["--out", tmp_path / "out", "--no-pages", "--json", "--quiet", "--channels", channels]
        assert call("stage", folder / "anna.edf", "--model", bundle, *options) == 0
        (night,) = json.loads(capsys.readouterr().out)["nights"]
        assert [one["recording"] for one in night["channels"]] == ["EEG C4-A1", "EOG left"]

    def test_lights(self, folder, bundle, tmp_path, capsys):
        arguments = ["stage", folder / "anna.edf", "--model", bundle, "--out", tmp_path / "out", "--no-pages"]
        arguments += ["--json", "--quiet", "--lights"]
        assert call(*arguments, "60,300") == 0
        (night,) = json.loads(capsys.readouterr().out)["nights"]
        assert night["statistics"]["TIB"] == 4.0
        assert call(*arguments, ",90") == 0  # other settings: staged anew
        (night,) = json.loads(capsys.readouterr().out)["nights"]
        assert night["statistics"]["TIB"] == 1.5

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--model", "nix"], "no model in nix"),
            (["--channels", "C3=A,B"], "mixes names and MODEL=RECORDING"),
            (["--lights", "23:00"], "'23:00' is not OFF,ON such as 23:05,06:40"),
            (["--lights", "25:00,"], "'25:00' is no time of day"),
            (["--lights", "now,"], "'now' is neither a time of day such as 23:05 nor a number of seconds"),
        ],
    )
    def test_wrong_calls(self, folder, bundle, tmp_path, capsys, options, message):
        options = ["--out", tmp_path / "out", *([] if "--model" in options else ["--model", bundle]), *options]
        assert call("stage", folder / "anna.edf", *options) == 2
        assert message in capsys.readouterr().err
