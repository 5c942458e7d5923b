"""Compare methods on subject-wise folds: plan, run, resume, table."""

from eegaug import _compat

# Here too: the command line and worker processes come in by this door.
_compat.require_braindecode()

from eegaug.comparison import consistency_methods  # noqa: E402, F401 - registers its methods
from eegaug.comparison.compare import compare, describe_plan  # noqa: E402
from eegaug.comparison.forecast import Forecast, forecast_lines  # noqa: E402
from eegaug.comparison.methods import Method, get_method, list_methods, register_method  # noqa: E402
from eegaug.comparison.plan import Plan, RunSpec, SettingsMismatchError, make_plan  # noqa: E402
from eegaug.comparison.scores import recording_table, stage_confusion, stage_scores, subject_table  # noqa: E402
from eegaug.comparison.statistics import compare_pairs  # noqa: E402
from eegaug.comparison.table import Comparison, load_comparison  # noqa: E402

__all__ = [
    "Comparison",
    "Forecast",
    "Method",
    "Plan",
    "RunSpec",
    "SettingsMismatchError",
    "compare",
    "compare_pairs",
    "describe_plan",
    "forecast_lines",
    "get_method",
    "list_methods",
    "load_comparison",
    "make_plan",
    "recording_table",
    "register_method",
    "stage_confusion",
    "stage_scores",
    "subject_table",
]
