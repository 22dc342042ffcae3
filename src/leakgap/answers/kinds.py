"""What a model may answer about a record, each kind brought to one number that attacks take.

Every kind ends in `phi`, higher where the model does better on the record. Of a probability p of the truth it is
log(p / (1 - p)), from logits and from the loss exactly, from probabilities by the sum of the others, which keeps
its digits where p itself is 1 in float32; where they don't add up to one, because they are rounded or only the top
k are given, by 1 - p. Missing probabilities are taken as equal shares of what is left, none above the smallest that
is given. An answer of exactly 0 or 1 leaves phi infinite here; whoever puts files side by side gives it a number
that is the same for all of them (`leakgap.answers.joined`).

Where there is no probability phi is the logarithm of the density, or what stands for it: of a regression -log of
the squared error, whose scale is found when files are side by side; of a log-density or a score the number itself.

Whatever can't be right for any record is a LeakgapError that says which column to use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import softmax

from leakgap import LeakgapError
from leakgap.answers.confidence import mistaken_for_logits
from leakgap.answers.confidence import phi as phi_of_logits

LARGEST = 1e30  # of a logit: what is beyond has no place in float32
WHOLE = 1e-6  # closer than this to one, a sum of probabilities is whole: none is missing or rounded
SUM = 0.005  # how far probabilities may be from adding up to one, however they were rounded
SORTED = 20  # rows, or more, that may be told to be sorted, not answers
ALIKE = 0.05  # deviation of the largest probability over rows: below it a model says the same of all
RARE = 0.1  # above an equal share: a class that is no more common is not what a model names everywhere
SURER = 0.1  # than its class is common: what no model is that names the commonest class everywhere
COARSE = 1e-3  # of the values' spread: where single precision is coarser, it makes one number of several
SHARES = (5, 10, 20)  # percent of a sequence's least probable tokens that min-k% takes


class Rows(NamedTuple):
    """The rows of a file: what of it every kind reads. `positive` is the label that `probability` is of."""

    name: str
    record: np.ndarray  # [R]
    label: np.ndarray | None  # int64 or str [R]
    columns: Mapping[str, np.ndarray]
    classes: tuple[str, ...] | None  # the names of the columns of logits or probabilities
    positive: str | None

    def at(self, row: Any) -> str:
        return f"record {self.record[int(row)]}"

    def fault(self, column: str, what: str) -> LeakgapError:
        return LeakgapError(f"{self.name}: {column} {what}")


class Signal(NamedTuple):
    """What a kind makes of the rows."""

    phi: np.ndarray | None  # float64 [R], or [R, K] of K labels; None for predictions
    logits: np.ndarray | None = None  # float64 [R, C]
    code: np.ndarray | None = None  # int64 [R], the number of the label's class
    correct: np.ndarray | None = None  # bool [R]
    signals: Mapping[str, np.ndarray] = {}  # float64 [R], further numbers about a record


def _logits(rows: Rows) -> Signal:
    given = _number(rows, "logits")
    infinite = (np.abs(given) > LARGEST).any(-1)
    if infinite.any():
        raise rows.fault("logits", f"of {rows.at(infinite.argmax())} are infinite, or nearly so")
    if called := mistaken_for_logits(given):
        raise rows.fault("logits", f"are {called}; call the column probabilities")
    code = _classes(rows, "logits", given)
    return Signal(phi_of_logits(given, code), given, code, given.argmax(-1) == code)


def _probabilities(rows: Rows) -> Signal:
    if "labels" in rows.columns:
        return _several(rows)
    given = _numeric(rows, "probabilities")
    code = _classes(rows, "probabilities", given)
    probabilities, whole = _filled(rows, given)
    phi = _phi_of_probabilities(probabilities, whole, code)
    with np.errstate(divide="ignore"):
        return Signal(phi, np.log(probabilities), code, probabilities.argmax(-1) == code)


def _several(rows: Rows) -> Signal:
    """Several labels of a record, each with a probability of its own: phi of each."""
    truth, given = _number(rows, "labels"), _number(rows, "probabilities")
    if truth.shape != given.shape:
        raise rows.fault("labels", f"are {truth.shape[1]} for a record, and probabilities {given.shape[1]}")
    if not np.isin(truth, (0, 1)).all():
        raise rows.fault(
            "labels", f"of {rows.at(np.isin(truth, (0, 1)).all(1).argmin())} are not 0 and 1 alone"
        )
    _between(rows, "probabilities", given)
    phi = np.where(truth == 1, _log_odds(given), _log_odds(1 - given))
    return Signal(phi, correct=((given >= 0.5) == (truth == 1)).all(1))


def _probability(rows: Rows) -> Signal:
    """One probability, of the positive class."""
    given = _number(rows, "probability")
    _between(rows, "probability", given)
    truth = _positive(rows)
    phi = np.where(truth, _log_odds(given), -_log_odds(given))
    return Signal(phi, code=truth.astype(np.int64), correct=(given >= 0.5) == truth)


POSITIVES = ("1", "true", "yes", "y", "positive", "pos", "t")
NEGATIVES = ("0", "false", "no", "n", "negative", "neg", "f", "-1")


def _positive(rows: Rows) -> np.ndarray:
    """Which labels are the positive one, of two: by the user's word, or as usually written."""
    label = _label(rows, "probability").astype(str)
    values = sorted(set(label.tolist()))
    if rows.positive is not None:
        if rows.positive not in values:
            raise rows.fault("label", f"is never {rows.positive!r}, which is to be the positive one")
        return label == rows.positive
    if len(values) > 2:
        raise rows.fault(
            "label",
            f"has {len(values)} values, and a probability is of one of two; give `probabilities` of all",
        )
    positive = [value for value in values if value.lower() in POSITIVES]
    negative = [value for value in values if value.lower() in NEGATIVES]
    if len(positive) + len(negative) != len(values) or len(positive) > 1 or len(negative) > 1:
        raise rows.fault(
            "label",
            f"is {' or '.join(map(repr, values))}: say which one the probability is of, --positive {values[-1]}",
        )
    return np.isin(label, positive)


