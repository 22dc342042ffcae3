"""Attack success: TPR at a low FPR, AUC, balanced accuracy, ROC curves, and a two-way bootstrap of the pooled TPR.

A higher score means "member"; a score of NaN is an abstention and counts as -inf. Where one of the two classes is
missing, every measure is NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

Reading = Literal["conformal", "last-point", "strict"]

REPLICATES, PAIRS = 128, 1024  # the bootstrap walks blocks of as many replicates and pairs at once


class Curve(NamedTuple):
    """Points of a ROC curve, ascending: float64 [points] each."""

    fpr: np.ndarray
    tpr: np.ndarray


class Interval(NamedTuple):
    """An estimate with the bounds of its confidence interval and the bootstrap replicates, float64 [replicates]."""

    tpr: float
    low: float
    high: float
    replicates: np.ndarray


def tpr_at_fpr(score: np.ndarray, member: np.ndarray, fpr: float, reading: Reading = "conformal") -> float:
    """TPR at an FPR of at most `fpr`, without interpolation; score and member have one shape, any.

    conformal   image x is called a member iff (1 + #{non-members scored >= s(x)}) / (n0 + 1) <= fpr, so that ties
                count against the attacker; NaN (undefined) where n0 < 1 / fpr - 1 non-members can't tell
    last-point  at the last point of the empirical ROC with FPR <= fpr
    strict      at the last point with FPR < fpr, as the reference implementation of LiRA reads it
    """
    score, member = _flat(score, member)
    threshold = _threshold(score[~member], fpr, reading)
    if np.isnan(threshold) or not member.any():
        return float("nan")
    return float((score[member] > threshold).mean())


def flagged(score: np.ndarray, member: np.ndarray, fpr: float) -> np.ndarray:
    """Which images are called members in the conformal reading: bool, shaped as score; none where undefined."""
    flat, truth = _flat(score, member)
    return (flat > _threshold(flat[~truth], fpr, "conformal")).reshape(np.shape(score))


def auc(score: np.ndarray, member: np.ndarray) -> float:
    """Area under the ROC: the probability that a member outscores a non-member, ties counting half."""
    return _auc(*_counts(score, member))


def balanced_accuracy(score: np.ndarray, member: np.ndarray) -> float:
    """Mean of TPR and TNR at the best threshold, at least 1/2."""
    return _balanced_accuracy(*_counts(score, member))


def curve(score: np.ndarray, member: np.ndarray, points: int = 200) -> Curve:
    """Points of the empirical ROC at up to `points` FPRs, spaced by ratio from 1/n0 to 1, for logarithmic axes.

    Each is the last point (see `tpr_at_fpr`) at its FPR, a multiple of 1/n0. No points if one class is missing.
    """
    tp, fp = _counts(score, member)
    if not tp[-1] or not fp[-1]:
        return Curve(np.empty(0), np.empty(0))
    allowed = np.unique(np.geomspace(1, fp[-1], points).round())
    return Curve(allowed / fp[-1], _tpr(tp, fp, allowed))


def per_target(
    score: np.ndarray, member: np.ndarray, evaluated: np.ndarray, fprs: Sequence[float]
) -> dict[str, np.ndarray]:
    """auc, balanced_acc and tpr_at_<fpr> (conformal) of every target, float64 [T], from one sort per target.

    score, member: [T,S]; evaluated: bool [T,S] or [S], the pairs that count.
    """
    rows = []
    for s, m, seen in zip(score, member, np.broadcast_to(evaluated, score.shape), strict=True):
        tp, fp = _counts(s[seen], m[seen])
        allowed = [float(false_positives(fp[-1], fpr, "conformal")) for fpr in fprs]
        rows.append([_auc(tp, fp), _balanced_accuracy(tp, fp), *_tpr(tp, fp, np.array(allowed))])
    names = ["auc", "balanced_acc", *(f"tpr_at_{fpr:g}" for fpr in fprs)]
    return dict(zip(names, np.array(rows).reshape(-1, len(names)).T, strict=True))


def pooled_bootstrap(
    score: np.ndarray,
    member: np.ndarray,
    evaluated: np.ndarray,
    fprs: Sequence[float],
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Interval]:
    """Conformal TPR of all pairs (model, image) under one threshold, with a bootstrap interval, for every FPR.

    score: float [T,S]; member: bool [T,S]; evaluated: bool [T,S] or [S], the pairs that count. Pairs that share a
    model or an image are dependent, so models and images are resampled, both with replacement ("pigeonhole"
    bootstrap, Owen 2007); a pair's weight is the product of the two multiplicities, and the interval holds the
    replicates' quantiles. It errs on the wide side for the noise that belongs to single pairs, and on the narrow
    side where T is small. With T = 1 it speaks of that model alone.

    The draws depend on seed, T, S and replicates only: replicates of two attacks, steps or techniques on the same
    models and images are paired (see `contrast`). NaN where undefined.
    """
    return Resampling(member, evaluated, replicates, seed).pooled(score, fprs, level)


class Resampling:
    """The draws of `pooled_bootstrap` for one set of models and images, made once for many scores of them."""

    def __init__(self, member: np.ndarray, evaluated: np.ndarray, replicates: int = 1000, seed: int = 0):
        _check(member, member)
        self.member, self.evaluated = member, np.broadcast_to(evaluated, member.shape)
        self._inside, self._outside = member & self.evaluated, ~member & self.evaluated
        self._blocks = []
        models, images = member.shape
        for by_model, by_image in _multiplicities(models, images, replicates, seed):
            weights = [
                np.einsum("sr,sr->r", pool.T.astype(np.float32) @ by_model, by_image, dtype=np.float64)
                for pool in (self._inside, self._outside)
            ]
            self._blocks.append((by_model, by_image.astype(np.uint16), *weights))

    def pooled(self, score: np.ndarray, fprs: Sequence[float], level: float = 0.95) -> list[Interval]:
        """See `pooled_bootstrap`; score: float [T,S]."""
        _check(score, self.member)
        shares = (min(1.0, 3 * max(fprs)), 1.0)
        values = next(v for share in shares if (v := self._replicates(score, fprs, share)) is not None)
        seen = score[self.evaluated], self.member[self.evaluated]
        return [
            _interval(tpr_at_fpr(*seen, fpr), column, level)
            for fpr, column in zip(fprs, values.T, strict=True)
        ]

    def _replicates(self, score: np.ndarray, fprs: Sequence[float], share: float) -> np.ndarray | None:
        """TPR of every replicate and FPR [r,F]; None where the best `share` of the non-members is too few."""
        pairs = _descending(score, self._inside, self._outside, share)
        values = []
        for by_model, by_image, n1, n0 in self._blocks:
            allowed = np.stack([false_positives(n0, fpr, "conformal") for fpr in fprs], -1)
            called = _called_members(pairs, by_model, by_image, allowed)
            if called is None:
                return None
            with np.errstate(invalid="ignore"):
                values.append(called / n1[:, None])
        return np.concatenate(values)


def contrast(
    first: Interval, second: Interval, function: Callable = np.subtract, level: float = 0.95
) -> Interval:
    """function(first, second), say np.subtract or np.divide, with the interval of the paired replicates."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval(
            float(function(first.tpr, second.tpr)), function(first.replicates, second.replicates), level
        )


