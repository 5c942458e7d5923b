"""The experiments of the papers, each as a plan of small runs that can be stopped and resumed, a table and a figure."""

from eegaug.experiments.base import Experiment, Settings
from eegaug.experiments.registry import get_experiment, list_experiments
from eegaug.experiments.reproduce import Reproduction, reproduce

__all__ = ["Experiment", "Reproduction", "Settings", "get_experiment", "list_experiments", "reproduce"]
