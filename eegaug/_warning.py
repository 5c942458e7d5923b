"""Warnings that point at the caller's own line."""

from __future__ import annotations

import sys
import warnings

# What a call of this package may go through: `fit` through skorch, and that through a search of scikit-learn.
_THROUGH = frozenset({"eegaug", "braindecode", "contextlib", "joblib", "sklearn", "skorch", "torch"})


def warn(message: str) -> None:
    """Warn at the innermost line that is neither of this package nor of one that it is called through."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _THROUGH:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
