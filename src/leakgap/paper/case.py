"""A case: one study's results under one attack, design, FPR and level, and what the questions read of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.estimates import at_fpr, tpr_column
from leakgap.measure.estimate import Estimate as Measured
from leakgap.order import between
from leakgap.results import MASK_PREFIX, Cell, Results

LOSS = "loss"  # the attack whose TNR is a rival of the accuracy gap


class Undecidable(Exception):
    """The study lacks what a claim needs; the message says what."""


@dataclass(frozen=True)
class Rows:
    """Which rows a claim rests on: `count` rows of <table>.parquet, by DataFrame.query(query, engine="python")."""

    table: str
    query: str
    count: int


def smallest_fpr(results: Results, attack: str, design: str) -> float:
    """Return the smallest FPR at which every pooled TPR is defined; the smallest of all where none is.

    LeakgapError for an unknown design or an attack without rows.
    """
    if design not in MASK_PREFIX:
        raise LeakgapError(f"design: {design!r} is neither of {', '.join(MASK_PREFIX)}")
    rows = results.pooled[(results.pooled["attack"] == attack) & (results.pooled["design"] == design)]
    if rows.empty:
        raise LeakgapError(f"pooled: no rows of attack {attack!r} in the design {design}")
    undefined = set(rows.loc[rows["tpr"].isna(), "fpr"])
    return float(min(set(rows["fpr"]) - undefined or undefined))


def strongest(
    results: Results, design: str, fpr: float, technique: str | None = None, attacker: str = "informed"
) -> str:
    """Return the attack with the highest pooled TPR on models of a technique, by default the baseline, last step.

    It is chosen on the very results that it is then judged on, so its TPR on the baseline, and with it the ratios
    of claims 1 and 2, is optimistic: the luckiest attack looks strongest.
    """
    rows = at_fpr(results.pooled, fpr)
    last = rows[(rows["step"] == results.last) & (rows["design"] == design) & rows["tpr"].notna()]
    rows = last[last["technique"] == (technique or results.study.attack.baseline)]
    rows = rows[rows["attacker"] == attacker]
    if rows.empty:
        return results.study.attack.headline
    return str(rows["attack"].to_numpy()[rows["tpr"].argmax()])


@dataclass(frozen=True)
class Case:
    """What is on trial; see `smallest_fpr` for the FPR of pooled TPRs."""

    results: Results
    attack: str
    design: str
    fpr: float
    level: float = 0.95

    # --- pooled TPRs

    @cached_property
    def pooled(self) -> pd.DataFrame:
        """The rows of `pooled` of this attack, design and FPR."""
        rows = self._without_variants(at_fpr(self.results.pooled, self.fpr))
        return rows[(rows["attack"] == self.attack) & (rows["design"] == self.design)]

    def cell(self, technique: str, step: int | None = None, attacker: str = "informed") -> Cell:
        """Name a pooled TPR of this attack and design, by default at the last step."""
        return self.results.cell(technique, step, attacker, self.attack, self.design)

    def contrast(
        self,
        first: Sequence[Cell],
        second: Sequence[Cell],
        comparisons: int = 1,
        fpr: float | None = None,
    ) -> Measured:
        """Return the ratio of two geometric means; raises Undecidable where a TPR or its draws are missing."""
        fpr = fpr or self.fpr
        try:
            return self.results.contrast(first, second, fpr, comparisons=comparisons, level=self.level)
        except (KeyError, IndexError):
            cell = next(cell for cell in (*first, *second) if not self._known(cell, fpr))
            place = f"{cell.technique}, step {cell.step}, {cell.attacker} attacker, {fpr:g} FPR"
            raise Undecidable(f"no pooled TPR with bootstrap draws for {place}") from None

    def _known(self, cell: Cell, fpr: float) -> bool:
        try:
            self.results.replicated(cell, fpr)
        except (KeyError, IndexError):
            return False
        return True

    def at_chance(self, cell: Cell, fpr: float | None = None) -> bool:
        """Whether the interval of a pooled TPR reaches down to the FPR."""
        fpr = fpr or self.fpr
        return bool(self.results.row(cell, fpr)["low"] <= fpr)

    def chance(self, cells: Sequence[Cell], fpr: float | None = None) -> tuple[str, ...]:
        """A note on the TPRs that can't be told from the FPR."""
        low = [cell for cell in cells if self.at_chance(cell, fpr)]
        named = ", ".join(f"{cell.technique} at step {cell.step} ({cell.attacker})" for cell in low)
        return (f"TPRs that can't be told from the FPR: {named}",) if low else ()

    def pooled_rows(self, condition: str, fpr: float | None = None) -> tuple[Rows, ...]:
        """The pooled rows of a condition on technique, step and attacker, and the same models' summary rows."""
        chosen = f"attack == '{self.attack}' and {condition}"
        pooled = f"design == '{self.design}' and fpr == {fpr or self.fpr} and {chosen}"
        return (
            self._rows("pooled", self.results.pooled, pooled),
            self._rows("summary", self.results.summary, f"{self._of_design} and {chosen}"),
        )

    # --- single targets

    @cached_property
    def targets(self) -> pd.DataFrame:
        """One row per target and step: generalization from one half of the images, TPR from the other."""
        rows = self._without_variants(self.results.targets(self.design, self.attack, halves=True))
        bad = [name for name in between.MEANS if not np.isfinite(rows[name]).all()]
        if bad:
            raise LeakgapError(f"halves: column {bad[0]} has undefined values")
        return rows

    @cached_property
    def target_fpr(self) -> float:
        """The smallest FPR from that of the pooled TPRs on at which the TPR of every single target is defined."""
        fprs = sorted(fpr for fpr in self.results.pooled["fpr"].unique() if fpr >= self.fpr * (1 - 1e-9))
        defined = [fpr for fpr in fprs if self.targets[tpr_column(fpr)].notna().all()]
        if not defined:
            raise Undecidable("the TPR of single targets is undefined: too few non-members")
        return defined[0]

    @cached_property
    def all_cells(self) -> pd.DataFrame:
        """Technique x step, see `between.cells`; raises Undecidable where the study has too few techniques."""
        techniques = self.targets["technique"].nunique()
        if techniques < 3:
            raise Undecidable(f"{techniques} techniques are too few to compare, 3 the least")
        table = between.cells(self.targets, self.target_fpr, self.level)
        return table if self._loss_tnr is None else table.merge(self._loss_tnr, on=["technique", "step"])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The cells whose TPR can be told from chance; raises Undecidable where these are of too few techniques."""
        told = self.all_cells[~self.all_cells["censored"]].reset_index(drop=True)
        seen, techniques = told["technique"].nunique(), self.all_cells["technique"].nunique()
        if seen < 3:
            raise Undecidable(
                f"only {seen} of {techniques} techniques have a TPR that can be told from the FPR"
            )
        return told

    @cached_property
    def _loss_tnr(self) -> pd.DataFrame | None:
        """TNR of the loss attack where its FNR is `target_fpr`, by technique and step; None where not kept.

        Read off its pooled curves, linear between points, hence from all images, not from one half.
        """
        curves = self.results.shown(self.results.curves)
        curves = curves[(curves["attack"] == LOSS) & (curves["design"] == self.design)]
        rows = [
            (technique, step, 1 - np.interp(1 - self.target_fpr, curve["tpr"], curve["fpr"]))
            for (technique, step), curve in curves.sort_values("fpr").groupby(["technique", "step"])
        ]
        found = pd.DataFrame(rows, columns=["technique", "step", "loss_tnr"])
        cells = self.targets[["technique", "step"]].drop_duplicates()
        return found if len(cells.merge(found)) == len(cells) else None

    @property
    def target_rows(self) -> tuple[Rows, ...]:
        study = self.results.study
        attacker = f"(attacker == '{study.attacker}' or technique == '{study.attack.baseline}')"
        query = f"{self._of_design} and attack == '{self.attack}' and {attacker}"
        if study.grid.variants:
            query += f" and technique not in {list(study.grid.variants)}"
        return (
            self._rows("halves", self.results.halves, query),
            self._rows("summary", self.results.summary, query),
        )

    @property
    def target_notes(self) -> tuple[str, ...]:
        """FPR of the single targets, how many a mean rests on, and the cells at chance."""
        fewest, most = self.all_cells["targets"].min(), self.all_cells["targets"].max()
        counts = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return (
            f"single targets at {self.target_fpr:g} FPR, the smallest that is defined for all of them, and means "
            f"of {counts}; accuracies and losses from one half of the images, TPRs from the other",
            f"judged on the {len(self.cells)} of {len(self.all_cells)} cells that can be told from chance; beside "
            "it all cells, TPRs at chance set to the largest that chance explains",
            "techniques are the clusters: the interval speaks of techniques made of the same members",
        )

    def _without_variants(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of augmentation techniques, which the claims are about."""
        return rows[~rows["technique"].isin(list(self.results.study.grid.variants))]

    @property
    def _of_design(self) -> str:
        return f"mask.str.startswith('{MASK_PREFIX[self.design]}')"

    @staticmethod
    def _rows(name: str, table: pd.DataFrame, query: str) -> Rows:
        return Rows(name, query, len(table.query(query, engine="python")))
