"""False-verdict rate and power of the claims on simulated studies whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.verdicts [--studies 200] [--seed 0]

A world draws techniques from a population; TPR follows one driver plus an effect of the technique and one of the
cell. Claims 5 to 8 are judged against that population (the statistics over the cells above chance in studies of
600 techniques, without noise), claims 1 to 4 against the true TPRs of the very techniques simulated. A verdict is
*false* when it is `supported` and the quantity is not beyond the threshold, or `contradicted` and it is not short
of it: at the threshold, both. `any` is the share of studies with any false verdict, which Holm's rule is to keep
below 5%.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from leakgap.estimates import LEAVE_ONE_OUT
from leakgap.measure.estimate import KINDS, Estimate
from leakgap.measure.stability import spearman
from leakgap.measure.verdict import beyond, verdicts
from leakgap.order import between
from leakgap.paper import questions as claims
from leakgap.results import Results
from leakgap.study import Study

MEMBERS = claims.ALL.split("+")
ATTACK, FPR, STEPS = "lira-online", 0.01, 6
MASKS, IMAGES = 32, 1000  # images: members of a mask, and as many non-members
FACTORIAL = ["none", *("+".join(subset) for size in range(1, 5) for subset in combinations(MEMBERS, size))]
FIVE = ["none", "crop", "mirror", "policy", "crop+mirror+cutout+policy"]
# world -> true informed/uninformed ratio against `policy` and against all techniques
WORLDS = {
    "gap": (2.0, 1.0),
    "train accuracy": (claims.HELP, claims.MARGIN),
    "test accuracy": (0.7, 2.5),
    "null": (1.0, 1.0),
    "unrelated": (1.3, 0.95),
    "tie": (3.0, 1 / claims.MARGIN),
    "shared members": (1.0, 2.0),
}
# standard deviations of log10 TPR: of one model, one set of images, one study's single pairs, each half shared
OF_MODEL, OF_IMAGES, OF_PAIRS = 0.08, 0.03, 0.02


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
    rows = frame(names, masks, **seen, auc=0.5 + 0.1 * tpr)
    rows[f"tpr_at_{FPR:g}"] = tpr.ravel()
    rows["acc_gap"], rows["loss_gap"] = rows.train_acc - rows.test_acc, rows.test_loss - rows.train_loss
    rows = rows.assign(n_members=images, n_nonmembers=images, balanced_acc=0.5, attacker="informed")
    return in_schema(rows)


def in_schema(rows: pd.DataFrame) -> pd.DataFrame:
    """Complete the rows to a table of `Results`."""
    whole = {"study": "simulated", "epoch": rows["step"], "attack": ATTACK, "design": LEAVE_ONE_OUT}
    return rows.assign(**{column: value for column, value in whole.items() if column not in rows})


def estimated(true: np.ndarray, masks: int, rng: np.random.Generator, count: int = 400) -> list[Estimate]:
    """TPRs as a study finds them where they are `true`, with their bootstrap draws.

    Effects of models, images and single pairs, half shared by all cells. The draws of models see the effects of
    models and pairs, those of images the effects of images and pairs.
    """
    units = masks // 2

    def effects(sd: float, rows: int = 1) -> np.ndarray:
        own = rng.normal(0, sd, (rows, len(true))) + rng.normal(0, sd, (rows, 1))
        return own * np.sqrt(0.5)

    of_units = effects(OF_MODEL / np.sqrt(2), units) + effects(OF_PAIRS * np.sqrt(units), units)
    tpr = true * 10 ** (of_units.mean(axis=0) + effects(OF_IMAGES)[0])
    weight = rng.multinomial(units, np.full(units, 1 / units), count) / units
    again = {
        "models": weight @ of_units - of_units.mean(axis=0),
        "images": effects(np.hypot(OF_IMAGES, OF_PAIRS), count),
        "pairs": effects(OF_PAIRS, count),
    }
    draws = {kind: tpr * (1 + np.log(10) * again[kind]) for kind in KINDS}
    return [
        Estimate.of_draws(tpr[k], {kind: draws[kind][:, k] for kind in KINDS}, units, masks * IMAGES, "logit")
        for k in range(len(true))
    ]


def pooled_rows(
    truth: Truth,
    names: list[str],
    help_: tuple[float, float],
    masks: int,
    rng: np.random.Generator,
    count: int = 400,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pooled TPRs and their bootstrap draws, as `estimated` has them."""
    ratio = {"policy": help_[0], FACTORIAL[-1]: help_[1]}
    keys = [(name, step + 1, "informed") for name in names for step in range(STEPS)]
    keys += [(name, STEPS, "uninformed") for name in ratio if name in names]
    leak = np.array(
        [
            truth.leak[names.index(n), s - 1] - (a == "uninformed") * np.log10(ratio.get(n, 1))
            for n, s, a in keys
        ]
    )
    ends = estimated(FPR * 10**leak, masks, rng, count)
    tpr = np.array([one.value for one in ends])
    table = pd.DataFrame(keys, columns=["technique", "step", "attacker"]).assign(fpr=FPR, tpr=tpr)
    table["low"], table["high"] = [one.low for one in ends], [one.high for one in ends]
    sizes = {"n_targets": masks, "n_members": masks * IMAGES, "n_nonmembers": masks * IMAGES}
    long = pd.concat(
        [table.assign(resampled=kind, tprs=[one.draws[kind] for one in ends]) for kind in KINDS],
        ignore_index=True,
    )
    return in_schema(table.assign(**sizes)), in_schema(long)


