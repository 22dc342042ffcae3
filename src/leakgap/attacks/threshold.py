"""Global thresholds: one statistic of the target's own output, the same threshold for every image.

All use the clean view (view 0) and no shadow model; reserved images are scored like any other.
"""

from __future__ import annotations

import numpy as np

from leakgap.attacks import Evidence


def loss(evidence: Evidence) -> np.ndarray:
    """-l, minus the cross-entropy loss l = softplus(-phi) (Yeom et al. 2018, adversary 2); float32 [T,S]."""
    return -np.logaddexp(0, -evidence.target[..., 0])
