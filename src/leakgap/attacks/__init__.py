"""Membership inference attacks on stored logits: what the attacker holds, and the registry of attacks.

An attack is a function from `Evidence` to scores, float32 [T,S]: higher means "member", NaN means that the
attack abstains there (counted as "not a member"). Attacking target t, it never looks at the shadow models
`left_out[t]`. A new attack is one such function and one line in `ATTACKS`, or a plugin of a study
file; importing the registry imports none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from leakgap import ArgumentError, LeakgapError
from leakgap.objects import Object

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ATTACKS", "Attack", "Evidence", "check", "gives_away", "run", "run_all"]


@dataclass(frozen=True, repr=False)
class Evidence:
    """All that a black-box attacker holds about T targets at one step: phi of S images, N shadow models.

    Shapes, types and finite phi are checked on creation: ArgumentError names the array, axis, model or image.
    The arrays are read-only from then on, so that no attack changes what the next one is given.

    >>> import numpy as np
    >>> from leakgap import balanced_masks, run
    >>> member = balanced_masks(8, 100, seed=0)
    >>> phi = (np.random.default_rng(0).normal(size=(8, 100, 1)) + 3 * member[..., None]).astype(np.float32)
    >>> evidence = Evidence(
    ...     target=phi, shadow=phi, member=member, left_out=gives_away(member, member),
    ...     labels=np.zeros(100, int), reserved=np.zeros(100, bool),
    ... )
    >>> run("lira-online-fixed", evidence).shape
    (8, 100)
    """

    target: np.ndarray  # float32 [T,S,V]: phi of the target models over V query views
    shadow: np.ndarray  # float32 [N,S,V]: phi of the shadow models
    member: np.ndarray  # bool [N,S]: membership of the shadow models
    left_out: np.ndarray  # bool [T,N]: shadow models that give a target's mask away, never used against it
    labels: np.ndarray  # int [S]
    reserved: np.ndarray  # bool [S]: images in no mask
    target_logits: np.ndarray | None = None  # float32 [T,S,C] of the clean view
    shadow_logits: np.ndarray | None = None  # float32 [N,S,C]
    seed: int = 0
    target_earlier: np.ndarray | None = None  # float32 [T,K,S]: phi of the clean view at K earlier steps
    shadow_earlier: np.ndarray | None = None  # float32 [N,K,S]
    # further numbers that models say of every record, by name, such as "min-k-20": float32 [T,S], [N,S] each
    target_signals: Mapping[str, np.ndarray] = field(default_factory=dict)
    shadow_signals: Mapping[str, np.ndarray] = field(default_factory=dict)
    base: np.ndarray | None = None  # float32 [S]: phi of a model that was trained on none of the records
    features: np.ndarray | None = None  # float32 [S,F]: what is known of the records without any model

    def __post_init__(self) -> None:
        check(self.target, self.shadow, self.member, self.left_out)
        _, images, _ = self.shadow.shape
        _expect("labels", self.labels, (images,))
        _expect("reserved", self.reserved, (images,))
        if (self.member & self.reserved).any():
            raise ArgumentError(
                f"image {(self.member & self.reserved).any(0).argmax()} is reserved, yet in a mask"
            )
        steps = {}
        for name, earlier, phi in (
            ("target_earlier", self.target_earlier, self.target),
            ("shadow_earlier", self.shadow_earlier, self.shadow),
        ):
            steps[name] = -1 if earlier is None else earlier.shape[1]
            if earlier is not None:
                _expect(name, earlier, (len(phi), earlier.shape[1], images))
        if len(set(steps.values())) > 1:
            raise ArgumentError(
                "target_earlier and shadow_earlier must hold the same steps, or both be missing"
            )
        for name, logits, phi in (
            ("target_logits", self.target_logits, self.target),
            ("shadow_logits", self.shadow_logits, self.shadow),
        ):
            if logits is not None:
                _expect(name, logits, (*phi.shape[:2], logits.shape[-1]))
        if self.target_signals.keys() != self.shadow_signals.keys() and len(self.shadow):
            raise ArgumentError("target_signals and shadow_signals must hold the same names")
        for of, signals, phi in (
            ("target_signals", self.target_signals, self.target),
            ("shadow_signals", self.shadow_signals, self.shadow),
        ):
            for name, values in signals.items():
                _expect(f"{of} {name!r}", values, phi.shape[:2])
        if self.base is not None:
            _expect("base", self.base, (images,))
        if self.features is not None:
            _expect("features", self.features, (images, self.features.shape[-1]))
        self._lock()

    def _lock(self) -> None:
        """Put read-only views in the place of the arrays; one array stays one."""
        views: dict[int, np.ndarray] = {}

        def locked(array: np.ndarray) -> np.ndarray:
            if id(array) not in views:
                views[id(array)] = array.view()
                views[id(array)].flags.writeable = False
            return views[id(array)]

        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Mapping):
                object.__setattr__(
                    self, each.name, MappingProxyType({name: locked(array) for name, array in value.items()})
                )
            elif hasattr(value, "flags"):
                object.__setattr__(self, each.name, locked(value))

    def __repr__(self) -> str:
        targets, images, views = self.target.shape
        return (
            f"Evidence({targets} targets, {len(self.shadow)} shadow models, {images} images, {views} views)"
        )


@dataclass(frozen=True)
class Attack:
    """An attack: its function, what it does, whose it is and what it needs.

    A study file's `plugins.attacks` may name one (docs/extending.md); `ATTACKS` has those of leakgap.

    >>> quiet = Attack(lambda evidence: evidence.target[..., 0], "phi alone", "me", min_out=2)
    >>> quiet.needs_logits, quiet.min_masks
    (False, 6)
    """

    function: str | Callable[..., Any]  # or module:function, called with the Evidence and the options
    description: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)
    together: str = (
        ""  # module:function that runs several entries at once, given the Evidence and their options
    )
    needs_logits: bool = False  # all others make do with phi
    needs_reserved: bool = False  # a population in no mask
    needs_steps: bool = False  # earlier steps of the same models, where there are any
    needs_views: bool = False  # more than one answer about a record
    needs_signals: str = ""  # further numbers about a record whose names begin so, such as "min-k"
    needs_base: bool = False  # a model that was trained on none of the records
    needs_features: bool = False  # numbers about the records that are known without any model
    min_in: int = 0  # in-models of an image besides those left out; with fewer its score is NaN
    min_out: int = 0
    min_shadows: int = 0  # of whatever training set

    @property
    def of_files_alone(self) -> bool:
        """Does it need what answers in files may hold and a grid's models do not?"""
        return bool(self.needs_signals) or self.needs_base or self.needs_features

    @property
    def min_masks(self) -> int:
        """Masks in complementary pairs with which no image lacks models: N/2 - 1 are in-models, and out-models."""
        return max(4, 2 * (max(self.min_in, self.min_out) + 1))

    def resolve(self) -> Callable[[Evidence], np.ndarray]:
        """Import the module that holds the attack and return its function, options given."""
        function = Object(self.function).load() if isinstance(self.function, str) else self.function
        return partial(function, **self.options)


