"""Scores of attacks: of the targets by the shadow models, and of each shadow model by the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from leakgap import LeakgapError, attacks
from leakgap.answers.joined import Joined
from leakgap.measure import roc

DEAR = ("rapid", "boosted")  # are fitted anew for every such set: where there are several, only if named
PATTERNS = 64  # sets of shadow models that answered the same records; records of rarer sets are not scored


@dataclass(frozen=True)
class Scores:
    """Scores of one attack, NaN where it abstains; a reserved record has none.

    An attack abstains of its own accord, which counts as "not a member"; or because a record has too few shadow
    models, and then the record is not judged at all, member or not. Which records have too few often depends on
    membership: shadow models that were drawn among the target's members know no other record.
    """

    target: np.ndarray  # float32 [T, S]
    shadow: np.ndarray  # float32 [N, S]: each shadow model attacked by the others
    judged: np.ndarray  # bool [T, S]: not reserved, and with the shadow models that the attack needs


def run_attacks(
    joined: Joined, names: tuple[str, ...] | None, seed: int
) -> tuple[dict[str, Scores], dict[str, str]]:
    """Run the attacks named, by default all; return the scores of those that can, and why the others can't.

    Raises LeakgapError for a name that is no attack, and where none of them can run.
    """
    for name in names or ():
        if name not in attacks.ATTACKS:
            raise LeakgapError(f"attacks: {name!r} is unknown; allowed are {', '.join(attacks.ATTACKS)}")
    scores, reasons = {}, {}
    for name in dict.fromkeys(attacks.ATTACKS if names is None else names):
        reason = _lacking(name, joined)
        if reason is None and names is None and name in DEAR and not joined.asked.all():
            reason = "takes long where shadow models answered different records: name it, and it runs"
        if reason is None:
            score = _run(name, joined, seed)
            if np.isnan(score.target).all():
                reason = _too_few(name)
            else:
                scores[name] = score
        if reason is not None:
            reasons[name] = reason
    if not scores:
        raise LeakgapError(f"no attack can run: {'; '.join(by_reason(reasons)) or 'none is named'}")
    return scores, reasons


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
    if attack.needs_steps:
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


def _run(name: str, joined: Joined, seed: int) -> Scores:
    if name == "correctness":
        assert joined.correct is not None
        target, shadow = (np.where(joined.reserved, np.nan, part) for part in joined.correct)
        return Scores(target, shadow, np.broadcast_to(~joined.reserved, target.shape))
    assert joined.phi is not None
    targets, shadows = joined.phi
    logits = None if joined.logits is None else joined.logits[0]
    known = _Shadows(joined, seed)
    signals = {key: both[0] for key, both in joined.signals.items()}
    target = known.attack(name, targets, logits, signals, joined.left_out)
    judged = ~joined.reserved & _has_models(attacks.ATTACKS[name], joined)
    if not len(shadows):
        return Scores(target, np.empty((0, len(joined.record)), np.float32), judged)
    shadow = known.attack(name, known.phi, known.logits, known.signals, joined.shadows_left_out)
    return Scores(target, np.where(joined.asked, shadow, np.nan), judged)


def _has_models(attack: attacks.Attack, joined: Joined) -> np.ndarray:
    """Whether a record has the shadow models that an attack on each target needs, bool [T, S]."""
    found = np.ones((len(joined.left_out), len(joined.record)), bool)
    for enough, left_out in zip(found, joined.left_out, strict=True):
        asked, member = joined.asked[~left_out], joined.member[~left_out]
        for needed, side in ((attack.min_in, member), (attack.min_out, ~member), (attack.min_shadows, True)):
            enough &= (asked & side).sum(0) >= needed
    return found


class _Shadows:
    """What the attacker knows. A shadow model that was not asked about a record is never used for it.

    Records that the same shadow models answered are attacked together, with the other models left out. What
    these did not answer is filled in with the mean of those that did, so that statistics over many records,
    such as a pooled variance, are hardly moved by it.
    """

    def __init__(self, joined: Joined, seed: int):
        self.joined, self.seed = joined, seed
        assert joined.phi is not None
        self.phi = _filled(joined.phi[1], joined.asked, joined.phi[0])
        self.logits = None
        if joined.logits is not None:
            self.logits = _filled(joined.logits[1], joined.asked, joined.logits[0])
        self.signals = {
            name: _filled(shadow[..., None], joined.asked, target[..., None])[..., 0]
            for name, (target, shadow) in joined.signals.items()
        }

    def attack(
        self,
        name: str,
        target: np.ndarray,
        logits: np.ndarray | None,
        signals: dict[str, np.ndarray],
        left_out: np.ndarray,
    ) -> np.ndarray:
        """Attack targets [T, S, V] without shadow models left out, bool [T, N]: float32 [T, S]."""
        joined = self.joined
        scores = np.full(target.shape[:2], np.nan, np.float32)
        for records, silent in self._patterns(attacks.ATTACKS[name]):
            evidence = attacks.Evidence(
                target=target,
                shadow=self.phi,
                member=joined.member,
                left_out=left_out | silent,
                labels=joined.codes,
                reserved=joined.reserved,
                target_logits=logits,
                shadow_logits=self.logits,
                seed=self.seed,
                target_signals=signals,
                shadow_signals=self.signals,
                base=joined.base,
            )
            with np.errstate(invalid="ignore", divide="ignore"):  # of records without models, which get NaN
                scores[:, records] = attacks.run(name, evidence)[:, records]
        scores[:, joined.reserved] = np.nan
        return scores

    def _patterns(self, attack: attacks.Attack) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield records, bool [S], with the shadow models that were not asked about them, bool [N]."""
        asked = self.joined.asked
        if asked.all() or not max(attack.min_in, attack.min_out, attack.min_shadows):
            yield np.ones(asked.shape[1], bool), np.zeros(len(asked), bool)
            return
        patterns, which, count = np.unique(asked, axis=1, return_inverse=True, return_counts=True)
        for pattern in np.argsort(-count, kind="stable")[:PATTERNS]:
            yield which.reshape(-1) == pattern, ~patterns[:, pattern]


def _filled(values: np.ndarray, asked: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fill in the mean of what was asked, or the first target's answer where nobody was."""
    if asked.all():
        return values
    answered = asked.sum(0)[:, None]
    mean = np.where(answered, np.nansum(values, 0) / np.maximum(answered, 1), target[0])
    return np.where(asked[..., None], values, mean[None]).astype(np.float32)
