"""Empirical privacy audits of trained models: membership inference against the generalization gap."""

from pkgutil import resolve_name
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "Answers",
    "Audit",
    "LeakgapError",
    "Technique",
    "audit_model",
    "balanced_masks",
    "epsilon_lower_bound",
    "leave_one_out",
    "phi",
    "resnet18",
    "tpr_at_fpr",
]

_PLACES = {  # imported when asked for: some of them take seconds
    "Answers": "leakgap.audit.answers:Answers",
    "Audit": "leakgap.audit.model:Audit",
    "Technique": "leakgap.augment:Technique",
    "audit_model": "leakgap.audit.model:audit_model",
    "balanced_masks": "leakgap.data.masks:balanced_masks",
    "epsilon_lower_bound": "leakgap.measure.epsilon:epsilon_lower_bound",
    "leave_one_out": "leakgap.attacks.lira:leave_one_out",
    "phi": "leakgap.logits:phi",
    "resnet18": "leakgap.training.resnet:resnet18",
    "tpr_at_fpr": "leakgap.measure.roc:tpr_at_fpr",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'leakgap' has no attribute {name!r}")
    return resolve_name(_PLACES[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class LeakgapError(Exception):
    """Bad input, told in one sentence that names the key or the file; the command line prints it and exits 1."""
