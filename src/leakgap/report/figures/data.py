"""What the figures are drawn from: the joined tables, no more of them than is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.data.pool import Pool, read_pool
from leakgap.results import known
from leakgap.study import NONE, Study

LEAVE_ONE_OUT, REPLICATES = "leave-one-out", "replicates"


class LeftOut(Exception):
    """The study can't have this figure; the message says why, for the report."""


@dataclass(frozen=True)
class Setting:
    """The study and which of its targets are shown: all masks in turn, or the replicates of mask 0."""

    study: Study
    design: str = LEAVE_ONE_OUT

    @property
    def techniques(self) -> tuple[str, ...]:
        """In the order of the grid."""
        return self.study.grid.techniques

    @property
    def most_augmented(self) -> str:
        """The technique with the most members, the last of them."""
        return max(reversed(self.techniques), key=lambda name: 0 if name == NONE else name.count("+") + 1)

    @property
    def steps(self) -> range:
        """1..n."""
        return range(1, len(self.study.train.steps) + 1)

    def step_name(self, step: int) -> str:
        """Name a step with its epoch."""
        return f"step {step} (epoch {self.study.train.steps[step - 1]})"

    @property
    def whose(self) -> str:
        """Name the attack, the attacker and the targets, for titles."""
        targets = "" if self.design == LEAVE_ONE_OUT else ", replicates of mask 0"
        return f"{self.study.attack.headline}, {self.study.attacker} attacker{targets}"


@dataclass(frozen=True)
class Source(Setting):
    """Reads the tables of a setting when first asked for, each filtered as it is read.

    From the joined tables, the exposure of each technique by the attacker that is shown, and the images.
    """

    joined: Sequence[str] = ()
    exposures: Sequence[str] = ()
    pool_file: str = ""

    def _read(self, path: str, filters: Sequence[tuple[str, str, Any]]) -> pd.DataFrame:
        try:
            return pd.read_parquet(path, filters=list(filters) or None)
        except FileNotFoundError:
            raise LeakgapError(f"{path} is missing: run the attacks and the summary first") from None

    def _file(self, table: str) -> str:
        return next(path for path in self.joined if Path(path).name == f"{table}.parquet")

    @cached_property
    def _headline(self) -> tuple[str, str, str]:
        return ("attack", "==", self.study.attack.headline)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Pooled ROC of the headline attack, both attackers, all steps."""
        rows = self._read(self._file("curves"), [self._headline, ("design", "==", self.design)])
        return rows[rows["fpr"] > 0]

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """Pooled TPR with interval of all attacks, attackers and steps."""
        return self._read(self._file("pooled"), [("design", "==", self.design)])

    @cached_property
    def replicates(self) -> pd.DataFrame:
        """Bootstrap replicates of the headline attack at the last step, both attackers."""
        last = ("step", "==", len(self.study.train.steps))
        return self._read(self._file("replicates"), [self._headline, ("design", "==", self.design), last])

    @cached_property
    def targets(self) -> pd.DataFrame:
        """One row per target and step: headline attack, one attacker."""
        rows = known(self.study, self._read(self._file("summary"), [self._headline]))
        return rows[rows["mask"].str.startswith("m" if self.design == LEAVE_ONE_OUT else "r")]

    @cached_property
    def shadows(self) -> pd.DataFrame:
        """Pooled TPR by the number of shadow models, one attacker."""
        return known(self.study, self._read(self._file("shadows"), [self._headline]))

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """How often each image is caught by the headline attack: none and the most augmented technique."""
        tables = [
            self._read(path, [self._headline])
            for technique, path in zip(self.techniques, self.exposures, strict=True)
            if technique in (NONE, self.most_augmented)
        ]
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def pool(self) -> Pool:
        """The images."""
        return read_pool(self.pool_file)


def target_fpr(setting: Setting, targets: pd.DataFrame) -> float:
    """Return the smallest FPR at which every single target's TPR is defined; LeftOut when there is none."""
    for fpr in sorted(setting.study.attack.fpr):
        if targets[f"tpr_at_{fpr:g}"].notna().all():
            return fpr
    raise LeftOut("the targets have too few non-members for the TPR of a single target at any of attack.fpr")


def in_order(setting: Setting, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Split a table by technique, in the order of the grid."""
    parts = dict(list(table.groupby("technique", sort=False)))
    return [(str(name), parts[name]) for name in setting.techniques if name in parts]


def wide_replicates(replicates: pd.DataFrame, fpr: float, columns: str) -> pd.DataFrame:
    """Return the TPR [replicate, value of `columns`] at one FPR: a row used the same weights in every column."""
    rows = replicates[np.isclose(replicates["fpr"], fpr)]
    return rows.pivot(index="replicate", columns=columns, values="tpr")
