"""The images that give themselves away."""

from math import ceil
from pathlib import PurePath

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leakgap import LeakgapError
from leakgap.data.pool import Pool
from leakgap.report.chance import exposed_images
from leakgap.report.figures.setting import LeftOut, Setting, in_order
from leakgap.report.figures.style import canvas
from leakgap.text import plain

ROWS, COLUMNS = 3, 10


def most_exposed(setting: Setting) -> Figure:
    """Draw the images that are caught more often than chance explains, of each technique."""
    parts = in_order(setting, exposed_images(setting.exposure))
    if not parts:
        raise LeftOut("no image is caught more often at 1% FPR than chance explains")
    pool = setting.results.attacked(setting.pool)
    try:
        images, kinds = pool.images, _kinds(pool)
    except LeakgapError as error:
        raise LeftOut(str(error)) from None
    rows = [min(ROWS, ceil(len(shown) / COLUMNS)) for _, shown in parts]
    figure = canvas(9, 0.7 + sum(0.4 + count for count in rows), f"Most exposed images\n{setting.whose}")
    panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, count, (technique, shown) in zip(panels, rows, parts, strict=True):
        axes.set_title(technique, fontsize=9, fontweight="bold")
        _tile(axes, shown.head(ROWS * COLUMNS), images, kinds, count)
    return figure


def _kinds(pool: Pool) -> np.ndarray:
    """The class of each image: the folder in its name, or its label."""
    if pool.names is None:
        return pool.labels
    folders = [PurePath(name).parent.name for name in pool.names]
    names = [folder or str(label) for folder, label in zip(folders, pool.labels, strict=True)]
    return np.array([plain(name) for name in names])


def _tile(axes: Axes, rows: pd.DataFrame, images: np.ndarray, kinds: np.ndarray, high: int) -> None:
    """Draw the images as tiles of one unit, with a line of text above each."""
    axes.set_axis_off()
    columns = (rows[name] for name in ("image", "caught", "targets"))
    for place, (index, caught, targets) in enumerate(zip(*columns, strict=True)):
        x, y = 1.15 * (place % COLUMNS), 1.3 * (place // COLUMNS)
        image = np.squeeze(images[index].transpose(1, 2, 0))
        box = (x, x + 1, y + 1.25, y + 0.25)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=box, interpolation="nearest")
        axes.text(
            x + 0.5, y + 0.2, f"{kinds[index]}: {caught}/{targets}", fontsize=7, ha="center", va="bottom"
        )
    axes.set(xlim=(0, 1.15 * COLUMNS), ylim=(1.3 * high, 0))
