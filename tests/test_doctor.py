"""The doctor tells what is there, what is not, and what to do."""

from __future__ import annotations

import importlib.metadata

import numpy as np

from eegaug.doctor import doctor, doctor_report


def test_versions_are_those_installed():
    facts = doctor()
    for name in ("torch", "braindecode", "skorch", "mne"):
        assert facts["versions"][name] == importlib.metadata.version(name)
    assert facts["problems"] == []
    assert facts["devices"][0].startswith("cpu: ")


def test_missing_core_package_is_a_problem(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "mne":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    facts = doctor()
    assert facts["versions"]["mne"] is None
    assert facts["problems"] == ["mne is not installed; run: pip install eegaug"]


def test_extras_say_how_to_get_them(monkeypatch):
    monkeypatch.setattr("eegaug._compat.installed_version", lambda name: None if name == "optuna" else "1.0")
    assert 'not installed: pip install "eegaug[search]"' in doctor_report(doctor())


def test_data_folder_is_counted(tmp_path, monkeypatch):
    np.savez(tmp_path / "night.npz", X=np.zeros(3))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.EDF").write_bytes(b"0")
    monkeypatch.setenv("EEGAUG_DATA", str(tmp_path))
    assert doctor()["data"] == {
        "path": str(tmp_path),
        "readable": True,
        "detail": f"{tmp_path} is readable: 2 EDF, BDF and npz files",
    }


def test_absent_data_folder_is_named(tmp_path):
    report = doctor_report(doctor(tmp_path / "nowhere"))
    assert f"{tmp_path / 'nowhere'} is not a folder" in report.split("Problems")[1]


def test_no_data_folder_is_no_problem(monkeypatch):
    monkeypatch.delenv("EEGAUG_DATA", raising=False)
    assert doctor()["problems"] == []
