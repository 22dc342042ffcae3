"""What an audit says of single records: how exposed they are, and how much models memorize them."""

import numpy as np
from scipy.special import expit

from leakgap.answers.joined import Joined
from leakgap.measure.roc import thresholds


def exposure(score: np.ndarray, nonmembers: np.ndarray, fpr: float) -> np.ndarray:
    """How far above the non-members' quantile each record scores: float64, shaped like score.

    (s - q) / (q - m), q the score above which `fpr` of the non-members lie (conformal) and m their median: -1
    is like the middle non-member, 0 is the threshold, 1 as far above the threshold as it is above the middle.
    So a record is called a member iff its exposure is above 0, and the scale is the same for every attack.
    nonmembers: scores of any shape. NaN where the attack abstains, where non-members are too few for `fpr`,
    and where q = m.

    >>> import numpy as np
    >>> exposure(np.array([49.0, 98.0, 147.0]), np.arange(99.0), fpr=0.01)
    array([-1.,  0.,  1.])
    """
    return _exposed(np.asarray(score, np.float64), *thresholds(nonmembers, [fpr, 0.5]))


def _exposed(score: np.ndarray, quantile: float, middle: float) -> np.ndarray:
    if not np.isfinite([quantile, middle]).all() or quantile <= middle:
        return np.full(score.shape, np.nan)
    return (score - quantile) / (quantile - middle)


def over_targets(score: np.ndarray, member: np.ndarray, fpr: float) -> dict[str, np.ndarray]:
    """What T targets say of S records, one threshold for each target; score, member: [T, S], NaN abstains.

    Columns: `targets`, how many were trained on the record; `caught`, how many of these give it away at `fpr`
    in the conformal reading; `exposure`, the mean over them, NaN where none has one.

    >>> import numpy as np
    >>> score, member = np.array([[5.0, 1, 2, 0, 3], [5.0, 9, 2, 0, 3]]), np.array([[1, 1, 0, 0, 0]] * 2, bool)
    >>> over_targets(score, member, fpr=0.25)["caught"]
    array([2, 1, 0, 0, 0], dtype=int32)
    """
    caught, total, count = np.zeros((3, score.shape[1]))
    for row, inside in zip(score, member, strict=True):
        quantile, middle = thresholds(row.take(np.flatnonzero(~inside)), [fpr, 0.5])
        caught += inside & (row > quantile)
        exposed = _exposed(row.astype(np.float64), quantile, middle)
        known = inside & ~np.isnan(exposed)
        np.add(total, exposed, out=total, where=known)
        count += known
    with np.errstate(invalid="ignore"):
        mean = total / count
    return {
        "caught": caught.astype(np.int32),
        "targets": member.sum(0, dtype=np.int32),
        "exposure": mean.astype(np.float32),
    }


def memorization(
    probability: np.ndarray, member: np.ndarray, asked: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How much likelier models trained on a record are to give its label: (estimate, standard error), [S].

    Feldman and Zhang 2020, "What neural networks memorize and why", eq. 1: the mean over the in-models less
    the mean over the out-models, here of the probability of the label where they count right predictions
    (give those, 0 or 1, to have theirs). probability: float [N, S] of N shadow models; member, asked: bool
    [N, S], who was trained on what, and asked about it (all, by default). The error is that of a difference
    of two means, NaN with fewer than two models on a side; the estimate is NaN with none.

    >>> import numpy as np
    >>> p = np.array([[0.9], [0.7], [0.2], [0.4]])
    >>> value, error = memorization(p, np.array([[True], [True], [False], [False]]))
    >>> value.round(3), error.round(3)
    (array([0.5]), array([0.141]))
    """
    asked = np.ones(member.shape, bool) if asked is None else asked
    means, variances = [], []
    for side in (member & asked, ~member & asked):
        n = side.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(side, probability, 0).sum(0, dtype=np.float64) / n
            spread = np.where(side, (probability - mean) ** 2, 0).sum(0) / (n - 1) / n
        means.append(mean)
        variances.append(np.where(n > 1, spread, np.nan))
    return means[0] - means[1], np.sqrt(variances[0] + variances[1])


def memorized_by(joined: Joined) -> dict[str, np.ndarray]:
    """How much the shadow models memorize each record, float32 [S]: `memorization` and its error.

    Of the probability of the label, else of who is right; NaN where answers know neither: predicted numbers,
    densities and scores.
    """
    if joined.has_probability and joined.phi is not None:
        probability = np.where(joined.asked, expit(joined.phi[1][..., 0]), 0)
    elif joined.correct is not None:
        probability = np.where(joined.asked, joined.correct[1], 0)
    else:
        probability = np.full(joined.member.shape, np.nan)
    value, error = memorization(probability, joined.member, joined.asked)
    return {"memorization": value.astype(np.float32), "memorization_error": error.astype(np.float32)}
