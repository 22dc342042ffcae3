"""Empirical privacy audits of trained models: membership inference against the generalization gap."""

__version__ = "0.1.0"


class LeakgapError(Exception):
    """Bad input, told in one sentence that names the key or the file; the command line prints it and exits 1."""
