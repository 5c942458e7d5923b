"""What computes a result: versions, revision, machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from pathlib import Path

from eegaug._compat import installed_version
from eegaug._version import __version__

__all__ = ["code_versions", "device_name", "n_threads"]


@cache
def code_versions() -> dict[str, str]:
    """Versions of what computes the result, of Python and of the machine, and the git revision where there is one."""
    used = {name: installed_version(name) or "unknown" for name in ("torch", "braindecode", "skorch", "numpy")}
    found = {"eegaug": __version__, **used}
    return {**found, "python": platform.python_version(), "platform": platform.platform(), "revision": _revision()}


def _revision() -> str:
    """Short git revision of the package's own checkout, with "+" where files differ; empty outside of one."""
    package = Path(__file__).resolve().parent.parent
    if not (package.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(package.parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def device_name(device: str) -> str:
    """What computes: the name of an accelerator, or "cpu"."""
    import torch

    return torch.cuda.get_device_name(device) if str(device).startswith("cuda") else str(device)


def n_threads() -> int:
    """Threads that PyTorch uses."""
    import torch

    return torch.get_num_threads()
