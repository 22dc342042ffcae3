"""How many shadow models an audit takes: scikit-learn networks on digits, eight targets, 0 to 32 shadow models.

    OMP_NUM_THREADS=1 python -m benchmarks.audit

40 networks of 64 hidden units, each trained on a random 30-70% of the 1,797 digits, 2% of whose labels are
wrong. The first eight are targets, one audit each; the shadow models are the first 0, 1, 2, ... of the rest. The
columns: the mean over the targets of TPR at 1% FPR and AUC, of the leading attack and of the loss alone; the FPR
that the shadow models' threshold achieved; how well memorization finds the wrong labels (AUC, of the records that
have in- and out-models); seconds of an audit; and how often which attack led. Above the table, what the audit of
the first target with 16 shadow models answers, all attacks tried.
"""

import time
import warnings
from collections import Counter

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from leakgap.answers.answers import Answers
from leakgap.attacks import ATTACKS
from leakgap.audit.model import audit_model
from leakgap.measure.roc import auc

TARGETS, SHADOWS = 8, 32


def main() -> None:
    """Print a line per number of shadow models."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y)) < 0.02
    label = np.where(wrong, (y + rng.integers(1, 10, len(y))) % 10, y)
    models = []
    started = time.perf_counter()
    for k in range(TARGETS + SHADOWS):
        member = rng.random(len(y)) < rng.uniform(0.3, 0.7)
        network = MLPClassifier((64,), learning_rate_init=0.01, max_iter=200, random_state=k)
        p = network.fit(x[member] / 16, label[member]).predict_proba(x / 16)
        of = {"record": np.arange(len(y)), "label": label, "member": member, "probabilities": p}
        models.append(Answers.of(of, f"network {k}"))
    print(f"{len(models)} networks in {time.perf_counter() - started:.0f} s")

    print(*audit_model(models[0], models[TARGETS : TARGETS + 16]).about["answer"], sep="\n")
    names = [name for name in ATTACKS if name not in ("shadow-nn", "one-shadow")]
    print("shadows   TPR   AUC  loss's TPR  AUC  achieved FPR  memorization  seconds  led by")
    for shadows in (0, 1, 2, 3, 4, 8, 16, 32):
        rows, leaders, started = [], Counter(), time.perf_counter()
        for target in models[:TARGETS]:
            audit = audit_model(target, models[TARGETS : TARGETS + shadows], attacks=names)
            best, loss = (
                audit.summary.set_index("attack").loc[name] for name in (audit.about["leading"], "loss")
            )
            leaders[audit.about["leading"]] += 1
            found = audit.records.dropna(subset=["memorization"])
            memory = auc(found["memorization"].to_numpy(), wrong[found["record"]]) if len(found) else np.nan
            rates = [100 * each[name] for each in (best, loss) for name in ("tpr_at_0.01", "auc")]
            rows.append([*rates, 100 * best["achieved_fpr_at_0.01"], memory])
        tpr, area, loss_tpr, loss_area, achieved, memory = np.mean(rows, 0)
        seconds = (time.perf_counter() - started) / TARGETS
        led = ", ".join(f"{name} {count}" for name, count in leaders.most_common())
        print(
            f"{shadows:7d} {tpr:5.1f} {area:5.1f} {loss_tpr:11.1f} {loss_area:4.1f} {achieved:13.2f} "
            f"{memory:13.2f} {seconds:8.1f}  {led}",
            flush=True,
        )


if __name__ == "__main__":
    main()