def _phi(rows: Rows) -> Signal:
    return Signal(_number(rows, "phi"))  # may be infinite


def _loss(rows: Rows) -> Signal:
    loss = _number(rows, "loss")
    if (loss < -WHOLE).any():
        row = int((loss < -WHOLE).argmax())
        raise rows.fault(
            "loss",
            f"of {rows.at(row)} is {loss[row]:g}; a cross-entropy is never negative: give a density's as "
            "`log_density`, with its sign turned",
        )
    return Signal(_phi_of_loss(loss))


def _phi_of_loss(loss: np.ndarray) -> np.ndarray:
    """phi of the loss l = -log p: -log(exp(l) - 1)."""
    loss = np.maximum(loss, 0)
    with np.errstate(divide="ignore"):
        return -(loss + np.log(-np.expm1(-loss)))


def _log_density(rows: Rows) -> Signal:
    return Signal(_bounded(rows, "log_density"))


def _score(rows: Rows) -> Signal:
    return Signal(_bounded(rows, "score"))


def _tokens(rows: Rows) -> Signal:
    """Log-probabilities of a sequence's tokens: the mean loss, and min-k% and min-k%++ as further numbers.

    min-k%: mean of the k% least log-probabilities (Shi et al. 2023, arXiv 2310.16789, eq. 1). min-k%++: the same of
    (log p - mean) / deviation, mean and deviation of log p over the vocabulary at that token (Zhang et al. 2024,
    arXiv 2404.02936, eq. 3), where the columns `token_means` and `token_deviations` are given.
    """
    tokens = [np.asarray(each, np.float64).ravel() for each in rows.columns["tokens"]]
    for row, each in enumerate(tokens):
        if not len(each) or np.isnan(each).any():
            raise rows.fault("tokens", f"of {rows.at(row)} are empty, or hold a NaN")
        if (each > WHOLE).any():
            raise rows.fault(
                "tokens", f"of {rows.at(row)} hold {each.max():g}: a log-probability is never above 0"
            )
    signals = {f"min-k-{share}": np.array([_least(each, share) for each in tokens]) for share in SHARES}
    beside = [name for name in ("token_means", "token_deviations") if name in rows.columns]
    if len(beside) == 1:
        raise rows.fault(beside[0], "needs its twin: token_means and token_deviations go together")
    if beside:
        means, deviations = (
            [np.asarray(each, np.float64).ravel() for each in rows.columns[name]] for name in beside
        )
        scaled = []
        for row, (each, mean, deviation) in enumerate(zip(tokens, means, deviations, strict=True)):
            if not len(each) == len(mean) == len(deviation):
                raise rows.fault("token_means", f"of {rows.at(row)} are not as many as its tokens")
            if not (deviation > 0).all():
                raise rows.fault("token_deviations", f"of {rows.at(row)} are not all above 0")
            scaled.append((each - mean) / deviation)
        signals |= {
            f"min-k++-{share}": np.array([_least(each, share) for each in scaled]) for share in SHARES
        }
    return Signal(_phi_of_loss(-np.array([each.mean() for each in tokens])), signals=signals)


