"""What is installed, what it can use, and whether the data can be read."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from eegaug import _compat
from eegaug._version import __version__

CORE = ["torch", "torchaudio", "braindecode", "skorch", "mne", "scikit-learn", "numpy", "scipy", "pandas"]
CORE += ["matplotlib", "joblib", "pydantic", "safetensors"]
# Extra: the distribution whose presence tells that it was installed.
EXTRAS = {
    "search": "optuna",
    "distributed": "distributed",
    "report": "yasa",
    "tests": "pytest",
    "docs": "sphinx-gallery",
}


def doctor(data: str | os.PathLike | None = None) -> dict[str, Any]:
    """Collect the facts that :func:`doctor_report` prints.

    Parameters
    ----------
    data : path, optional
        The data folder to look at. By default the one that the environment variable ``EEGAUG_DATA`` names, if any.

    Returns
    -------
    dict
        ``versions`` (name → version or None), ``devices`` (list of str), ``extras`` (name → whether installed),
        ``data`` (``path``, ``readable``, ``detail``) and ``problems`` (list of sentences; empty when all is well).

    Examples
    --------
    >>> facts = doctor()
    >>> facts["versions"]["eegaug"] is not None
    True
    """
    versions = {"eegaug": __version__, "python": platform.python_version()}
    versions |= {name: _compat.installed_version(name) for name in CORE}
    problems = [f"{name} is not installed; run: pip install eegaug" for name in CORE if versions[name] is None]
    try:
        _compat.require_braindecode()
        devices = _devices()
    except ImportError as error:
        devices = []
        problems.append(str(error))
    folder = data if data is not None else os.environ.get("EEGAUG_DATA")
    facts = _folder(folder)
    if folder is not None and not facts["readable"]:
        problems.append(facts["detail"])
    return {
        "versions": versions,
        "devices": devices,
        "extras": {extra: _compat.installed_version(name) is not None for extra, name in EXTRAS.items()},
        "data": facts,
        "problems": problems,
    }


def doctor_report(facts: dict[str, Any]) -> str:
    """Return :func:`doctor`'s facts as lines for people.

    Examples
    --------
    >>> print(doctor_report(doctor()).splitlines()[0])
    Versions
    """
    lines = ["Versions"]
    lines += [f"  {name:<14}{version or 'missing'}" for name, version in facts["versions"].items()]
    lines += ["Devices"] + [f"  {device}" for device in facts["devices"] or ["unknown: torch cannot be used"]]
    lines += ["Extras"]
    for extra, there in facts["extras"].items():
        lines.append(f"  {extra:<14}" + ("installed" if there else f'not installed: pip install "eegaug[{extra}]"'))
    lines += ["Data", f"  {facts['data']['detail']}"]
    lines += ["Problems"] + [f"  {problem}" for problem in facts["problems"] or ["none found"]]
    return "\n".join(lines)


def _devices() -> list[str]:
    import torch

    devices = [f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads used by torch"]
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        devices.append(f"cuda:{index}: {torch.cuda.get_device_name(index)}, {memory:.0f} GiB")
    if torch.backends.mps.is_available():
        devices.append("mps: Apple GPU")
    return devices


def _folder(folder: str | os.PathLike | None) -> dict[str, Any]:
    if folder is None:
        return {"path": None, "readable": False, "detail": "no folder given (--data PATH, or set EEGAUG_DATA)"}
    path = Path(folder).expanduser()
    facts = {"path": str(path), "readable": False}
    if not path.is_dir():
        return facts | {"detail": f"{path} is not a folder; check the path in --data or EEGAUG_DATA"}
    try:
        nights = [file for file in path.rglob("*") if file.suffix.lower() in (".edf", ".bdf", ".npz")]
        unreadable = [file for file in nights if not os.access(file, os.R_OK)]
        os.listdir(path)
    except OSError as error:
        return facts | {"detail": f"{path} cannot be read ({error.strerror}); check its permissions"}
    if unreadable:
        return facts | {"detail": f"{path}: {len(unreadable)} of {len(nights)} EDF, BDF and npz files cannot be read"}
    return facts | {"readable": True, "detail": f"{path} is readable: {len(nights)} EDF, BDF and npz files"}
