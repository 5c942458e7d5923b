"""Learn which transformations of EEG do not matter.

>>> import eegaug
>>> "AugNetClassifier" in dir(eegaug)
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from eegaug import _compat
from eegaug._version import __version__

if not _compat.running_as_command():
    _compat.require_braindecode()

# Where each public name lives. Loading on first use keeps `import eegaug` as quick as `import braindecode`.
_HOME = {
    "AITClassifier": "eegaug.consistency",
    "AugAveragedModel": "eegaug.augnet",
    "AugNetClassifier": "eegaug.augnet",
    "AugmentationLayer": "eegaug.augnet",
    "AugmentationModule": "eegaug.augnet",
    "MutualClassifier": "eegaug.consistency",
    "Policy": "eegaug.policy",
    "StagingClassifier": "eegaug.classifier",
    "compare": "eegaug.comparison",
    "load_model": "eegaug.bundle",
    "save_model": "eegaug.bundle",
    "stage": "eegaug.staging",
}

__all__ = [
    "AITClassifier",
    "AugAveragedModel",
    "AugNetClassifier",
    "AugmentationLayer",
    "AugmentationModule",
    "MutualClassifier",
    "Policy",
    "StagingClassifier",
    "__version__",
    "compare",
    "load_model",
    "save_model",
    "stage",
]

if TYPE_CHECKING:
    from eegaug.augnet import AugAveragedModel, AugmentationLayer, AugmentationModule, AugNetClassifier
    from eegaug.bundle import load_model, save_model
    from eegaug.classifier import StagingClassifier
    from eegaug.comparison.compare import compare
    from eegaug.consistency import AITClassifier, MutualClassifier
    from eegaug.policy import Policy
    from eegaug.staging import stage


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'eegaug' has no attribute {name!r}")
    _compat.require_braindecode()
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
