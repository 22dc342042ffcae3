"""Scores of attacks: of the targets by the shadow models, and of each shadow model by the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from leakgap import LeakgapError, attacks
from leakgap.answers.joined import Both, Joined
from leakgap.measure import roc
from leakgap.objects import staying

DEAR = ("rapid", "boosted")  # are fitted anew for every such set: where there are several, only if named
PATTERNS = 64  # sets of shadow models that answered the same records; records of rarer sets are not scored


@dataclass(frozen=True)
class Scores:
    """Scores of one attack, NaN where it abstains; a reserved record has none.

    An attack abstains of its own accord, which counts as "not a member"; or because a record has too few shadow
    models, and then the record is not judged at all, member or not. Which records have too few often depends on
    membership: shadow models that were drawn among the target's members know no other record.

    shadow_for: of a target's number, float32 [N, S], the shadow models each attacked by the others, in the way in
    which this target is attacked. They are attacked when they are first asked for.
    """

    target: np.ndarray  # float32 [T, S]
    judged: np.ndarray  # bool [T, S]: not reserved, and with the shadow models that the attack needs
    shadow_for: Callable[[int], np.ndarray]

    @property
    def shadow(self) -> np.ndarray:
        """Scores of the shadow models, float32 [N, S], in the way of the first target."""
        return self.shadow_for(0)


def scores_of(names: Sequence[str], joined: Joined, seed: int) -> dict[str, Scores]:
    """Run attacks whose needs are met."""
    known = _Shadows(joined, seed)
    targets = known.attack(names, joined.left_out, of_shadows=False)
    return {
        name: Scores(target, known.judged(name), known.on_each_other(name, target))
        for name, target in targets.items()
    }


def run_attacks(
    joined: Joined, names: tuple[str, ...] | None, seed: int
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Run the attacks named, by default all; return the scores of those that can, and why the others can't.

    Raises LeakgapError for a name that is no attack, and where none of them can run.
    """
    for name in names or ():
        if name not in attacks.ATTACKS:
            raise LeakgapError(f"attacks: {name!r} is unknown; allowed are {', '.join(attacks.ATTACKS)}")
    chosen = list(dict.fromkeys(attacks.ATTACKS if names is None else names))
    reasons = {name: reason for name in chosen if (reason := _lacking(name, joined)) is not None}
    if names is None and not joined.asked.all():
        dear = "takes long where shadow models answered different records: name it, and it runs"
        reasons |= {name: dear for name in DEAR if name not in reasons}
    scores = scores_of([name for name in chosen if name not in reasons], joined, seed)
    silent = [name for name, score in scores.items() if np.isnan(score.target).all()]
    reasons |= {name: _too_few(name) for name in silent}
    scores = {name: score for name, score in scores.items() if name not in silent}
    if not scores:
        raise LeakgapError(f"no attack can run: {'; '.join(by_reason(reasons)) or 'none is named'}")
    return scores, {name: reasons[name] for name in chosen if name in reasons}


def on_shadows(score: Scores, joined: Joined, fpr: float) -> tuple[float, float] | None:
    """TPR at an FPR and AUC on the shadow models, each attacked by the others; None where undefined."""
    seen = joined.asked & ~joined.reserved
    values, inside = score.shadow[seen], joined.member[seen]
    tpr = roc.tpr_at_fpr(values, inside, fpr, abstentions=True)
    auc = roc.auc(values, inside, abstentions=True)
    return None if np.isnan([tpr, auc]).any() or np.isnan(values).all() else (tpr, auc)