def _threshold(function: str, description: str, source: str, **needs: Any) -> Attack:
    return Attack(f"leakgap.attacks.threshold:{function}", description, source, **needs)


def _lira(description: str, **options: str) -> Attack:
    n_in = 1 if options["mode"] == "online" else 0
    together = "" if options.get("variance") == "pooled" else "leakgap.attacks.lira:several"
    return Attack(
        "leakgap.attacks.lira:lira", description, "Carlini 2022", options, together, min_in=n_in, min_out=1
    )


def _min_k(signal: str, description: str, source: str, *, calibrated: bool = False) -> Attack:
    options = {"signal": signal, "calibrated": calibrated}
    return Attack(
        "leakgap.attacks.sequence:min_k",
        description,
        source,
        options,
        needs_signals=f"{signal}-",
        min_out=int(calibrated),
    )


ATTACKS: dict[str, Attack] = {
    "correctness": _threshold("correctness", "is the prediction right?", "Yeom 2018", needs_logits=True),
    "loss": _threshold("loss", "minus the target's loss", "Yeom 2018"),
    "entropy": _threshold("entropy", "minus the entropy of the prediction", "Shokri 2017", needs_logits=True),
    "modified-entropy": _threshold(
        "modified_entropy", "minus the entropy that knows the label", "Song 2021", needs_logits=True
    ),
    "loss-per-class": _threshold("loss_per_class", "loss, ranked in its class", "Song 2021", min_shadows=1),
    "entropy-per-class": _threshold(
        "entropy_per_class",
        "entropy, ranked in its class",
        "Song 2021",
        needs_logits=True,
        min_shadows=1,
    ),
    "modified-entropy-per-class": _threshold(
        "modified_entropy_per_class",
        "modified entropy, ranked in its class",
        "Song 2021",
        needs_logits=True,
        min_shadows=1,
    ),
    "shadow-nn": Attack(
        "leakgap.attacks.learned:shadow_nn",
        "a network per class",
        "Shokri 2017",
        needs_logits=True,
        min_shadows=2,
    ),
    "one-shadow": Attack(
        "leakgap.attacks.learned:one_shadow",
        "a network on one shadow model",
        "Salem 2019",
        needs_logits=True,
        min_shadows=1,
    ),
    "rapid": Attack(
        "leakgap.attacks.learned:rapid", "a network on the loss, raw and calibrated", "He 2024", min_out=3
    ),
    "mast": Attack(
        "leakgap.attacks.calibrated:mast",
        "loss, a threshold per record",
        "Sablayrolles 2019",
        min_in=1,
        min_out=1,
    ),
    "calibrated-loss": Attack(
        "leakgap.attacks.calibrated:calibrated_loss", "loss less that of out-models", "Watson 2021", min_out=1
    ),
    "attack-p": Attack(
        "leakgap.attacks.calibrated:attack_p",
        "rank in the reserved population",
        "Ye 2022",
        needs_reserved=True,
    ),
    "attack-r": Attack(
        "leakgap.attacks.calibrated:attack_r", "p-value among the out-models", "Ye 2022", min_out=2
    ),
    "lira-online": _lira("likelihood ratio of in and out", mode="online"),
    "lira-online-fixed": _lira("LiRA online, one variance for all records", mode="online", variance="fixed"),
    "lira-online-within": _lira(
        "LiRA online, means and pooled within-record variances", mode="online", variance="within"
    ),
    "lira-pooled": _lira(
        "LiRA online, borrowing from records like it, and BASE", mode="online", variance="pooled"
    ),
    "bavaria": Attack(
        "leakgap.attacks.bavaria:bavaria",
        "LiRA with a conjugate prior of the variances, normal",
        "Brännvall 2026",
        {"form": "normal"},
        min_in=1,
        min_out=1,
    ),
    "bavaria-t": Attack(
        "leakgap.attacks.bavaria:bavaria",
        "LiRA with a conjugate prior, Student's predictive distribution",
        "Brännvall 2026",
        {"form": "student"},
        min_in=1,
        min_out=1,
    ),
    "lira-steps": Attack(
        "leakgap.attacks.steps:lira_steps",
        "LiRA on all steps so far, by an attacker who holds these checkpoints",
        "Liu 2022",
        needs_steps=True,
        min_in=2,
        min_out=2,
    ),
    "lira-offline": _lira("LiRA from out-models alone, one-sided", mode="offline"),
    "lira-offline-fixed": _lira(
        "LiRA offline, one variance for all records", mode="offline", variance="fixed"
    ),
    "lira-offline-within": _lira(
        "LiRA offline, means and the pooled within-record variance", mode="offline", variance="within"
    ),
    "lira-offline-two-sided": _lira(
        "LiRA offline as in the reference implementation", mode="offline", tail="two-sided"
    ),
    "rmia": Attack(
        "leakgap.attacks.rmia:rmia",
        "likelihood ratios against those of the reserved population",
        "Zarifzadeh 2024",
        needs_reserved=True,
        min_in=1,
        min_out=1,
    ),
    "rmia-offline": Attack(
        "leakgap.attacks.rmia:rmia_offline",
        "RMIA from out-models alone",
        "Zarifzadeh 2024",
        needs_reserved=True,
        min_out=1,
    ),
    "informia": Attack(
        "leakgap.attacks.rmia:informia",
        "information gained, less that on the reserved population",
        "Tao 2026",
        needs_reserved=True,
        min_in=1,
        min_out=1,
    ),
    "base": Attack(
        "leakgap.attacks.rmia:base",
        "log probability against its average",
        "Lassila 2025",
        min_in=1,
        min_out=1,
    ),
    "vulnerable-points": Attack(
        "leakgap.attacks.vulnerable:vulnerable_points",
        "attack R where records stand apart",
        "Long 2020",
        needs_logits=True,
        min_out=2,
    ),
    "boosted": Attack(
        "leakgap.attacks.boosted:boosted",
        "boosted trees on what shadow models say of a record, and `lira-pooled`",
        "Shokri 2017",
        min_in=3,
        min_out=3,
    ),
    "label-only": Attack(
        "leakgap.attacks.label_only:label_only",
        "share of right answers over views, less that of out-models",
        "Choquette-Choo 2021",
        needs_views=True,
        min_out=1,
    ),
    "quantile": Attack(
        "leakgap.attacks.quantile:quantile",
        "phi against a regression on the record's features",
        "Bertran 2023",
        needs_reserved=True,
        needs_features=True,
    ),
    "pretrained-loss": Attack(
        "leakgap.attacks.sequence:pretrained_loss",
        "loss less that of a model trained on none of the records",
        "Carlini 2021",
        needs_base=True,
    ),
    "min-k": _min_k("min-k", "least probable tokens of a sequence", "Shi 2023"),
    "min-k-calibrated": _min_k("min-k", "min-k less that of out-models", "Shi 2023", calibrated=True),
    "min-k++": _min_k("min-k++", "least probable tokens, standardized", "Zhang 2024"),
    "min-k++-calibrated": _min_k("min-k++", "min-k++ less that of out-models", "Zhang 2024", calibrated=True),
}


