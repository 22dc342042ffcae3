"""What is to be seen in the figures, said with their numbers: alt texts for those who don't see them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from leakgap.estimates import at_fpr
from leakgap.measure.stability import spearman
from leakgap.numbers import ends, share, times
from leakgap.report.chance import exposed_images
from leakgap.report.decision import answer, decisions, summary, told
from leakgap.report.figures.forest import effects
from leakgap.report.figures.scatter import Dots
from leakgap.report.figures.setting import Setting, in_order, smallest_fpr
from leakgap.report.figures.style import percent, tpr_at


def front(setting: Setting) -> str:
    """Which variants nothing beats."""
    found = decisions(setting.results)
    return " ".join([answer(found[0]), *summary(found)[:1]]).replace("`", "")


def highest_and_lowest(setting: Setting) -> str:
    """Pooled TPRs of the variants at the last step."""
    rows, said = _headline(setting, last=True), []
    for fpr in setting.study.attack.fpr:
        here = at_fpr(rows, fpr).dropna(subset="tpr")
        if len(here):
            most, least = here.iloc[here["tpr"].argmax()], here.iloc[here["tpr"].argmin()]
            said.append(f"{tpr_at(fpr)}: highest {_named(most)}, lowest {_named(least)}")
    return "; ".join(said) + "." if said else "No pooled TPR is defined: too few non-members."


def above_chance(setting: Setting) -> str:
    """How many cells leak beyond doubt, and which the most."""
    said = []
    for fpr in setting.study.attack.fpr:
        here = at_fpr(_headline(setting), fpr).dropna(subset="tpr")
        if len(here):
            most = here.iloc[here["tpr"].argmax()]
            clear = int((here["low"] > fpr).sum())
            said.append(
                f"{clear} of {len(here)} pooled TPRs at {percent(fpr)}% FPR are above chance by their "
                f"intervals, the highest {_named(most)} at step {most['step']}"
            )
    return "; ".join(said) + "." if said else "No pooled TPR is defined: too few non-members."


def first_and_last_step(setting: Setting) -> str:
    """How the TPR moves with the step: the variants with the largest and the smallest change."""
    rows, last = _headline(setting), setting.results.last
    fpr = smallest_fpr(setting, rows)
    moves = []
    for technique, part in in_order(setting, at_fpr(rows, fpr)):
        tpr = part.set_index("step")["tpr"]
        moves.append(
            (float(tpr[last] - tpr[1]), f"{technique} from {_percent(tpr[1])} to {_percent(tpr[last])}")
        )
    most, least = max(moves)[1], min(moves)[1]
    ends = most if len(moves) == 1 else f"{most} at one end, {least} at the other"
    return f"The {tpr_at(fpr)} from step 1 to step {last}: {ends}."


def largest_effect(setting: Setting) -> str:
    """The main effect that is farthest from none."""
    halves = {
        name: sides for name, sides in effects(setting.study.augmentations).items() if " x " not in name
    }
    fpr = smallest_fpr(setting, _headline(setting, last=True))
    found = {}
    for name, sides in halves.items():
        even, odd = ([setting.results.cell(one, design=setting.design) for one in side] for side in sides)
        effect = setting.results.contrast(even, odd, fpr)
        if not np.isnan(effect.value):
            found[name] = effect
    if not found:
        return f"No main effect at {percent(fpr)}% FPR is defined."
    name = max(found, key=lambda one: abs(found[one].on_scale))
    value, low, high = found[name][:3]
    told = f"{name}, the TPR times {times(value)} {ends(low, high, times)}"
    return f"Largest main effect at {percent(fpr)}% FPR: {told}."


def strongest_and_weakest(setting: Setting) -> str:
    """The attacks of most and least TPR, for each variant's last step."""
    rows = setting.pooled[setting.pooled["step"] == setting.results.last]
    fpr = smallest_fpr(setting, rows)
    said = []
    for technique, part in in_order(setting, at_fpr(rows, fpr)):
        most, least = part.iloc[part["tpr"].argmax()], part.iloc[part["tpr"].argmin()]
        said.append(
            f"{technique}: {most['attack']} {_percent(most['tpr'])}, {least['attack']} "
            f"{_percent(least['tpr'])}"
        )
    return f"Attack with the highest and with the lowest {tpr_at(fpr)}. {'; '.join(said)}."


