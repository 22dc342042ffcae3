"""Empirical privacy audits of trained models: membership inference against the generalization gap.

The public interface is what `from leakgap import ...` gives, listed in `__all__`. Each name is imported when it is
first asked for: `import leakgap` takes no time, and who only reads scores never imports torch.
"""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"


class LeakgapError(Exception):
    """Bad input, told in one sentence that names the key or the file; the command line prints it and exits 1."""


class ArgumentError(LeakgapError, ValueError):
    """An argument of a function that can't be right, by its name: a ValueError too, as callers expect of Python."""


if TYPE_CHECKING:
    from leakgap.answers.answers import Answers
    from leakgap.answers.confidence import phi
    from leakgap.attacks import Attack, Evidence, run
    from leakgap.attacks.lira import leave_one_out
    from leakgap.audit.compare import Comparison, compare_audits
    from leakgap.audit.model import Audit, audit_model
    from leakgap.augment import Technique
    from leakgap.data.masks import balanced_masks
    from leakgap.measure.bootstrap import Resampling
    from leakgap.measure.bound import Bound, recipe_epsilon
    from leakgap.measure.contrast import contrast
    from leakgap.measure.epsilon import epsilon_lower_bound
    from leakgap.measure.estimate import Estimate, interval
    from leakgap.measure.roc import auc, tpr_at_fpr
    from leakgap.results import Results
    from leakgap.study import Study
    from leakgap.training.resnet import resnet18

_PLACES = {
    "Answers": "leakgap.answers.answers",
    "Attack": "leakgap.attacks",
    "Audit": "leakgap.audit.model",
    "Bound": "leakgap.measure.bound",
    "Comparison": "leakgap.audit.compare",
    "Estimate": "leakgap.measure.estimate",
    "Evidence": "leakgap.attacks",
    "Resampling": "leakgap.measure.bootstrap",
    "Results": "leakgap.results",
    "Study": "leakgap.study",
    "Technique": "leakgap.augment",
    "auc": "leakgap.measure.roc",
    "audit_model": "leakgap.audit.model",
    "balanced_masks": "leakgap.data.masks",
    "compare_audits": "leakgap.audit.compare",
    "contrast": "leakgap.measure.contrast",
    "epsilon_lower_bound": "leakgap.measure.epsilon",
    "interval": "leakgap.measure.estimate",
    "leave_one_out": "leakgap.attacks.lira",
    "phi": "leakgap.answers.confidence",
    "recipe_epsilon": "leakgap.measure.bound",
    "resnet18": "leakgap.training.resnet",
    "run": "leakgap.attacks",
    "tpr_at_fpr": "leakgap.measure.roc",
}

__all__ = [
    "Answers",
    "ArgumentError",
    "Attack",
    "Audit",
    "Bound",
    "Comparison",
    "Estimate",
    "Evidence",
    "LeakgapError",
    "Resampling",
    "Results",
    "Study",
    "Technique",
    "auc",
    "audit_model",
    "balanced_masks",
    "compare_audits",
    "contrast",
    "epsilon_lower_bound",
    "interval",
    "leave_one_out",
    "phi",
    "recipe_epsilon",
    "resnet18",
    "run",
    "tpr_at_fpr",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'leakgap' has no attribute {name!r}")
    return resolve_name(f"{_PLACES[name]}:{name}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