def run(name: str, evidence: Evidence) -> np.ndarray:
    """Scores of one attack, float32 [T,S]; LeakgapError if it is unknown or lacks the logits it needs.

    >>> run("lyra", evidence=None)
    Traceback (most recent call last):
    ...
    leakgap.LeakgapError: unknown attack 'lyra'; choose from ...
    """
    return _usable(name, evidence).resolve()(evidence)


def run_all(names: Sequence[str], evidence: Evidence) -> dict[str, np.ndarray]:
    """Scores of several attacks, as `run` gives them; what some of them share is computed once."""
    scores, families = {}, dict[str, list[str]]()
    for name in names:
        together = _usable(name, evidence).together
        if together:
            families.setdefault(together, []).append(name)
        else:
            scores[name] = run(name, evidence)
    for together, family in families.items():
        found = Object(together).load()(evidence, [ATTACKS[name].options for name in family])
        scores |= dict(zip(family, found, strict=True))
    return {name: scores[name] for name in names}


def _usable(name: str, evidence: Evidence) -> Attack:
    if name not in ATTACKS:
        raise LeakgapError(f"unknown attack {name!r}; choose from {', '.join(ATTACKS)}")
    if ATTACKS[name].needs_logits and (evidence.target_logits is None or evidence.shadow_logits is None):
        raise LeakgapError(f"attack {name!r} needs logits, and only phi was given")
    return ATTACKS[name]


