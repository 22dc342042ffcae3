"""False-verdict rate and power of the claims on simulated studies whose truth is known.

    python -m benchmarks.verdicts [--studies 200] [--seed 0]

A world draws techniques from a population; TPR follows one driver plus an effect of the technique and one of the
cell. Claims 5 to 8 are judged against that population (the statistics in studies of 600 techniques, without noise),
claims 1 to 4 against the true TPRs of the very techniques simulated. A verdict is *false* when it is `supported`
and the quantity is not beyond the threshold, or `contradicted` and it is not short of it: at the threshold, both.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from leakgap.claims import between as predict
from leakgap.claims import questions as claims

MEMBERS = claims.ALL.split("+")
ATTACK, FPR, STEPS = "lira-online", 0.01, 6
MASKS, IMAGES = 32, 1000  # images: members of a mask, and as many non-members
FACTORIAL = ["none", *("+".join(subset) for size in range(1, 5) for subset in combinations(MEMBERS, size))]
FIVE = ["none", "crop", "mirror", "policy", "crop+mirror+cutout+policy"]
# world -> true informed/uninformed ratio against `policy` and against all techniques
WORLDS = {
    "gap": (2.0, 0.8),
    "train accuracy": (claims.HELP, claims.HELP),
    "test accuracy": (0.7, 1.5),
    "null": (1.0, 1.0),
    "unrelated": (1.3, 0.95),
    "tie": (3.0, 1.0),
    "shared members": (1.0, 2.0),
}


@dataclass(frozen=True)
class Truth:
    """What no study sees: accuracies, losses and log10(TPR / FPR), each [techniques, steps]."""

    train_acc: np.ndarray
    test_acc: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray
    leak: np.ndarray

    @property
    def acc_gap(self) -> np.ndarray:
        return self.train_acc - self.test_acc


def draw_truth(world: str, names: list[str], rng: np.random.Generator) -> Truth:
    """Techniques of a world: in `tie` gap and test accuracy are exchangeable, `shared members` leak by member."""
    count, time = len(names), np.linspace(0, 1, STEPS)
    slow, benefit = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], count).T[..., None]
    train = 1 / (1 + np.exp(-(1.0 + 3.5 * time - (0.8 * slow + 0.6) * (0.3 + time))))
    test = 0.62 + 0.12 * np.sqrt(time) + 0.05 * benefit * time + rng.normal(0, 0.006, (count, STEPS))
    if world == "tie":
        up, down = rng.normal(0, 0.05, (2, count, 1)) + 0.1 * time + rng.normal(0, 0.006, (2, count, STEPS))
        train, test = 0.8 + up - down, 0.65 - down
    gap = train - test
    drift = rng.normal(0, 0.08, (count, 1)) + rng.normal(0, 0.03, (count, STEPS))
    if world == "shared members":
        table = np.array([[member in name.split("+") for member in MEMBERS] for name in names])
        drift = drift + table @ rng.normal(0, 0.08, (len(MEMBERS), 1))
    leak = {
        "gap": 3.5 * (gap - 0.12),
        "shared members": 3.5 * (gap - 0.12),
        "train accuracy": 4.0 * (train - 0.75),
        "test accuracy": 4.0 * (0.82 - test),
        "null": np.zeros_like(gap),
        "unrelated": 0.6 + 2 * drift,
        "tie": 0.1 + 2.0 * (gap + 0.95 - test - 0.35),
    }[world]
    if world != "null":
        leak = np.clip(leak + drift, 0, 1.8)
    scale = np.exp(rng.normal(0, 0.1, (count, 1)))
    return Truth(
        train, test, 1.2 * (1 - np.minimum(train, 0.999)) * scale, 1.1 * (1 - test) * (1 + time) * scale, leak
    )


def frame(names: list[str], masks: int, **values: np.ndarray) -> pd.DataFrame:
    """One row per technique, mask, step from arrays [techniques, masks, steps]."""
    index = np.indices((len(names), masks, STEPS)).reshape(3, -1)
    labels = pd.Categorical.from_codes(index[0], names).astype(str)
    keys = {
        "technique": labels,
        "mask": np.array([f"m{k:03d}" for k in range(masks)])[index[1]],
        "step": index[2] + 1,
    }
    return pd.DataFrame(
        keys | {name: np.broadcast_to(v, (len(names), masks, STEPS)).ravel() for name, v in values.items()}
    )


def targets(
    truth: Truth, names: list[str], masks: int, images: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows as in summary.parquet: accuracies with sampling noise, TPRs with the conformal threshold's noise."""
    shape = (len(names), masks, STEPS)
    hard = rng.normal(0, 0.008, (1, masks, 1))
    seen = {
        name: getattr(truth, name)[:, None] for name in ("train_acc", "test_acc", "train_loss", "test_loss")
    }
    own = rng.normal(0, 1, (3, *shape))
    seen["train_acc"] = seen["train_acc"] + own[0] * 0.004
    seen["test_acc"] = seen["test_acc"] + hard + own[1] * np.sqrt(0.2 / images)
    seen["test_loss"] = seen["test_loss"] - 3 * hard + own[2] * np.sqrt(0.8 / images)
    above = (truth.leak > 0)[:, None]
    k = int(FPR * (images + 1))
    passed = rng.beta(k, images + 1 - k, shape) / (k / (images + 1))
    wobble = above * (rng.normal(0, 0.05, (1, masks, 1)) + rng.normal(0, 0.05, shape))
    tpr = rng.binomial(images, np.minimum(1, FPR * 10 ** (truth.leak[:, None] + wobble) * passed)) / images
    rows = frame(names, masks, **seen, n_members=images, n_nonmembers=images, auc=0.5 + 0.1 * tpr)
    rows["tpr_at_0.01"] = tpr.ravel()
    rows["tpr_at_0.001"] = np.nan
    rows["acc_gap"], rows["loss_gap"] = rows.train_acc - rows.test_acc, rows.test_loss - rows.train_loss
    return rows.assign(
        study="simulated", epoch=rows.step, attacker="informed", attack=ATTACK, balanced_acc=0.5
    )


