"""Import braindecode once, and say in one sentence what is wrong where that fails."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import warnings

_failure: str | None = None

FIX = 'pip install "torch<2.15" "torchaudio" --index-url https://pypi.org/simple'


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution without importing it, or None."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def running_as_command() -> bool:
    """Whether this process is the ``eegaug`` command.

    The command imports what a subcommand needs when it needs it, so that ``eegaug --help`` is instant and ``eegaug
    doctor`` still runs where braindecode cannot be imported.
    """
    name = os.path.splitext(os.path.basename(sys.argv[0]))[0] if sys.argv else ""
    return name == "eegaug" or sys.orig_argv[1:3] in (["-m", "eegaug"], ["-m", "eegaug.cli"])


def require_braindecode() -> None:
    """Import braindecode.

    Raises
    ------
    ImportError
        One sentence with the versions found and the command that mends them, when braindecode is there and torch and
        torchaudio do not fit each other (another CUDA, or a CPU-only torch under a CUDA torchaudio).
    """
    global _failure
    if _failure is not None:  # a second attempt would find half of the package and pass
        raise ImportError(_failure)
    try:
        with warnings.catch_warnings():
            # braindecode 1.8 asks MNE for a montage by its old name while it is imported.
            warnings.filterwarnings("ignore", message="Montage name", category=FutureWarning)
            import braindecode  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(f"eegaug needs {error.name!r}, which is not installed; run: pip install eegaug") from error
    except (RuntimeError, OSError, ImportError) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not _looks_like_torch_mismatch(message):
            raise
        versions = f"torch {installed_version('torch')} and torchaudio {installed_version('torchaudio')}"
        _failure = (
            f"{versions} do not fit each other "
            f"({message.strip().rstrip('.')}), so braindecode cannot be imported; run: {FIX}"
        )
        raise ImportError(_failure) from None


def _looks_like_torch_mismatch(message: str) -> bool:
    text = message.lower()
    return any(word in text for word in ("torchaudio", "libc10", "libtorch", "libcud", "different cuda versions"))
