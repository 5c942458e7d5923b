"""Stage recordings with a model: hypnogram, probabilities, statistics, files and a page for each night."""

from eegaug.staging.agreement import Agreement, agreement
from eegaug.staging.export import FILES, save_night
from eegaug.staging.many import StagedFiles, find_tasks, stage_files
from eegaug.staging.night import StagedNight, stage
from eegaug.staging.predict import copy_disagreement
from eegaug.staging.statistics import STATISTICS, sleep_statistics, stage_transitions

__all__ = [
    "FILES",
    "STATISTICS",
    "Agreement",
    "StagedFiles",
    "StagedNight",
    "agreement",
    "copy_disagreement",
    "find_tasks",
    "save_night",
    "sleep_statistics",
    "stage",
    "stage_files",
    "stage_transitions",
]
