"""Attacks on models of sequences, from what answers say of a record beside its mean loss, and from a base model.

A sequence's answers carry `signals` (see `leakgap.answers`): "min-k-5" is the mean log-probability of the 5% of its
tokens that are the least probable, "min-k++-5" the same of the standardized log-probabilities. Higher means member.
"""

from __future__ import annotations

import numpy as np

from leakgap import LeakgapError
from leakgap.attacks import Evidence
from leakgap.attacks.sums import left_out_together
from leakgap.attacks.threshold import cross_entropy
from leakgap.measure import roc

USUAL = 20  # percent of the tokens: Shi et al.'s, where there are no shadow models to choose on


def min_k(evidence: Evidence, signal: str, calibrated: bool = False) -> np.ndarray:
    """Min-k% or min-k%++ with the k that tells the shadow models' members best; float32 [T,S].

    Shi et al. 2023, "Detecting pretraining data from large language models" (arXiv 2310.16789, equation 1): the
    mean log-probability of the k% of tokens that are the least probable. Zhang et al. 2024, "Min-K%++" (arXiv
    2404.02936, equation 3): the same of (log p - mu) / sigma, mu and sigma of log p over the vocabulary under the
    model's own prediction. `signal` is "min-k" or "min-k++".

    k is that of the largest AUC on the shadow models that are not left out, of all records that are not reserved;
    without shadow models 20, or the largest there is. calibrated: less the mean over the out-models, NaN where
    there is none, as Watson et al. 2021 do with the loss (see `calibrated_loss`); k is chosen on the plain
    values.
    """
    names = [name for name in evidence.target_signals if name.rpartition("-")[0] == signal]
    if not names:
        raise LeakgapError(f"{signal} needs answers of sequences, log-probabilities of tokens, in every file")
    names.sort(key=lambda name: float(name.rpartition("-")[2]))
    images = np.flatnonzero(~evidence.reserved)
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    for rows, targets in left_out_together(evidence.left_out):
        kept = np.setdiff1d(np.arange(len(evidence.shadow)), rows)
        inside = evidence.member[np.ix_(kept, images)]
        usual = next((name for name in names if name == f"{signal}-{USUAL}"), names[-1])
        chosen = usual
        if inside.any() and not inside.all():
            shadow = {name: evidence.shadow_signals[name][np.ix_(kept, images)] for name in names}
            chosen = max(names, key=lambda name: roc.auc(shadow[name], inside))
        values = evidence.target_signals[chosen][np.ix_(targets, images)].astype(float)
        if calibrated and not len(kept):
            continue
        if calibrated:
            out, shadow_values = ~inside, evidence.shadow_signals[chosen][np.ix_(kept, images)].astype(float)
            with np.errstate(invalid="ignore"):
                values -= np.where(out, shadow_values, 0).sum(0) / out.sum(0)
        scores[np.ix_(targets, images)] = values
    return scores


def pretrained_loss(evidence: Evidence) -> np.ndarray:
    """Loss of the base model less that of the target, on the clean view; float32 [T,S].

    Carlini et al. 2021, "Extracting training data from large language models", section 5 (a second model's
    perplexity as the reference), and Mireshghallah et al. 2022, "Quantifying privacy risks of masked language
    models" (the pretrained model as the reference of a fine-tuned one): what the record's own difficulty explains
    is taken away, without any shadow model.
    """
    if evidence.base is None:
        raise LeakgapError(
            "pretrained-loss needs the answers of a model that was trained on none of the records"
        )
    score = cross_entropy(evidence.base.astype(float)) - cross_entropy(evidence.target[..., 0].astype(float))
    return np.where(evidence.reserved, np.nan, score).astype(np.float32)
