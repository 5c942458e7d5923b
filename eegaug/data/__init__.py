"""Sleep recordings, simulated nights, the on-disk store they are read from, and splits by subject."""

from eegaug.data.nights import NightDataset, Nights
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.splits import Split, load_splits, save_splits, subject_folds
from eegaug.data.stages import STAGES, UNSCORED, parse_stage
from eegaug.data.store import NightWriter, open_store

__all__ = [
    "STAGES",
    "UNSCORED",
    "NightDataset",
    "NightWriter",
    "Nights",
    "Preprocessing",
    "Split",
    "load_splits",
    "open_store",
    "parse_stage",
    "save_splits",
    "subject_folds",
]
