"""What a figure is drawn from: the results of a study, and which of its targets are shown."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from leakgap.estimates import LEAVE_ONE_OUT, at_fpr, tpr_column
from leakgap.report.figures.style import Look, looks
from leakgap.results import Results
from leakgap.study import NONE, Study

VARIED = ("train.steps", "train.recipe")  # what makes steps of variants mean different things


class LeftOut(Exception):
    """The study can't have this figure; the message says why, for the report."""


@dataclass(frozen=True)
class Setting:
    """Results, the design whose targets are shown, and the file with the images."""

    results: Results
    design: str = LEAVE_ONE_OUT
    pool: str = ""

    @property
    def study(self) -> Study:
        """The study that the results are of."""
        return self.results.study

    @property
    def techniques(self) -> tuple[str, ...]:
        """In the order of the grid."""
        return self.study.grid.techniques

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Colour, marker and dash of every technique."""
        return looks(self.techniques)

    @property
    def most_augmented(self) -> str:
        """The technique with the most members, the last of them; or the last variant, of variants alone."""
        names = self.study.augmentations
        if set(names) <= {NONE}:
            return self.techniques[-1]
        return max(reversed(names), key=lambda name: 0 if name == NONE else name.count("+") + 1)

    @property
    def steps(self) -> range:
        """1..n."""
        return range(1, len(self.study.train.steps) + 1)

    def step_name(self, step: int) -> str:
        """Name a step with its epoch, or what a recipe means by its number, if all variants have these."""
        own = any(key in VARIED for variant in self.study.grid.variants.values() for key in variant)
        unit = "" if self.study.train.recipe else "epoch "
        return f"step {step}" if own else f"step {step} ({unit}{self.study.train.steps[step - 1]})"

    @property
    def last(self) -> str:
        """Name the last step."""
        return self.step_name(self.results.last)

    @property
    def whose(self) -> str:
        """Name the attack, the attacker and the targets, for titles."""
        targets = "" if self.design == LEAVE_ONE_OUT else ", replicates of mask 0"
        return f"{self.study.attack.headline}, {self.study.attacker} attacker{targets}"

    # --- rows of the joined tables

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """Pooled TPRs with intervals: all attacks and steps, the attacker that is shown."""
        rows = self.results.shown(self.results.pooled)
        return rows[rows["design"] == self.design]

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Pooled ROC of the headline attack: all steps, both attackers; without FPR 0, for logarithmic axes."""
        rows = self.results.curves
        rows = rows[(rows["attack"] == self.study.attack.headline) & (rows["design"] == self.design)]
        return rows[rows["fpr"] > 0]

    @cached_property
    def targets(self) -> pd.DataFrame:
        """One row per target and step: headline attack, the attacker that is shown."""
        return self.results.targets(self.design)

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """How often each image is caught by the headline attack: the baseline and the most augmented technique."""
        return self.results.exposures((self.study.attack.baseline, self.most_augmented))


def smallest_fpr(setting: Setting, rows: pd.DataFrame) -> float:
    """Return the smallest FPR at which all pooled TPRs of `rows` are defined; LeftOut when there is none."""
    for fpr in sorted(setting.study.attack.fpr):
        if at_fpr(rows, fpr)["tpr"].notna().all():
            return fpr
    raise LeftOut("the pooled TPR is undefined: too few non-members")


def target_fpr(setting: Setting) -> float:
    """Return the smallest FPR at which every single target's TPR is defined; LeftOut when there is none."""
    for fpr in sorted(setting.study.attack.fpr):
        if setting.targets[tpr_column(fpr)].notna().all():
            return fpr
    raise LeftOut("the targets have too few non-members for the TPR of a single target at any of attack.fpr")


def in_order(setting: Setting, table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Split a table by technique, in the order of the grid."""
    parts = dict(list(table.groupby("technique", sort=False)))
    return [(str(name), parts[name]) for name in setting.techniques if name in parts]