def _least(values: np.ndarray, share: int) -> float:
    """Mean of the least `share` percent of some values, of one at the least."""
    count = max(1, int(len(values) * share / 100))
    return float(np.partition(values, count - 1)[:count].mean())


def _prediction(rows: Rows) -> Signal:
    """A predicted class, or a predicted number where label and prediction are numbers that are not all whole."""
    label, given = _label(rows, "prediction"), rows.columns["prediction"]
    numeric = label.dtype.kind in "if" and given.dtype.kind in "fiu"
    if numeric and ((given % 1).any() or (label % 1).any()):
        values = _number(rows, "prediction")
        if set(np.unique(label)) <= {0, 1} and values.min() >= 0 and values.max() <= 1:
            raise rows.fault("prediction", "holds probabilities: call the column probability")
        with np.errstate(divide="ignore"):
            return Signal(-2 * np.log(np.abs(values - label)))
    correct = given.astype(str) == label.astype(str)
    if not correct.any():
        raise rows.fault(
            "prediction",
            f"is never the label: {_some(given)}, and labels are {_some(label)}. Give both the same names; a "
            "probability is a column `probability`, a predicted number stands beside labels that are numbers",
        )
    return Signal(None, correct=correct)


def _some(values: np.ndarray) -> str:
    return ", ".join(repr(str(value)) for value in list(dict.fromkeys(values.tolist()))[:3])


KINDS: dict[str, Callable[[Rows], Signal]] = {  # the first that a file holds is used
    "logits": _logits,
    "probabilities": _probabilities,
    "probability": _probability,
    "phi": _phi,
    "loss": _loss,
    "log_density": _log_density,
    "tokens": _tokens,
    "score": _score,
    "prediction": _prediction,
}
LABELLED = ("logits", "probabilities", "probability", "prediction")  # are answers about a label


def _label(rows: Rows, kind: str) -> np.ndarray:
    if rows.label is None:
        raise LeakgapError(
            f"{rows.name}: has no column 'label', which {kind} need{'s' if kind[-1] != 's' else ''}"
        )
    return rows.label


def _classes(rows: Rows, kind: str, given: np.ndarray) -> np.ndarray:
    """Return the number of each label's class; LeakgapError where labels are no classes or rows are sorted."""
    label, count = _label(rows, kind), given.shape[1]
    if count < 2:
        raise rows.fault(
            kind, f"of {count} classes: an answer needs two or more; one alone is a column probability"
        )
    if way := _sorted(given, label, kind):
        raise rows.fault(
            kind,
            f"{way} from the first class to the last in every row: they are sorted, and whose they are is lost",
        )
    if rows.classes is not None:
        place = {name: number for number, name in enumerate(rows.classes)}
        text = label.astype(str)
        strange = [name for name in dict.fromkeys(text.tolist()) if name not in place]
        if strange:
            raise rows.fault(
                "label", f"is {strange[0]!r}, and the classes of {kind} are {', '.join(rows.classes[:6])}"
            )
        return np.array([place[name] for name in text], np.int64)
    if label.dtype.kind != "i":
        raise rows.fault(
            "label",
            f"is text, such as {str(label[0])!r}; beside {kind} it is the number of a class, from 0, or their "
            f"columns are named by class: {'logit' if kind == 'logits' else 'probability'}_{label[0]}, ...",
        )
    outside = (label < 0) | (label >= count)
    if outside.any():
        row = int(outside.argmax())
        raise rows.fault("label", f"{label[row]} of {rows.at(row)} is none of the {count} classes of {kind}")
    return label


def _sorted(given: np.ndarray, label: np.ndarray, kind: str) -> str:
    """Say whether the answers of all rows "fall" or "rise" because each row was sorted; else "".

    A model may name one class everywhere: the commonest, and then it is about as sure as that is common, or any
    where it has hardly been trained, and then all rows are nearly alike. Sorted answers are surer than the class
    that they name is common, and differ. Of five classes or more no model has all rows in one order.
    """
    if len(given) < SORTED:
        return ""
    with np.errstate(invalid="ignore"):
        steps = np.diff(given, axis=1)
    absent = np.isnan(steps)
    falls, rises = ((sign * steps <= 0) | absent for sign in (1, -1))
    if absent.all() or not (falls.all() or rises.all()) or (falls & rises).all():
        return ""
    classes = given.shape[1]
    way, named = ("fall", 0) if falls.all() else ("rise", classes - 1)
    top = given[:, named] if kind == "probabilities" else softmax(given, axis=1)[:, named]
    if np.nanstd(top) < ALIKE:
        return ""
    share = float((label.astype(str) == str(named)).mean())
    surer = np.nanmean(top) - share
    common = share >= 1 / classes + RARE
    told = surer > max(SURER if common else 0, 3 * np.sqrt(share * (1 - share) / len(given)))
    return way if classes >= 5 or told else ""


