"""The study file, the grid that it spans, and where its files are. Light, since the Snakefile imports it."""

from leakgap.study.file import Attack, Data, Grid, Query, Study, Train
from leakgap.study.grid import NONE, attacker
from leakgap.study.paths import Paths

__all__ = ["NONE", "Attack", "Data", "Grid", "Paths", "Query", "Study", "Train", "attacker"]
