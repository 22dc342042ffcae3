"""LiRA as the paper writes it: slow, plain, and what the tests of `lira` compare with."""

import numpy as np
from scipy.stats import norm


def definition(target, shadow, member, left_out, mode="online", variance="per-example", tail="one-sided"):
    """LiRA score of every target and image, float64 [T,S]; arguments as in `lira.leave_one_out`.

    Carlini et al. 2022, algorithm 1 (online) and equation 4 (offline), one target after the other.
    """
    scores = []
    for phi, gone in zip(target.astype(float), left_out, strict=True):
        models, trained = shadow[~gone].astype(float), member[~gone, :, None]
        inside, outside = np.where(trained, models, np.nan), np.where(trained, np.nan, models)  # [models,S,V]
        mean = np.nanmean if variance == "within" else np.nanmedian
        mu_in, mu_out = mean(inside, axis=0), mean(outside, axis=0)  # [S,V]
        sd_in, sd_out = _sd(inside, variance) + 1e-30, _sd(outside, variance) + 1e-30
        if variance == "within":  # a side without two models for any image takes the other's spread, or 1
            alone_in, alone_out = ((~np.isnan(side)).sum(0).max() < 2 for side in (inside, outside))
            other_in, other_out = sd_in, sd_out
            if mode == "offline":
                alone_in = True
            if alone_in:
                sd_in = 1.0 if alone_out else other_out
            if alone_out:
                sd_out = 1.0 if alone_in else other_in
        if mode == "online":
            sd_out = sd_in if variance == "fixed" else sd_out
            term = norm.logpdf(phi, mu_in, sd_in) - norm.logpdf(phi, mu_out, sd_out)
        elif tail == "one-sided":
            term = norm.logcdf(phi, mu_out, sd_out)
        else:
            term = -norm.logpdf(phi, mu_out, sd_out)
        scores.append(term.mean(-1))
    return np.array(scores)


def _sd(values, variance):
    """Standard deviation of one side's phi [models,S,V], NaN where a model isn't on it: [S,V], or one for all."""
    if variance == "fixed":
        return np.nanstd(values)
    count = (~np.isnan(values)).sum(0)
    if variance == "within":
        squares = np.nansum((values - np.nanmean(values, axis=0)) ** 2)
        return np.sqrt(squares / max(np.maximum(count - 1, 0).sum(), 1))
    return np.where((count > 1) | (len(values) <= 2), np.nanstd(values, axis=0), np.nan)
