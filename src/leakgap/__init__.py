"""Empirical privacy audits of trained models: membership inference against the generalization gap."""

from importlib.metadata import version

__version__ = version("leakgap")


class LeakgapError(Exception):
    """Bad input, told in one sentence that names the key or the file; the command line prints it and exits 1."""