def _flat(score: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _check(score, member)
    score = np.ravel(score)
    return np.where(np.isnan(score), -np.inf, score), np.ravel(member)


def _check(score: np.ndarray, member: np.ndarray) -> None:
    if member.dtype != bool:
        raise ValueError(f"member must be boolean, not {member.dtype}")
    if score.shape != member.shape:
        raise ValueError(f"score and member must have one shape, not {score.shape} and {member.shape}")


def false_positives(n0, fpr: float, reading: Reading):
    """How many of n0 non-members (a number or an array) may be called members; -1 where undefined."""
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must lie between 0 and 1, not {fpr}")
    if reading == "conformal":
        return np.floor(fpr * (n0 + 1) + 1e-9) - 1  # (n0 + 1) * fpr may be an integer but for rounding
    if reading == "last-point":
        return np.where(n0 > 0, np.floor(fpr * n0 + 1e-9), -1)
    if reading == "strict":
        return np.ceil(fpr * n0 - 1e-9) - 1
    raise ValueError(f"reading must be conformal, last-point or strict, not {reading!r}")


def _threshold(nonmembers: np.ndarray, fpr: float, reading: Reading) -> float:
    """The score above which images are called members; NaN where undefined."""
    allowed = int(false_positives(len(nonmembers), fpr, reading))
    if allowed < 0:
        return float("nan")
    rank = len(nonmembers) - 1 - allowed
    return float(np.partition(nonmembers, rank)[rank])


def _counts(score: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True and false positives at every threshold, from none to all, int [thresholds + 1]; ties are one step."""
    score, member = _flat(score, member)
    order = np.argsort(-score)
    score, member = score[order], member[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True)[: len(score)])
    tp = np.append(0, np.cumsum(member)[last])
    return tp, np.append(0, last + 1) - tp


def _tpr(tp: np.ndarray, fp: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """TPR at the last step with no more than the allowed false positives, [allowed]."""
    if not tp[-1] or not fp[-1]:
        return np.full(len(allowed), np.nan)
    steps = np.searchsorted(fp, allowed, side="right") - 1
    return np.where(allowed >= 0, tp[steps] / tp[-1], np.nan)


def _auc(tp: np.ndarray, fp: np.ndarray) -> float:
    if not tp[-1] or not fp[-1]:
        return float("nan")
    return float(((tp[1:] + tp[:-1]) * np.diff(fp)).sum() / (2 * tp[-1] * fp[-1]))


def _balanced_accuracy(tp: np.ndarray, fp: np.ndarray) -> float:
    if not tp[-1] or not fp[-1]:
        return float("nan")
    return float((1 + tp / tp[-1] - fp / fp[-1]).max() / 2)


def _descending(
    score: np.ndarray, inside: np.ndarray, outside: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Model, image and membership of the pairs that score as high as the best `share` of the non-members do.

    Best score first; among ties non-members first.
    """
    flat = np.where(np.isnan(score), -np.inf, score).ravel()
    parts = [np.flatnonzero(outside), np.flatnonzero(inside)]
    wanted = int(share * len(parts[0]))
    if wanted < len(parts[0]):
        lowest = -np.partition(-flat[parts[0]], wanted)[wanted]
        parts = [part[flat[part] >= lowest] for part in parts]
    where = np.concatenate(parts)
    where = where[np.argsort(-flat[where], kind="stable")]
    model, image = np.divmod(where, score.shape[1])
    return model.astype(np.int32), image.astype(np.int32), inside.ravel()[where]


def _multiplicities(
    models: int, images: int, replicates: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """How often each replicate draws every model, float32 [T,r], and image, float32 [S,r], in blocks of r."""
    of_models, of_images = np.random.default_rng(seed).spawn(2)

    def draw(rng: np.random.Generator, size: int) -> np.ndarray:
        return np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float32)

    for start in range(0, replicates, REPLICATES):
        block = range(min(REPLICATES, replicates - start))
        yield (
            np.stack([draw(of_models, models) for _ in block], -1),
            np.stack([draw(of_images, images) for _ in block], -1),
        )


def _called_members(
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    by_model: np.ndarray,
    by_image: np.ndarray,
    allowed: np.ndarray,
) -> np.ndarray | None:
    """Weight of the members that each replicate calls before its allowed [r,F] non-members are exceeded, [r,F].

    None where the pairs end before.
    """
    model, image, member = pairs
    tp, fp = np.zeros(len(allowed)), np.zeros(len(allowed))
    called = np.where(allowed >= 0, 0.0, np.nan)
    pending = allowed >= 0
    for start in range(0, len(member), PAIRS):
        part = slice(start, start + PAIRS)
        inside = member[part]
        weight = by_model[model[part]] * by_image[image[part]]
        more_tp, more_fp = inside.astype(np.float32) @ weight, (~inside).astype(np.float32) @ weight
        crossing = pending & ((fp + more_fp)[:, None] > allowed)
        for replicate, column in zip(*np.nonzero(crossing), strict=True):
            own = weight[:, replicate]
            before = fp[replicate] + np.cumsum(own * ~inside) <= allowed[replicate, column]
            called[replicate, column] = tp[replicate] + own[before & inside].sum()
        pending &= ~crossing
        if not pending.any():
            return called
        tp, fp = tp + more_tp, fp + more_fp
    return called if not pending.any() else None


def _interval(tpr: float, replicates: np.ndarray, level: float) -> Interval:
    if np.isnan(tpr) or np.isnan(replicates).all():
        return Interval(tpr, float("nan"), float("nan"), replicates)
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return Interval(tpr, float(low), float(high), replicates)
