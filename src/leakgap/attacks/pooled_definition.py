"""`lira-pooled` one target and image at a time: slow, plain, and what the tests of `pooled` compare with."""

import numpy as np
from scipy.stats import norm

from leakgap.attacks.pooled import CANDIDATES, PRIOR, SAMPLE, STRATA, TRIALS, UNSTEADY, WIDER


def definition(target, shadow, member, left_out):
    """Score every target and image of one view, float64 [T,S]: target [T,S], shadow [N,S], no image reserved."""
    target, shadow = target.astype(float), shadow.astype(float)
    scores = []
    for phi, left in zip(target, left_out, strict=True):
        mu, sd = models(shadow[~left], member[~left], *choice(shadow, member, left))
        p, inside = 1 / (1 + np.exp(-shadow[~left])), member[~left]
        average = [(p[inside[:, x], x].mean() + p[~inside[:, x], x].mean()) / 2 for x in range(len(phi))]
        base = -np.log1p(np.exp(-phi)) - np.log(average)
        weight = 1 if len(inside) > 2 else 2
        scores.append(norm.logpdf(phi, mu[1], sd[1]) - norm.logpdf(phi, mu[0], sd[0]) + weight * base)
    return np.array(scores)


def models(shadow, member, like_models, like_spread, width):
    """Mean and standard deviation of phi out and in, [2,S] each, of images that all have out- and in-models."""
    images = range(shadow.shape[1])
    sides = [[shadow[member[:, x] == side, x] for x in images] for side in (False, True)]
    count = np.array([[len(values) for values in side] for side in sides])
    mean = np.array([[values.mean() for values in side] for side in sides])
    squares = np.array([[((values - values.mean()) ** 2).sum() for values in side] for side in sides])
    middle, effect, weight = mean.mean(0), mean[1] - mean[0], 1 / (1 / count).sum(0)

    strata = max(1, min(STRATA, len(middle) // 8))
    some = np.sort(middle[:: max(1, len(middle) // SAMPLE)])
    borders = [some[i * len(some) // strata] for i in range(1, strata)]
    stratum = np.array([sum(border < m for border in borders) for m in middle])

    def near(x, width):
        return np.abs(stratum - stratum[x]) <= max(1, round(width * strata))

    lines = [
        np.polyfit(middle[n], effect[n], 1, w=weight[n] ** 0.5) for n in (near(x, width) for x in images)
    ]
    like_effect = np.array([np.polyval(line, middle[x]) for x, line in enumerate(lines)])
    close = [near(x, WIDER * width) for x in images]
    if (count > 1).any(1).all():
        like = [squares[:, n].sum(1) / (count[:, n] - 1).sum(1) for n in close]
    else:
        noise = np.array([((effect - like_effect) ** 2 * weight)[n].mean() for n in close])
        ratio = 1 + UNSTEADY * np.maximum(like_effect, 0) / np.sqrt(noise)
        like = np.transpose([2 * noise * ratio / (1 + ratio), 2 * noise / (1 + ratio)])

    own = 2 * weight / (2 * weight + like_models)
    effect = like_effect + own * (effect - like_effect)
    variance = (like_spread * np.transpose(like) + squares) / (like_spread + count - 1)
    variance = variance + (variance / count).sum(0) / 4
    return np.array([middle - effect / 2, middle + effect / 2]), np.sqrt(variance)


def choice(shadow, member, left):
    """Choose strengths and width against a target that leaves out the models `left`, bool [N]; masks in pairs.

    At most LOOKS sets of models are left out, so that all SAMPLE images are looked at.
    """
    few = slice(None, None, max(1, -(-shadow.shape[1] // SAMPLE)))
    shadow, member = shadow[~left, few], member[~left, few]
    pairs = []
    for row in sorted(range(len(member)), key=lambda row: member[row].tobytes()):
        other = next((k for k in range(len(member)) if (member[k] == ~member[row]).all()), row)
        if sorted((row, other)) not in pairs:
            pairs.append(sorted((row, other)))
    if len(pairs) < 3:
        return PRIOR
    gains = []
    for candidate in CANDIDATES:
        gain = 0.0
        for pair in pairs[:: -(-len(pairs) // TRIALS)]:
            rest = np.setdiff1d(np.arange(len(member)), pair)
            mu, sd = models(shadow[rest], member[rest], *candidate)
            ratio = norm.logpdf(shadow[pair], mu[1], sd[1]) - norm.logpdf(shadow[pair], mu[0], sd[0])
            inside = member[pair]
            gain -= np.log1p(np.exp(-ratio[inside])).mean() + np.log1p(np.exp(ratio[~inside])).mean()
        gains.append(gain)
    return CANDIDATES[int(np.argmax(gains))]
