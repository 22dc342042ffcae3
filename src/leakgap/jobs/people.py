"""A grid's persons: what attacks scored of records, made into scores of those whose records they are."""

from collections.abc import Sequence

import numpy as np

from leakgap.audit.people import WAYS, any_of, of_people
from leakgap.measure import roc
from leakgap.measure.ranking import rankings

__all__ = ["Persons"]


class Persons:
    """G persons in place of S records.

    group: int [S] from 0, whose each record is; reserved: bool [S]; member: bool [N,S], of the shadow models; fpr:
    at which the ways of making a person's score are compared. A person is a member of a model trained on any of her
    records.
    """

    def __init__(self, group: np.ndarray, reserved: np.ndarray, member: np.ndarray, fpr: float):
        self.group, self._fpr = group, fpr
        self.evaluated, self.member = self.some(~reserved), self.some(member)

    def some(self, flag: np.ndarray) -> np.ndarray:
        """Whether any of a person's records is so: bool [..., G]; flag: bool [..., S]."""
        return any_of(flag, self.group)

    def ways(self, others: np.ndarray, left_out: np.ndarray) -> list[str]:
        """For every target the way that recognizes most of its shadow models' own persons.

        others: float [N,S], scores of the shadow models, each attacked by the others; left_out: bool [T,N], so that
        no target's own pair takes part in its choice. What counts is the models' mean TPR, or AUC where one of them
        has too few non-members for that.
        """
        found = []
        for way in WAYS:
            score = of_people(others, self.group, way).astype(np.float32)
            each = roc.per_target(rankings(score, self.member, self.evaluated), [self._fpr])
            found.append([each[f"tpr_at_{self._fpr:g}"], each["auc"]])
        tprs, aucs = np.swapaxes(np.array(found), 0, 1)
        success = aucs if np.isnan(tprs).any() else tprs
        return [WAYS[int(success[:, ~out].mean(1).argmax())] for out in left_out]

    def score(self, score: np.ndarray, ways: Sequence[str]) -> np.ndarray:
        """Scores of persons, float32 [T,G]; score: float [T,S], ways: of each target."""
        rows = [of_people(row, self.group, way) for row, way in zip(score, ways, strict=True)]
        return np.array(rows, np.float32).reshape(len(score), len(self.evaluated))
