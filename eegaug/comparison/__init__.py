"""Compare methods on subject-wise folds: plan, run, resume, table."""

from eegaug.comparison.compare import compare
from eegaug.comparison.methods import Method, get_method, list_methods, register_method
from eegaug.comparison.plan import Plan, RunSpec, SettingsMismatchError, make_plan
from eegaug.comparison.scores import recording_table, stage_confusion, stage_scores
from eegaug.comparison.table import Comparison, load_comparison

__all__ = [
    "Comparison",
    "Method",
    "Plan",
    "RunSpec",
    "SettingsMismatchError",
    "compare",
    "get_method",
    "list_methods",
    "load_comparison",
    "make_plan",
    "recording_table",
    "register_method",
    "stage_confusion",
    "stage_scores",
]
