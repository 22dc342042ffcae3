"""Three small tables of public packages, for studies on data that no rule of a forecast was chosen on."""

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from statsmodels.datasets import anes96, fair


def affairs() -> dict[str, np.ndarray]:
    """Women of a magazine's survey, 8 answers each; predicted is whether they had an affair. No two are alike."""
    table = fair.load_pandas().data.drop_duplicates()
    return _arrays(table.drop(columns="affairs"), table["affairs"] > 0)


def votes() -> dict[str, np.ndarray]:
    """944 voters of 1996, 9 facts each; predicted is the party that they feel near to, in seven degrees."""
    table = anes96.load_pandas().data.drop(columns=["logpopul"])
    return _arrays(table.drop(columns="PID"), table["PID"])


def tumours() -> dict[str, np.ndarray]:
    """569 tumours, 30 measures of their cells each; predicted is whether they are benign."""
    features, labels = load_breast_cancer(return_X_y=True, as_frame=True)
    return _arrays(features, labels)


def _arrays(features: pd.DataFrame, labels: pd.Series) -> dict[str, np.ndarray]:
    return {"features": features.to_numpy(np.float32), "labels": labels.to_numpy(np.int64)}