def few_and_many(setting: Setting) -> str:
    """What more shadow models give, by variant."""
    rows = setting.results.shown(setting.results.shadows)
    rows = rows[rows["attack"] == setting.study.attack.headline]
    few, many = rows["n_shadows"].min(), rows["n_shadows"].max()
    fpr, said = max(setting.study.attack.fpr), []
    for technique, part in in_order(setting, at_fpr(rows, fpr)):
        ends = part.set_index("n_shadows")["tpr"]
        said.append(f"{technique} from {_percent(ends[few])} to {_percent(ends[many])}")
    return f"{tpr_at(fpr)} with {few} and with {many} shadow models: {', '.join(said)}."


def worth_of_knowing(setting: Setting) -> str:
    """For which variants the two attackers are told apart."""
    names = [name for name in setting.techniques if name != setting.study.attack.baseline]
    fpr, better, worse = max(setting.study.attack.fpr), list[str](), list[str]()
    for name in names:
        pair = [
            setting.results.cell(name, attacker=one, design=setting.design)
            for one in ("informed", "uninformed")
        ]
        found = setting.results.contrast(pair[0], pair[1], fpr, "difference")
        if told(found, 0):
            (better if found.value > 0 else worse).append(f"{name} ({100 * found.value:+.2f} points)")
    said = [f"helps against {', '.join(better)}"] if better else []
    said += [f"harms against {', '.join(worse)}"] if worse else []
    rest = len(names) - len(better) - len(worse)
    said += [f"can't be told to do either against {rest} of {len(names)} variants"] if rest else []
    return f"At {percent(fpr)}% FPR knowing the variant {'; '.join(said)}."


def correlation(column: str) -> Callable[[Setting], str]:
    """Return what says the rank correlation of all dots, and how many are censored."""

    def found(setting: Setting) -> str:
        dots = Dots.of(setting, column)
        rho = spearman(dots.x, dots.y)
        return (
            f"Spearman's rank correlation over {len(dots.x)} targets and steps: {rho:.2f}; of these "
            f"{dots.censored.sum()} are censored at {percent(dots.fpr)}% FPR."
        )

    return found


def correlations(column: str) -> Callable[[Setting], str]:
    """Return what says the rank correlation within each variant."""

    def found(setting: Setting) -> str:
        dots, names = Dots.of(setting, column), setting.targets["technique"].to_numpy()
        said = []
        for name, _ in in_order(setting, setting.targets):
            here = names == name
            said.append(f"{name} {spearman(dots.x[here], dots.y[here]):.2f}")
        return f"Spearman's rank correlation within each variant: {', '.join(said)}."

    return found


def most_often(setting: Setting) -> str:
    """How many images are shown of each variant, and the first of them."""
    names, said = setting.results.attacked(setting.pool).names, []
    for technique, rows in in_order(setting, exposed_images(setting.exposure)):
        first = rows.iloc[0]
        which = (
            f"number {first['image']} of class {first['label']}" if names is None else names[first["image"]]
        )
        caught = f"{which}, by {first['caught']} of {first['targets']} models"
        said.append(f"{technique}: {len(rows)}, most often {caught}")
    return f"Images caught more often than chance explains. {'; '.join(said)}."


def _headline(setting: Setting, *, last: bool = False) -> pd.DataFrame:
    rows = setting.pooled[setting.pooled["attack"] == setting.study.attack.headline]
    return rows[rows["step"] == setting.results.last] if last else rows


def _percent(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{100 * value:.2f}%"


def _named(row: Any) -> str:
    return f"{row['technique']} ({share(row['tpr'], row['low'], row['high'])})"
