"""Sleep recordings, simulated nights, the on-disk store they are read from, and splits by subject."""

from eegaug.data.mass import load_mass
from eegaug.data.nights import NightDataset, Nights
from eegaug.data.planted import Planted
from eegaug.data.preprocessing import Preprocessing
from eegaug.data.recordings import cache_folder, load_recordings
from eegaug.data.scorings.hypnogram import Hypnogram
from eegaug.data.scorings.reading import read_hypnogram
from eegaug.data.simulated import simulate_nights
from eegaug.data.sinusoids import make_sinusoids
from eegaug.data.sleep_edf import load_sleep_edf
from eegaug.data.sources import SOURCES, load_nights
from eegaug.data.splits import Split, load_splits, save_splits, subject_folds
from eegaug.data.stages import STAGES, UNSCORED, parse_stage
from eegaug.data.store import NightWriter, open_store
from eegaug.data.survey import list_recordings

__all__ = [
    "SOURCES",
    "STAGES",
    "UNSCORED",
    "Hypnogram",
    "NightDataset",
    "NightWriter",
    "Nights",
    "Planted",
    "Preprocessing",
    "Split",
    "cache_folder",
    "list_recordings",
    "load_mass",
    "load_nights",
    "load_recordings",
    "load_sleep_edf",
    "load_splits",
    "make_sinusoids",
    "open_store",
    "parse_stage",
    "read_hypnogram",
    "save_splits",
    "simulate_nights",
    "subject_folds",
]
