"""The rows of a study that bear on its claims: one attack, one design; and the ratios of its pooled TPRs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from scipy import stats

from leakgap import LeakgapError
from leakgap.claims import between as predict
from leakgap.claims.between import Estimate

KEY = ("technique", "step", "attacker", "attack")
TARGET_COLUMNS = (
    *(*KEY, "mask", "n_members", "n_nonmembers"),
    *("train_acc", "test_acc", "train_loss", "test_loss", "acc_gap", "loss_gap"),
)
TABLES = {  # columns needed, and those that tell rows of one KEY apart
    "summary": ((*KEY, "mask", "study"), ("mask",)),
    "halves": (TARGET_COLUMNS, ("mask",)),
    "pooled": ((*KEY, "design", "fpr", "tpr", "low", "n_targets", "n_members"), ("fpr",)),
    "replicates": ((*KEY, "design", "fpr", "replicate", "tpr"), ("fpr", "replicate")),
}
MASK_PREFIX = {"leave-one-out": "m", "replicates": "r"}


class Undecidable(Exception):
    """The study lacks what a claim needs; the message says what."""


@dataclass(frozen=True)
class Rows:
    """Which rows a claim rests on: `count` rows of <table>.parquet, by DataFrame.query(query, engine="python")."""

    table: str
    query: str
    count: int


@dataclass(frozen=True)
class Record:
    """One attack's rows of the four tables, at one design."""

    summary: pd.DataFrame
    halves: pd.DataFrame
    pooled: pd.DataFrame
    replicates: pd.DataFrame
    attack: str
    fpr: float | None
    design: str
    level: float
    seed: int

    @classmethod
    def of(
        cls,
        tables: dict[str, pd.DataFrame],
        *,
        attack: str,
        fpr: float | None,
        design: str,
        level: float,
        seed: int,
    ) -> Self:
        """Pick the rows; raises LeakgapError where a table can't be what it should be."""
        if design not in MASK_PREFIX:
            raise LeakgapError(f"design: {design!r} is neither of {', '.join(MASK_PREFIX)}")
        chosen = {}
        for name, (columns, key) in TABLES.items():
            missing = [column for column in columns if column not in tables[name]]
            if missing:
                raise LeakgapError(f"{name}: column {missing[0]} is missing")
            rows = tables[name][tables[name].attack == attack]
            own = (
                rows["mask"].str.startswith(MASK_PREFIX[design]) if "mask" in rows else rows.design == design
            )
            chosen[name] = rows[own]
            twice = chosen[name].duplicated([*KEY, *key])
            if twice.any():
                raise LeakgapError(
                    f"{name}: two rows for {', '.join(chosen[name].loc[twice, [*KEY, *key]].iloc[0].astype(str))}"
                )
        if chosen["summary"].empty:
            raise LeakgapError(f"summary: no rows of attack {attack!r} in the design {design}")
        bad = [column for column in TARGET_COLUMNS[-6:] if not np.isfinite(chosen["halves"][column]).all()]
        if bad:
            raise LeakgapError(f"halves: column {bad[0]} has undefined values")
        return cls(**chosen, attack=attack, fpr=fpr, design=design, level=level, seed=seed)

    # --- pooled TPRs

    @cached_property
    def pooled_fpr(self) -> float:
        """The FPR asked for, or the smallest at which every pooled TPR is defined."""
        asked = [fpr for fpr in self.pooled.fpr.unique() if self.fpr is None or np.isclose(fpr, self.fpr)]
        defined = [fpr for fpr in asked if self.pooled.tpr[self.pooled.fpr == fpr].notna().all()]
        if not defined:
            raise Undecidable("no pooled TPR is defined at the FPR asked for")
        return float(min(defined))

    @cached_property
    def at_fpr(self) -> pd.DataFrame:
        """Pooled rows at `pooled_fpr`, indexed by (technique, step, attacker)."""
        rows = self.pooled[np.isclose(self.pooled.fpr, self.pooled_fpr)]
        return rows.set_index(["technique", "step", "attacker"]).sort_index()

    @cached_property
    def log_tpr(self) -> dict[tuple, np.ndarray]:
        """(technique, step, attacker) -> log TPR, then that of each bootstrap replicate, by replicate."""
        rows = self.replicates[np.isclose(self.replicates.fpr, self.pooled_fpr)].sort_values("replicate")
        again = {key: part.to_numpy() for key, part in rows.groupby(list(self.at_fpr.index.names)).tpr}
        half_a_count = 0.5 / self.at_fpr.n_members.min()
        values = {key: np.append(tpr, again[key]) for key, tpr in self.at_fpr.tpr.items() if key in again}
        return {key: np.log(np.maximum(tprs, half_a_count)) for key, tprs in values.items()}

    @property
    def study(self) -> str:
        return str(self.summary.study.iloc[0])

    @property
    def last(self) -> int:
        return int(self.pooled.step.max())

    def ratio(self, name: str, above: list[tuple], below: list[tuple], comparisons: int = 1) -> Estimate:
        """Ratio of the geometric means of two sets of pooled TPRs, keys (technique, step, attacker)."""
        missing = [key for key in above + below if key not in self.log_tpr]
        if missing:
            lacking = "{}, step {}, {} attacker".format(*missing[0])
            raise Undecidable(f"no pooled TPR with replicates for {lacking}")
        models = self.at_fpr.n_targets.min()
        if models < 2:
            raise Undecidable("one target model has no interval")
        one, other = (np.mean([self.log_tpr[key] for key in keys], axis=0) for keys in (above, below))
        quantile = stats.t.isf((1 - self.level) / 2 / comparisons, models - 1)
        spread = np.nanstd((one - other)[1:], ddof=1) * np.sqrt(models / (models - 1))
        return predict.estimate(name, (one - other)[0], quantile * spread, np.exp)

    def chance(self, keys: list[tuple]) -> tuple[str, ...]:
        """A note on the TPRs that can't be told from the FPR."""
        low = [key for key in keys if self.at_fpr.low[key] <= self.pooled_fpr]
        named = ", ".join(f"{technique} at step {step} ({attacker})" for technique, step, attacker in low)
        return (f"TPRs that can't be told from the FPR: {named}",) if low else ()

    def pooled_query(self, condition: str) -> tuple[Rows, ...]:
        """The pooled rows of a condition on technique, step and attacker, and the same models' summary rows."""
        chosen = f"attack == '{self.attack}' and {condition}"
        pooled = f"design == '{self.design}' and fpr == {self.pooled_fpr} and {chosen}"
        return (
            self._rows("pooled", self.pooled, pooled),
            self._rows("summary", self.summary, self._targets(chosen)),
        )

    # --- single targets

    @cached_property
    def target_fpr(self) -> float:
        """The FPR asked for, or the smallest at which every single target's TPR is defined, in halves."""
        found = sorted(
            float(name.removeprefix("tpr_at_"))
            for name in map(str, self.halves)
            if name.startswith("tpr_at_")
        )
        asked = [fpr for fpr in found if self.fpr is None or fpr >= self.fpr * (1 - 1e-9)]
        defined = [fpr for fpr in asked if self.informed[f"tpr_at_{fpr:g}"].notna().all()]
        if not defined:
            raise Undecidable("the TPR of single targets is undefined: too few non-members")
        return defined[0]

    @cached_property
    def informed(self) -> pd.DataFrame:
        return self.halves[self.halves.attacker == "informed"]

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Technique x step, see `predict.cells`; raises Undecidable where nothing can be compared."""
        techniques = self.informed.technique.nunique()
        if techniques < 3:
            raise Undecidable(f"{techniques} techniques are too few to compare, 3 the least")
        table = predict.cells(self.informed, self.target_fpr, self.level)
        seen = table.technique[~table.censored].nunique()
        if seen < 3:
            raise Undecidable(
                f"only {seen} of {techniques} techniques have a TPR that can be told from the FPR"
            )
        return table

    @property
    def target_rows(self) -> tuple[Rows, ...]:
        query = self._targets(f"attack == '{self.attack}' and attacker == 'informed'")
        return (self._rows("halves", self.halves, query), self._rows("summary", self.summary, query))

    @property
    def target_notes(self) -> tuple[str, ...]:
        """FPR of the single targets and the censored cells."""
        return (
            f"single targets at {self.target_fpr:g} FPR, the smallest that is defined for all of them; "
            "accuracies and losses from one half of the images, TPRs from the other",
            f"{self.cells.censored.sum()} of {len(self.cells)} cells can't be told from chance: censored there",
            "techniques are the clusters: the interval speaks of techniques made of the same members",
        )

    def _targets(self, condition: str) -> str:
        return f"mask.str.startswith('{MASK_PREFIX[self.design]}') and {condition}"

    @staticmethod
    def _rows(name: str, table: pd.DataFrame, query: str) -> Rows:
        return Rows(name, query, len(table.query(query, engine="python")))