def _numeric(rows: Rows, column: str) -> np.ndarray:
    values = rows.columns[column]
    if values.dtype.kind == "c":
        raise rows.fault(column, "holds complex numbers")
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise rows.fault(column, "does not hold numbers") from None


def _number(rows: Rows, column: str) -> np.ndarray:
    """Return numbers as float64; NaN is an error."""
    values = _numeric(rows, column)
    absent = np.isnan(values).reshape(len(values), -1).any(1)
    if absent.any():
        raise rows.fault(
            column, f"of {rows.at(absent.argmax())} is NaN or missing (row {int(absent.argmax())})"
        )
    return values


def _bounded(rows: Rows, column: str) -> np.ndarray:
    values = _number(rows, column)
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        raise rows.fault(column, f"of {rows.at(infinite.argmax())} is infinite, or nearly so")
    return _precise(rows, column, values)


def _precise(rows: Rows, column: str, values: np.ndarray) -> np.ndarray:
    """Return numbers; LeakgapError where single precision, in which they are compared, can't tell them apart."""
    raw = rows.columns[column]
    different, left = len(np.unique(raw)), len(np.unique(values.astype(np.float32)))
    coarse = np.spacing(np.float32(np.abs(values).max())) > COARSE * np.subtract(
        *np.quantile(values, [0.9, 0.1])
    )
    if left < 0.99 * different and coarse:
        raise rows.fault(
            column,
            f"has {different:,} values from {raw.min()} to {raw.max()}, of which single precision tells "
            f"{left:,} apart: subtract one number, such as {np.median(values):.16g}, from all, in every file",
        )
    return values


def _between(rows: Rows, column: str, given: np.ndarray) -> None:
    outside = ((given < 0) | (given > 1)).reshape(len(given), -1).any(1)
    if outside.any():
        raise rows.fault(column, f"of {rows.at(outside.argmax())} is not between 0 and 1")


def _log_odds(probability: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(probability) - np.log1p(-probability)


def _filled(rows: Rows, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities with the missing filled in, and which rows are whole: all given, adding up to one."""
    known = ~np.isnan(given)
    outside = (known & ((given < 0) | (given > 1 + WHOLE))).any(1)
    if outside.any():
        raise rows.fault("probabilities", f"of {rows.at(outside.argmax())} are not between 0 and 1")
    count = known.sum(1)
    if not count.all():
        raise rows.fault("probabilities", f"of {rows.at(count.argmin())} are all NaN or missing")
    if (count != count[0]).any():
        row = int((count != count[0]).argmax())
        raise LeakgapError(
            f"{rows.name}: {rows.at(row)} has {count[row]} probabilities and {rows.at(0)} {count[0]}: "
            "one is NaN, or these are the top k, and then each record has the same k"
        )
    total = np.where(known, given, 0).sum(1)
    classes = given.shape[1]
    allowed = max(SUM, classes * step(given[known]) / 2)
    off = (total > 1 + allowed) | ((count == classes) & (total < 1 - allowed))
    if off.any():
        row = int(off.argmax())
        raise rows.fault("probabilities", f"of {rows.at(row)} add up to {total[row]:.4g}, not to 1")
    missing = classes - count
    left = np.maximum(1 - total, 0) / np.maximum(missing, 1)
    share = np.minimum(left, np.where(known, given, np.inf).min(1))
    return np.where(known, given, share[:, None]), (missing == 0) & (np.abs(total - 1) <= WHOLE)


def step(values: np.ndarray, decimals: Sequence[int] = range(2, 6)) -> float:
    """Return what numbers are rounded to, such as .001, by some decimals; 0 where they are not rounded.

    >>> step(np.array([0.25, 0.5, 1 / 3])), step(np.array([0.25, 0.5]))
    (0.0, 0.01)
    """
    for places in decimals:
        scaled = values * 10**places
        if (np.abs(scaled - np.round(scaled)) < 1e-3).all():
            return 10.0**-places
    return 0.0


def _phi_of_probabilities(probabilities: np.ndarray, whole: np.ndarray, label: np.ndarray) -> np.ndarray:
    at_label = label[:, None]
    of_label = np.take_along_axis(probabilities, at_label, 1)[:, 0]
    others = probabilities.copy()
    np.put_along_axis(others, at_label, 0, 1)
    rest = np.where(whole, others.sum(1), 1 - of_label)
    with np.errstate(divide="ignore"):
        return np.log(of_label) - np.log(np.maximum(rest, 0))