def pooled_rows(
    truth: Truth,
    names: list[str],
    help_: tuple[float, float],
    masks: int,
    rng: np.random.Generator,
    draws: int = 400,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pooled TPRs and replicates: effects of masks and images, partly shared by all cells, both resampled."""
    ratio = {"policy": help_[0], FACTORIAL[-1]: help_[1]}
    keys = [(name, step + 1, "informed") for name in names for step in range(STEPS)]
    keys += [(name, STEPS, "uninformed") for name in ratio if name in names]
    leak = np.array(
        [
            truth.leak[names.index(n), s - 1] - (a == "uninformed") * np.log10(ratio.get(n, 1))
            for n, s, a in keys
        ]
    )

    def images(count: int) -> np.ndarray:
        return rng.normal(0, 0.03, (count, 1)) + rng.normal(0, 0.025, (count, len(keys)))

    mask = rng.normal(0, 0.08, (masks, 1)) + rng.normal(0, 0.08, (masks, len(keys)))
    tpr = FPR * 10 ** (leak + mask + images(1))
    weight = rng.multinomial(masks, np.full(masks, 1 / masks), draws) / masks
    again = weight @ tpr * 10 ** images(draws)
    table = pd.DataFrame(keys, columns=["technique", "step", "attacker"])
    table = table.assign(study="simulated", design="leave-one-out", attack=ATTACK, fpr=FPR)
    low, high = np.quantile(again, [0.025, 0.975], axis=0)
    sizes = {"n_targets": masks, "n_members": masks * IMAGES, "n_nonmembers": masks * IMAGES}
    pooled = table.assign(epoch=table.step, tpr=tpr.mean(axis=0), low=low, high=high, **sizes)
    long = table.loc[np.repeat(table.index, draws)].reset_index(drop=True)
    return pooled, long.assign(replicate=np.tile(np.arange(draws), len(keys)), tpr=again.T.ravel())


def simulate(
    world: str, names: list[str], masks: int = MASKS, seed: int = 0
) -> tuple[Truth, dict[str, pd.DataFrame]]:
    """The truth and the four tables that `claims.judge` takes."""
    rng = np.random.default_rng([seed, list(WORLDS).index(world), len(names)])
    truth = draw_truth(world, names, rng)
    summary, halves = (targets(truth, names, masks, images, rng) for images in (IMAGES, IMAGES // 2))
    pooled, replicates = pooled_rows(truth, names, WORLDS[world], masks, rng)
    return truth, {"summary": summary, "halves": halves, "pooled": pooled, "replicates": replicates}


def statistics(table: pd.DataFrame) -> np.ndarray:
    """Estimands of claims 5 to 8 in a huge study: correlation, error difference, slope, both of the loss gap."""
    y, fold = table.log_tpr.to_numpy(), np.arange(len(table)) // STEPS % 20

    def x(name: str) -> np.ndarray:
        return table[name].to_numpy(float)

    test, gap, loss = (
        predict.left_out_errors(x(name), y, fold).mean() for name in ("test_acc", "acc_gap", "loss_gap")
    )
    slope = predict.partial_slope(x("test_acc"), y, x("acc_gap"))
    return np.array(
        [predict.spearman(x("acc_gap"), y), test - gap, slope, gap - loss, predict.spearman(x("loss_gap"), y)]
    )


def population(world: str, names: list[str], studies: int = 12, count: int = 600) -> np.ndarray:
    """Signs of the estimands: the mean over huge studies, 0 where it is within three standard errors of 0."""
    values = []
    for seed in range(studies):
        truth = draw_truth(
            world, [names[k % len(names)] for k in range(count)], np.random.default_rng([seed, count])
        )
        table = pd.DataFrame({key: values.ravel() for key, values in vars(truth).items()})
        table["acc_gap"], table["loss_gap"] = truth.acc_gap.ravel(), table.test_loss - table.train_loss
        floor = np.log10(predict.censoring_floor(FPR, IMAGES // 2, IMAGES // 2, MASKS) / FPR)
        values.append(statistics(table.assign(log_tpr=np.maximum(table.leak, floor))))
    draws = np.nan_to_num(values).round(9)  # no correlation where all TPRs are equal
    mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(studies)
    return np.where(np.abs(mean) > 3 * error, np.sign(mean), 0)


def signs(world: str, names: list[str], truth: Truth, beyond: np.ndarray) -> list[int]:
    """For each claim +1 where it is true, -1 where its opposite is, 0 at the threshold."""
    most = [k for k, name in enumerate(names) if name.count("+") == max(name.count("+") for name in names)]
    none, last = names.index("none"), truth.leak[:, -1]
    path = truth.leak[none]
    rises, falls = np.sign(path[-1] - path[0]), (np.diff(path) < np.log10(claims.FALL)).any()
    helps = [np.sign(round(np.log(ratio / claims.HELP), 9)) for ratio in WORLDS[world]]
    agrees = -1 if -1 in beyond[3:] else min(beyond[3:])
    return [
        int(sign)
        for sign in (
            np.sign(last[none] - last[most].mean()),
            -1 if falls else rises,
            helps[0],
            -helps[1],
            *beyond[:3],
            agrees,
        )
    ]


def measure(world: str, names: list[str], studies: int, seed: int) -> pd.DataFrame:
    """One row per study and claim: verdict, truth; and claim 6's other intervals, which decide nothing."""
    beyond, rows = population(world, names), []
    for study in range(studies):
        truth, tables = simulate(world, names, MASKS, seed + study)
        true = signs(world, names, truth, beyond)
        for claim, sign in zip(claims.judge(**tables, attack=ATTACK, seed=study), true, strict=True):
            rows.append({"claim": str(claim.id), "verdict": claim.verdict, "sign": sign})
            for title, other in others(tables["halves"], study) if claim.id == 6 else ():
                rows.append({"claim": title, "verdict": other.verdict(0), "sign": sign})
    table = pd.DataFrame(rows)
    table["false"] = (table.verdict == "supported") & (table["sign"] <= 0)
    table["false"] |= (table.verdict == "contradicted") & (table["sign"] >= 0)
    table["right"] = (table.verdict == "supported") & (table["sign"] > 0)
    table["right"] |= (table.verdict == "contradicted") & (table["sign"] < 0)
    return table


def others(halves: pd.DataFrame, seed: int) -> list[tuple[str, predict.Estimate]]:
    """Claim 6 by the intervals that ignore what folds share: percentile cluster bootstrap, plain Student's t."""
    table = predict.cells(halves, FPR)
    _, each = predict.error_difference("", table, "test_acc", "acc_gap")
    return [
        ("6 bootstrap", predict.bootstrap_interval("", each, seed)),
        ("6 plain t", predict.mean_interval("", each)),
    ]


def main() -> None:
    """Print one Markdown row per world and size: false verdicts / right verdicts, in percent, of every claim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    header = [*map(str, range(1, 9)), "6 bootstrap", "6 plain t"]
    print(
        f"{options.studies} studies each; false % / right % of verdicts (+ true, - false, 0 neither, ± both occur)"
    )
    print("| world | techniques |", " | ".join(header), "|")
    print("|---" * (len(header) + 2) + "|")
    for world in WORLDS:
        for names in (FIVE, FACTORIAL):
            table = measure(world, names, options.studies, options.seed)
            share = table.groupby("claim")[["false", "right"]].mean() * 100
            sign = table.groupby("claim")["sign"].agg(
                lambda values: values.iloc[0] if values.nunique() == 1 else None
            )
            marks = {1: "+", -1: "-", 0: "0"}
            cells = [f"{share.false[c]:.1f} / {share.right[c]:.1f} {marks.get(sign[c], '±')}" for c in header]
            print(f"| {world} | {len(names)} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
