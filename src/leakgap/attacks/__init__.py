"""Membership inference attacks on stored logits: what the attacker holds, and the registry of attacks.

An attack is a function from `Evidence` to scores, float32 [T,S]: higher means "member", NaN means that the
attack abstains there (counted as "not a member"). Attacking target t, it never looks at row `exclude[t]` of the
shadow models. A new attack is one such function and one line in `ATTACKS`; importing the registry imports none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from leakgap import LeakgapError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Evidence:
    """All that a black-box attacker holds about T targets at one step: phi of S images, N shadow models.

    Shapes, types and finite phi are checked on creation: ValueError names the array, axis, model or image.
    """

    target: np.ndarray  # float32 [T,S,V]: phi of the target models over V query views
    shadow: np.ndarray  # float32 [N,S,V]: phi of the shadow models
    member: np.ndarray  # bool [N,S]: membership of the shadow models
    exclude: np.ndarray  # int [T]: the shadow row trained on the target's own mask, never used against it
    labels: np.ndarray  # int [S]
    reserved: np.ndarray  # bool [S]: images in no mask
    target_logits: np.ndarray | None = None  # float32 [T,S,C] of the clean view
    shadow_logits: np.ndarray | None = None  # float32 [N,S,C]
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.target, self.shadow, self.member, self.exclude)
        _, images, _ = self.shadow.shape
        _expect("labels", self.labels, (images,))
        _expect("reserved", self.reserved, (images,))
        if (self.member & self.reserved).any():
            raise ValueError(
                f"image {(self.member & self.reserved).any(0).argmax()} is reserved, yet in a mask"
            )
        for name, logits, phi in (
            ("target_logits", self.target_logits, self.target),
            ("shadow_logits", self.shadow_logits, self.shadow),
        ):
            if logits is not None:
                _expect(name, logits, (*phi.shape[:2], logits.shape[-1]))


@dataclass(frozen=True)
class Attack:
    """An entry of the registry: where the function is, whether it reads logits, and what it does."""

    function: str
    needs_logits: bool
    description: str
    needs_reserved: bool = False  # a reserved population
    min_masks: int = 4  # fewer leave an image without the models that it takes

    def resolve(self) -> Callable[[Evidence], np.ndarray]:
        """Import the module that holds the attack and return its function."""
        return resolve_name(self.function)


ATTACKS: dict[str, Attack] = {
    "correctness": Attack("leakgap.attacks.threshold:correctness", True, "is the prediction right?"),
    "confidence": Attack("leakgap.attacks.threshold:confidence", False, "probability of the label"),
    "loss": Attack("leakgap.attacks.threshold:loss", False, "minus the target's loss"),
    "entropy": Attack("leakgap.attacks.threshold:entropy", True, "minus the entropy of the prediction"),
    "modified-entropy": Attack(
        "leakgap.attacks.threshold:modified_entropy", True, "minus the entropy that knows the label"
    ),
    "confidence-per-class": Attack(
        "leakgap.attacks.threshold:confidence_per_class", False, "confidence, ranked in its class"
    ),
    "loss-per-class": Attack(
        "leakgap.attacks.threshold:confidence_per_class", False, "loss, ranked in its class"
    ),
    "entropy-per-class": Attack(
        "leakgap.attacks.threshold:entropy_per_class", True, "entropy, ranked in its class"
    ),
    "modified-entropy-per-class": Attack(
        "leakgap.attacks.threshold:modified_entropy_per_class", True, "modified entropy, ranked in its class"
    ),
    "shadow-nn": Attack("leakgap.attacks.learned:shadow_nn", True, "a network per class (Shokri)"),
    "one-shadow": Attack("leakgap.attacks.learned:one_shadow", True, "a network on one shadow model (Salem)"),
    "mast": Attack("leakgap.attacks.calibrated:mast", False, "loss, a threshold per image (Sablayrolles)"),
    "calibrated-loss": Attack(
        "leakgap.attacks.calibrated:calibrated_loss", False, "loss less that of out-models (Watson)"
    ),
    "attack-p": Attack(
        "leakgap.attacks.calibrated:attack_p",
        False,
        "rank in the reserved population (Ye)",
        needs_reserved=True,
    ),
    "attack-r": Attack(
        "leakgap.attacks.calibrated:attack_r", False, "p-value among the out-models (Ye)", min_masks=6
    ),
    "lira-online": Attack("leakgap.attacks.lira:online", False, "LiRA, likelihood ratio of in and out"),
    "lira-online-fixed": Attack(
        "leakgap.attacks.lira:online_fixed", False, "LiRA online, one variance for all images"
    ),
    "lira-online-within": Attack(
        "leakgap.attacks.lira:online_within", False, "LiRA online, means and pooled within-image variances"
    ),
    "lira-offline": Attack(
        "leakgap.attacks.lira:offline", False, "LiRA from out-models alone, one-sided (LiRA paper, eq. 4)"
    ),
    "lira-offline-fixed": Attack(
        "leakgap.attacks.lira:offline_fixed", False, "LiRA offline, one variance for all images"
    ),
    "lira-offline-within": Attack(
        "leakgap.attacks.lira:offline_within", False, "LiRA offline, means and pooled within-image variance"
    ),
    "lira-offline-two-sided": Attack(
        "leakgap.attacks.lira:offline_two_sided", False, "LiRA offline as in the reference implementation"
    ),
    "rmia": Attack(
        "leakgap.attacks.rmia:rmia", False, "RMIA, against the reserved population", needs_reserved=True
    ),
    "rmia-offline": Attack(
        "leakgap.attacks.rmia:rmia_offline", False, "RMIA from out-models alone", needs_reserved=True
    ),
    "base": Attack("leakgap.attacks.rmia:base", False, "BASE, log probability against its average"),
    "vulnerable-points": Attack(
        "leakgap.attacks.vulnerable:vulnerable_points",
        True,
        "attack R where images stand apart (Long)",
        min_masks=6,
    ),
}


def run(name: str, evidence: Evidence) -> np.ndarray:
    """Scores of one attack, float32 [T,S]; LeakgapError if it is unknown or lacks the logits it needs."""
    if name not in ATTACKS:
        raise LeakgapError(f"unknown attack {name!r}; choose from {', '.join(ATTACKS)}")
    if ATTACKS[name].needs_logits and (evidence.target_logits is None or evidence.shadow_logits is None):
        raise LeakgapError(f"attack {name!r} needs logits, and only phi was given")
    return ATTACKS[name].resolve()(evidence)


def check(target: np.ndarray, shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray) -> None:
    """ValueError unless target [T,S,V], shadow [N,S,V] are finite, member bool [N,S], exclude int [T] < N."""
    if target.ndim != 3 or shadow.ndim != 3:
        raise ValueError(
            f"phi must be [models, images, views], not target {target.shape}, shadow {shadow.shape}"
        )
    for axis, what in ((1, "images"), (2, "views")):
        if target.shape[axis] != shadow.shape[axis]:
            counts = f"{target.shape[axis]} in target and {shadow.shape[axis]} in shadow"
            raise ValueError(f"axis {axis} ({what}) differs: {counts}")
    if member.dtype != bool:
        raise ValueError(f"member must be boolean, not {member.dtype}")
    _expect("member", member, shadow.shape[:2])
    _expect("exclude", exclude, target.shape[:1])
    if exclude.dtype.kind not in "iu" or (
        len(exclude) and not 0 <= exclude.min() <= exclude.max() < len(shadow)
    ):
        raise ValueError(f"exclude must hold rows of shadow, integers from 0 to {len(shadow) - 1}")
    _expect_finite("shadow", shadow)
    if target is not shadow:
        _expect_finite("target", target)


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, not {list(array.shape)}")


def _expect_finite(name: str, phi: np.ndarray) -> None:
    import numpy as np

    for row, values in enumerate(phi):
        finite = np.isfinite(values)
        if not finite.all():
            image = int((~finite).any(-1).argmax())
            raise ValueError(f"{name} phi of model {row} is NaN or infinite at image {image}")
