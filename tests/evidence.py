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
    seed=0,
):
    """Models whose logit of the label grows by `signal` on members; `spread` is the sd between images.

    targets: "shadows" (every shadow model is a target), "paired" (others on the same masks), or "replicates"
    (3 others on mask 0). Returns the evidence and the membership of the targets, bool [T,S].
    """
    rng = np.random.default_rng(seed)
    member = balanced_masks(n, images, seed, reserved)
    labels = rng.integers(classes, size=images)
    image = rng.normal(scale=spread, size=(images, classes)) + 2 * np.eye(classes)[labels]

    def models(inside):
        logits = image + rng.normal(scale=noise, size=(len(inside), images, classes))
        logits += signal * inside[..., None] * np.eye(classes)[labels]
        return logits.astype(np.float32)

    masks = member[np.zeros(3, int) if targets == "replicates" else np.arange(n)]
    shadow = models(member)
    target = shadow if targets == "shadows" else models(masks)
    phi = {}
    for name, logits in (("shadow", shadow), ("target", target)):
        others = np.where(np.eye(classes, dtype=bool)[labels], -np.inf, logits)
        clean = np.take_along_axis(logits, labels[None, :, None], 2)[..., 0] - np.logaddexp.reduce(others, -1)
        more = clean[..., None] + rng.normal(size=(*clean.shape, views - 1))
        phi[name] = np.concatenate([clean[..., None], more], -1).astype(np.float32)
    free = ~member.any(0)
    left_out = gives_away(masks, member)
    evidence = Evidence(
        phi["target"], phi["shadow"], member, left_out, labels, free, target, shadow, seed=seed
    )
    return evidence, masks