def loss_curves(truth: Truth, names: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """ROC curves of the loss attack: two Gaussians as far apart as the losses."""
    fpr = np.geomspace(1e-3, 1, 60)
    apart = truth.test_loss - truth.train_loss + rng.normal(0, 0.02, truth.leak.shape)
    tpr = stats.norm.sf(stats.norm.isf(fpr) - apart[..., None])
    technique, step, point = np.indices(tpr.shape).reshape(3, -1)
    rows = {"technique": np.array(names, object)[technique], "step": step + 1, "attacker": "informed"}
    return in_schema(pd.DataFrame(rows | {"attack": "loss", "fpr": fpr[point], "tpr": tpr.ravel()}))


class Simulated(Results):
    """Results that were never on disk."""

    def __init__(self, tables: dict[str, pd.DataFrame]):
        attack = {"attacks": [ATTACK, "loss"], "fpr": sorted(set(tables["pooled"]["fpr"]), reverse=True)}
        super().__init__(Study.load({"name": "simulated", "attack": attack}))
        draws = _by_kind(tables["draws"], tables["pooled"])
        self.__dict__ |= tables | {"draws": draws}  # in the place of what is read


def _by_kind(draws: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Draws, one row per kind of resampling, as `Results.draws` has them: one row per TPR, a column per kind."""
    key = ["technique", "step", "attacker", "attack", "design", "fpr"]
    wide = draws.pivot(index=key, columns="resampled", values="tprs").reset_index()
    kept = wide.merge(pooled[[*key, "tpr", "n_targets", "n_members"]], on=key)
    names = {"tpr": "value", "n_members": "n_pairs"}
    return kept.rename(columns=names).assign(quantity="pooled_tpr", groups=[()] * len(kept))


def simulate(
    world: str, names: list[str], masks: int = MASKS, seed: int = 0
) -> tuple[Truth, dict[str, pd.DataFrame]]:
    """The truth and the tables that claims are made of."""
    rng = np.random.default_rng([seed, list(WORLDS).index(world), len(names)])
    truth = draw_truth(world, names, rng)
    summary, halves = (targets(truth, names, masks, images, rng) for images in (IMAGES, IMAGES // 2))
    pooled, draws = pooled_rows(truth, names, WORLDS[world], masks, rng)
    tables = {"summary": summary, "halves": halves, "pooled": pooled, "draws": draws}
    return truth, tables | {"curves": loss_curves(truth, names, rng)}


def statistics(table: pd.DataFrame) -> np.ndarray:
    """Estimands of claims 5 to 8 in a huge study: correlation, error difference, slope, both of the loss gap."""
    y, fold = table.log_tpr.to_numpy(), table.index.to_numpy() // STEPS % 20

    def x(name: str) -> np.ndarray:
        return table[name].to_numpy(float)

    test, gap, loss = (
        between.left_out_errors(x(name), y, fold).mean() for name in ("test_acc", "acc_gap", "loss_gap")
    )
    slope = between.partial_slope(x("test_acc"), y, x("acc_gap"))
    return np.array([spearman(x("acc_gap"), y), test - gap, slope, gap - loss, spearman(x("loss_gap"), y)])


def population(world: str, names: list[str], studies: int = 12, count: int = 600) -> np.ndarray:
    """Signs of the estimands: the mean over huge studies, 0 where it is within three standard errors of 0."""
    values = []
    for seed in range(studies):
        truth = draw_truth(
            world, [names[k % len(names)] for k in range(count)], np.random.default_rng([seed, count])
        )
        table = pd.DataFrame({key: values.ravel() for key, values in vars(truth).items()})
        table["acc_gap"], table["loss_gap"] = truth.acc_gap.ravel(), table.test_loss - table.train_loss
        half = np.full(MASKS, IMAGES // 2)
        told = table[table.leak > np.log10(between.censoring_floor(FPR, half, half) / FPR)]
        if told.empty:
            return np.zeros(5)
        values.append(statistics(told.assign(log_tpr=told.leak)))
    draws = np.round(values, 9)
    mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(studies)
    return np.where(np.abs(mean) > 3 * error, np.sign(mean), 0)


def signs(world: str, names: list[str], truth: Truth, beyond: np.ndarray) -> list[int]:
    """For each claim +1 where it is true, -1 where its opposite is, 0 at the threshold."""
    most = [k for k, name in enumerate(names) if name.count("+") == max(name.count("+") for name in names)]
    none, last = names.index("none"), truth.leak[:, -1]
    path = truth.leak[none]
    rises, falls = np.sign(path[-1] - path[0]), (np.diff(path) < np.log10(claims.FALL)).any()
    helps = np.sign(round(np.log(WORLDS[world][0] / claims.HELP), 9))
    equal = np.sign(round(np.log(claims.MARGIN) - abs(np.log(WORLDS[world][1])), 9))
    agrees = -1 if -1 in beyond[3:] else min(beyond[3:])
    return [
        int(sign)
        for sign in (
            np.sign(last[none] - last[most].mean()),
            -1 if falls else rises,
            helps,
            equal,
            *beyond[:3],
            agrees,
        )
    ]


def measure(world: str, names: list[str], studies: int, seed: int) -> pd.DataFrame:
    """One row per study and claim: verdict, truth; and claim 6's other intervals, which decide nothing."""
    true_of_cells, rows = population(world, names), []
    for study in range(studies):
        truth, tables = simulate(world, names, MASKS, seed + study)
        true = signs(world, names, truth, true_of_cells)
        for claim, sign in zip(claims.judge(Simulated(tables)), true, strict=True):
            rows.append({"study": study, "claim": str(claim.id), "verdict": claim.verdict, "sign": sign})
        for title, verdict in others(tables["halves"], study):
            rows.append({"study": study, "claim": title, "verdict": verdict, "sign": true[5]})
    table = pd.DataFrame(rows).assign(world=world, techniques=len(names))
    table["false"] = (table.verdict == "supported") & (table["sign"] <= 0)
    table["false"] |= (table.verdict == "contradicted") & (table["sign"] >= 0)
    table["right"] = (table.verdict == "supported") & (table["sign"] > 0)
    table["right"] |= (table.verdict == "contradicted") & (table["sign"] < 0)
    return table


def others(halves: pd.DataFrame, seed: int) -> list[tuple[str, str]]:
    """Claim 6, alone, by intervals that ignore what folds share: percentile cluster bootstrap, Student's t."""
    table = between.cells(halves, FPR)
    told = table[~table.censored]
    if told.technique.nunique() < 3:
        return [("6 bootstrap", "undecided"), ("6 plain t", "undecided")]
    each = between.error_differences(told, "test_acc", "acc_gap")
    low, high = bootstrap_interval(each, seed)
    bootstrap = "supported" if low > 0 else "contradicted" if high < 0 else "undecided"
    return [("6 bootstrap", bootstrap), ("6 plain t", verdicts([beyond(between.mean_interval(each), 0)])[0])]


def bootstrap_interval(values: np.ndarray, seed: int, draws: int = 2000) -> tuple[float, float]:
    """Percentile bootstrap over clusters of the mean of one value per cluster; too narrow where these are few."""
    rows = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


CLAIMS = [str(number) for number in range(1, 9)]


def by_world(table: pd.DataFrame) -> str:
    """A Markdown row: studies with any false verdict, then false / right verdicts of every claim, percent."""
    share = table.groupby("claim")[["false", "right"]].mean() * 100
    sign = table.groupby("claim")["sign"].agg(
        lambda values: values.iloc[0] if values.nunique() == 1 else None
    )
    marks = {1: "+", -1: "-", 0: "0"}
    wrong = table[table.claim.isin(CLAIMS)].groupby("study")["false"].any().mean() * 100
    row = [table.world.iloc[0], table.techniques.iloc[0], f"{wrong:.1f}"]
    for claim in (*CLAIMS, "6 bootstrap", "6 plain t"):
        row.append(f"{share.false[claim]:.1f} / {share.right[claim]:.1f} {marks.get(sign[claim], '±')}")
    return f"| {' | '.join(map(str, row))} |"


def by_truth(table: pd.DataFrame) -> str:
    """A Markdown table: how often each claim is decided, in percent, where it is true, false, at the border."""
    lines = [
        "| techniques | claim | truth | studies | supported | contradicted | undecided |",
        "|---" * 7 + "|",
    ]
    table = table[table.claim.isin(CLAIMS)]
    for (techniques, claim, sign), part in table.groupby(["techniques", "claim", "sign"]):
        truth = {1: "true", -1: "false", 0: "border"}[int(sign)]
        words = [
            f"{100 * (part.verdict == word).mean():.1f}"
            for word in ("supported", "contradicted", "undecided")
        ]
        lines.append(f"| {techniques} | {claim} | {truth} | {len(part)} | {' | '.join(words)} |")
    return "\n".join(lines)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    header = ["world", "techniques", "any", *CLAIMS, "6 bootstrap", "6 plain t"]
    print(
        f"{options.studies} studies each; false % / right % of verdicts (+ true, - false, 0 neither, ± both occur)"
    )
    print(f"| {' | '.join(header)} |")
    print("|---" * len(header) + "|")
    tables = []
    for world in WORLDS:
        for names in (FIVE, FACTORIAL):
            tables.append(measure(world, names, options.studies, options.seed))
            print(by_world(tables[-1]), flush=True)
    print("\n" + by_truth(pd.concat(tables)))


if __name__ == "__main__":
    main()
