"""Empirical privacy audits of trained models: membership inference against the generalization gap."""

from pkgutil import resolve_name

__version__ = "0.1.0"
__all__ = ["Answers", "Audit", "audit_model"]

_PUBLIC = {
    "Answers": "leakgap.audit.answers:Answers",
    "Audit": "leakgap.audit.model:Audit",
    "audit_model": "leakgap.audit.model:audit_model",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is asked for."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'leakgap' has no attribute {name!r}")
    return resolve_name(_PUBLIC[name])


class LeakgapError(Exception):
    """Bad input, told in one sentence that names the key or the file; the command line prints it and exits 1."""
