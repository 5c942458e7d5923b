"""Learn which transformations of EEG do not matter."""

from eegaug._version import __version__

__all__ = ["__version__"]