def by_reason(reasons: dict[str, str]) -> list[str]:
    """Return a phrase for every reason, with the attacks that it holds for.

    >>> by_reason({"entropy": "needs logits", "rmia": "needs a population", "shadow-nn": "needs logits"})
    ['entropy, shadow-nn: needs logits', 'rmia: needs a population']
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return [f"{', '.join(those)}: {reason}" for reason, those in names.items()]


def _lacking(name: str, joined: Joined) -> str | None:
    """Say what the answers lack that an attack needs; None where nothing is."""
    attack = attacks.ATTACKS[name]
    if name == "correctness":
        return None if joined.correct else "needs logits, probabilities or predictions in every file"
    if joined.phi is None:
        return "needs logits, probabilities, phi or the loss in every file"
    if attack.needs_logits and joined.logits is None:
        return "needs logits or probabilities in every file"
    if attack.needs_reserved and not joined.reserved.any():
        return "needs records set aside from all training (column reserved), and there are none"
    if attack.needs_steps and joined.earlier is None:
        return "needs answers at several steps of training"
    if attack.needs_views and joined.phi[0].shape[-1] == 1:
        return "needs answers about several views of every record"
    if attack.needs_signals and not any(name.startswith(attack.needs_signals) for name in joined.signals):
        return "needs log-probabilities of tokens in every file"
    if attack.needs_base and joined.base is None:
        return "needs the answers of a base model, one that was trained on none of the records"
    if attack.needs_features:
        return "needs features of the records"
    needed, held = max(attack.min_in, attack.min_out, attack.min_shadows), len(joined.member)
    if needed > held:
        return f"needs shadow models, {needed} or more, and has {held}"
    return None


def _too_few(name: str) -> str:
    attack = attacks.ATTACKS[name]
    counts = [(attack.min_in, "trained on it"), (attack.min_out, "trained without it")]
    needed = " and ".join(f"{count} {side}" for count, side in counts if count)
    return f"finds too few shadow models for every record ({needed or 'it needs some of either kind'})"


class _Shadows:
    """What the attacker knows. A shadow model that was not asked about a record is never used for it.

    Records that the same shadow models answered are attacked together, with the other models left out. What
    these did not answer is filled in with the mean of those that did, so that statistics over many records,
    such as a pooled variance, are hardly moved by it.
    """

    def __init__(self, joined: Joined, seed: int):
        self.joined, self.seed = joined, seed
        self.phi, self.logits = self._whole(joined.phi), self._whole(joined.logits)
        self.signals = {name: self._whole(both) for name, both in joined.signals.items()}

    def _whole(self, both: Both | None) -> Both | None:
        return None if both is None else (both[0], _filled(both[1], self.joined.asked, both[0]))

    def judged(self, name: str) -> np.ndarray:
        """Whether a record has the shadow models that an attack on each target needs, bool [T, S]."""
        attack, joined = attacks.ATTACKS[name], self.joined
        found = np.repeat(~joined.reserved[None], len(joined.left_out), axis=0)
        for least, side in (
            (attack.min_in, joined.member),
            (attack.min_out, ~joined.member),
            (attack.min_shadows, True),
        ):
            if least:
                used = joined.asked & side
                count = used.sum(0)
                for enough, left_out in zip(found, joined.left_out, strict=True):
                    enough &= count - used[left_out].sum(0) >= least
        return found

    def on_each_other(self, name: str, target: np.ndarray) -> Callable[[int], np.ndarray]:
        """What `Scores.shadow_for` is; target: float32 [T, S], the targets' scores."""
        joined = self.joined

        @cache
        def attacked() -> np.ndarray:
            if not len(joined.member):
                return np.empty((0, len(joined.record)), np.float32)
            if joined.among_targets:
                return target[: len(joined.member)]
            scores = self.attack([name], joined.shadows_left_out, of_shadows=True)[name]
            return np.where(joined.asked, scores, np.nan)

        return lambda _: attacked()

    def attack(
        self, names: Sequence[str], left_out: np.ndarray, *, of_shadows: bool
    ) -> dict[str, np.ndarray]:
        """Attack the targets, or the shadow models, without shadow models left out, bool [T, N]: float32 [T, S]."""
        joined, side = self.joined, int(of_shadows)
        found = {}
        for name in names:
            if name == "correctness" and self.logits is None:
                assert joined.correct is not None
                found[name] = joined.correct[side].astype(np.float32)
        # where all shadow models answered all records, all attacks run at once
        apart = [name for name in names if name not in found]
        alone = [name for name in apart if not joined.asked.all() and _uses_models(attacks.ATTACKS[name])]
        for several in ([name for name in apart if name not in alone], *([name] for name in alone)):
            if several:
                found |= self._run(several, left_out, side)
        for scores in found.values():
            scores[:, joined.reserved] = np.nan
        return {name: found[name] for name in names}

    def _run(self, names: Sequence[str], left_out: np.ndarray, side: int) -> dict[str, np.ndarray]:
        joined = self.joined
        assert self.phi is not None
        found: dict[str, np.ndarray] = {}
        for records, silent in self._patterns(names):
            evidence = attacks.Evidence(
                target=self.phi[side],
                shadow=self.phi[1],
                member=joined.member,
                left_out=left_out | silent,
                labels=joined.codes,
                reserved=joined.reserved,
                target_logits=None if self.logits is None else self.logits[side],
                shadow_logits=None if self.logits is None else self.logits[1],
                seed=self.seed,
                target_earlier=None if joined.earlier is None else joined.earlier[side],
                shadow_earlier=None if joined.earlier is None else joined.earlier[1],
                target_signals={key: both[side] for key, both in self.signals.items() if both is not None},
                shadow_signals={key: both[1] for key, both in self.signals.items() if both is not None},
                base=joined.base,
            )
            with staying(), np.errstate(invalid="ignore", divide="ignore"):  # of records without models: NaN
                scored = attacks.run_all(names, evidence)
            if records is None:
                return {name: np.array(scores, np.float32) for name, scores in scored.items()}
            for name, scores in scored.items():
                found.setdefault(name, np.full(scores.shape, np.nan, np.float32))[:, records] = scores[
                    :, records
                ]
        return found

    def _patterns(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray | None, np.ndarray]]:
        """Yield records, bool [S] or None for all, and the shadow models not asked about them, bool [N]."""
        asked = self.joined.asked
        if asked.all() or not any(_uses_models(attacks.ATTACKS[name]) for name in names):
            yield None, np.zeros(len(asked), bool)
            return
        patterns, which, count = np.unique(asked, axis=1, return_inverse=True, return_counts=True)
        for pattern in np.argsort(-count, kind="stable")[:PATTERNS]:
            yield which.reshape(-1) == pattern, ~patterns[:, pattern]


def _uses_models(attack: attacks.Attack) -> bool:
    return bool(max(attack.min_in, attack.min_out, attack.min_shadows))


def _filled(values: np.ndarray, asked: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fill in the mean of what was asked, or the first target's answer where nobody was; values: [N, S] or more."""
    if asked.all():
        return values
    asked = asked.reshape(*asked.shape, *(1,) * (values.ndim - 2))
    answered = asked.sum(0)
    mean = np.where(answered, np.nansum(values, 0) / np.maximum(answered, 1), target[0])
    return np.where(asked, values, mean[None]).astype(np.float32)
