"""Random evidence for the tests of attacks."""

import numpy as np

from leakgap.attacks import Evidence, gives_away
from leakgap.data.masks import balanced_masks


def random_evidence(
    n=8,
    images=40,
    classes=4,
    views=2,
    reserved=10,
    targets="shadows",
    signal=1.0,
    spread=1.0,
    noise=1.0,
    inside=1.0,
    masks="pairs",
    seed=0,
):
    """Models whose logit of the label grows by `signal` on members.

    spread: sd between images; noise: sd between models, `inside` times as large on members. masks: "pairs", or
    "random", where an image is in any number of masks, .4 n on average.
    targets: "shadows" (every shadow model is one), "paired" (others on the same masks), "replicates" (3 others on
    mask 0), or "outside" (3 others on masks of their own). Returns the evidence and what the targets trained on,
    bool [T,S].
    """
    rng = np.random.default_rng(seed)
    member = balanced_masks(n, images, seed, reserved)
    free = ~member.any(0)
    if masks == "random":
        member = (rng.random((n, images)) < 0.4) & ~free
    labels = rng.integers(classes, size=images)
    image = rng.normal(scale=spread, size=(images, classes)) + 2 * np.eye(classes)[labels]

    def models(trained):
        logits = rng.normal(scale=noise, size=(len(trained), images, classes))
        logits *= np.where(trained, inside, 1)[..., None]
        logits += image + signal * trained[..., None] * np.eye(classes)[labels]
        return logits.astype(np.float32)

    trained = member
    if targets == "replicates":
        trained = member[[0, 0, 0]]
    elif targets == "outside":
        trained = (rng.random((3, images)) < 0.4) & ~free
    shadow = models(member)
    target = shadow if targets == "shadows" else models(trained)
    phi = {}
    for name, logits in (("shadow", shadow), ("target", target)):
        others = np.where(np.eye(classes, dtype=bool)[labels], -np.inf, logits)
        clean = np.take_along_axis(logits, labels[None, :, None], 2)[..., 0] - np.logaddexp.reduce(others, -1)
        more = clean[..., None] + rng.normal(size=(*clean.shape, views - 1))
        phi[name] = np.concatenate([clean[..., None], more], -1).astype(np.float32)
    left_out = gives_away(trained, member)
    signals = {
        name: _signals(values[..., 0], np.random.default_rng([seed, len(name)]))
        for name, values in phi.items()
    }
    evidence = Evidence(
        phi["target"],
        phi["shadow"],
        member,
        left_out,
        labels,
        free,
        target,
        shadow,
        seed=seed,
        target_signals=signals["target"],
        shadow_signals=signals["shadow"],
        base=image[np.arange(images), labels].astype(np.float32),
        features=image.astype(np.float32),
    )
    return evidence, trained


def _signals(phi, rng):
    """What sequences' answers say besides: of the least probable tokens, noisier the fewer they are."""
    return {
        f"{kind}-{k}": (phi + rng.normal(size=phi.shape) * 3 / k**0.5).astype(np.float32)
        for kind in ("min-k", "min-k++")
        for k in (5, 20)
    }
