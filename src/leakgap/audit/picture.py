"""The picture of a ROC on logarithmic axes, in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from leakgap.numbers import percent

WIDTH, HEIGHT = 620, 520
LEFT, RIGHT, TOP, BOTTOM = 92, 584, 16, 440


class Axes:
    """Both axes from the power of ten at or below `lowest` to 1; rates below it are put at the end.

    >>> axes = Axes(0.004)
    >>> axes.line([0.001, 1.0], [0.1, 1.0]), axes.ticks()["x"][0]
    ('M92.0 157.3L584.0 16.0', (584.0, '100%'))
    """

    def __init__(self, lowest: float):
        self.decades = max(1, math.ceil(-math.log10(lowest) - 1e-9))
        self.low = 10.0**-self.decades

    def _along(self, rate: float) -> float:
        return 1 - math.log(max(rate, self.low)) / math.log(self.low)

    def x(self, rate: float) -> float:
        """Place of a rate from left to right."""
        return round(LEFT + (RIGHT - LEFT) * self._along(rate), 1)

    def y(self, rate: float) -> float:
        """Place of a rate from bottom to top."""
        return round(BOTTOM - (BOTTOM - TOP) * self._along(rate), 1)

    def line(self, fpr: Iterable[float], tpr: Iterable[float]) -> str:
        """Path through the points of a curve."""
        return "M" + "L".join(f"{self.x(x)} {self.y(y)}" for x, y in zip(fpr, tpr, strict=True))

    def mark(self, fpr: float, tpr: float, low: float, high: float) -> dict[str, float]:
        """A point and the ends of its interval."""
        return {"x": self.x(fpr), "y": self.y(tpr), "low": self.y(low), "high": self.y(high)}

    def ticks(self) -> dict[str, Any]:
        """What is drawn of the axes themselves."""
        rates = [10.0**-power for power in range(self.decades + 1)]
        return {
            "width": WIDTH,
            "height": HEIGHT,
            "frame": (LEFT, TOP, RIGHT, BOTTOM),
            "x": [(self.x(rate), f"{percent(rate)}%") for rate in rates],
            "y": [(self.y(rate), f"{percent(rate)}%") for rate in rates],
            "chance": f"M{self.x(self.low)} {self.y(self.low)}L{self.x(1)} {self.y(1)}",
        }
