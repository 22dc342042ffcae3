"""The study file, the grid that it spans, and where its files are. Light, since the Snakefile imports it."""

from leakgap.study.file import Attack, Data, Grid, Query, Study
from leakgap.study.grid import NONE, attacker
from leakgap.study.paths import Paths
from leakgap.study.train import Train
from leakgap.study.variant import Variant

__all__ = ["NONE", "Attack", "Data", "Grid", "Paths", "Query", "Study", "Train", "Variant", "attacker"]