def gives_away(masks: np.ndarray, member: np.ndarray, asked: np.ndarray | None = None) -> np.ndarray:
    """Say which shadow models may not be used against which targets: bool [T,N].

    masks: bool [T,S], the images that the targets trained on; member: bool [N,S], those of the shadow models;
    asked: bool [N,S], the images that a shadow model was asked about, all by default. A row of member gives a
    target's mask away if it is the same mask, or its complement, on the images that it was asked about and that are
    in some mask.
    In a grid these are the target's own row and the other one of its pair, so that every image is left with
    N/2 - 1 in- and N/2 - 1 out-models whatever the target trained on; among masks of another origin the own row. A
    model that was trained on nothing says nothing.

    >>> import numpy as np
    >>> member = np.array([[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 1, 0, 0], [0, 1, 0, 1, 0]], bool)
    >>> gives_away(member[:1], member)
    array([[ True,  True, False, False]])
    """
    import numpy as np

    counted = np.broadcast_to(masks.any(0) | member.any(0), member.shape)
    if asked is not None:
        counted = counted & asked
    found = np.zeros((len(masks), len(member)), bool)
    for row, mask in zip(found, masks, strict=True):
        same = ((member == mask) & counted).sum(1)
        row[:] = ((same == 0) | (same == counted.sum(1))) & (member.any(1) | ~mask.any())
    return found


def check(
    target: np.ndarray, shadow: np.ndarray, member: np.ndarray, left_out: np.ndarray | None = None
) -> None:
    """ArgumentError unless target [T,S,V], shadow [N,S,V] are finite, member bool [N,S], left_out bool [T,N].

    Without left_out the targets must be the models of the rows of member: T = N.
    """
    if target.ndim != 3 or shadow.ndim != 3:
        raise ArgumentError(
            f"phi must be [models, images, views], not target {target.shape}, shadow {shadow.shape}"
        )
    axes = ((0, "models"), (1, "images"), (2, "views"))
    for axis, what in axes if left_out is None else axes[1:]:
        if target.shape[axis] != shadow.shape[axis]:
            counts = f"{target.shape[axis]} in target and {shadow.shape[axis]} in shadow"
            raise ArgumentError(f"axis {axis} ({what}) differs: {counts}")
    rows = [("member", member, shadow.shape[:2])]
    if left_out is not None:
        rows.append(("left_out", left_out, (len(target), len(shadow))))
    for name, array, shape in rows:
        if array.dtype != bool:
            raise ArgumentError(f"{name} must be boolean, not {array.dtype}")
        _expect(name, array, shape)
    _expect_finite("shadow", shadow)
    if target is not shadow:
        _expect_finite("target", target)


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ArgumentError(f"{name} must have shape {list(shape)}, not {list(array.shape)}")


def _expect_finite(name: str, phi: np.ndarray) -> None:
    import numpy as np

    for row, values in enumerate(phi):
        finite = np.isfinite(values)
        if not finite.all():
            image = int((~finite).any(-1).argmax())
            raise ArgumentError(f"{name} phi of model {row} is NaN or infinite at image {image}")
