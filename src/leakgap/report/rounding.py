"""Numbers in words and tables; the ends of intervals are rounded outwards, so that none is narrower than it is."""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from math import isnan

LARGE = 1e6


def fixed(value: float, decimals: int = 2, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write a number with so many decimals, a very large one by its power of ten.

    >>> fixed(-0.349), fixed(4.7, 3), fixed(2.2e35)
    ('-0.35', '4.700', '2.20E+35')
    """
    if abs(value) >= LARGE:
        return times(value, rounding)
    exact = Decimal(
        f"{value:.12g}"
    )  # what arithmetic adds to the last bits is no reason to round further outwards
    return str(exact.quantize(Decimal(1).scaleb(-decimals), rounding))


def signed(value: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write a number with two decimals and its sign.

    >>> signed(0.349)
    '+0.35'
    """
    text = fixed(value, 2, rounding)
    return text if text.startswith("-") else f"+{text}"


def times(factor: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write a factor with three digits.

    >>> times(4.8291), times(0.61), times(22104.0)
    ('4.83', '0.610', '22,100')
    """
    rounded = Context(prec=3, rounding=rounding).create_decimal(f"{factor:.11e}")
    return f"{rounded:,f}" if 1 / LARGE < abs(factor) < LARGE else f"{rounded:.2E}"


def ends(low: float, high: float, write: Callable[..., str] = fixed) -> str:
    """Write an interval with what writes its numbers.

    >>> ends(0.1234, 0.1234), ends(1.7449, 13.04, times)
    ('[0.12, 0.13]', '[1.74, 13.1]')
    """
    return f"[{write(low, rounding=ROUND_FLOOR)}, {write(high, rounding=ROUND_CEILING)}]"


def share(value: float, low: float, high: float) -> str:
    """Write a share in percent, with its interval if it has one.

    >>> share(0.0432, 0.0371, 0.0504)
    '4.32% [3.71, 5.04]'
    """
    if isnan(value):
        return "undefined"
    return f"{fixed(100 * value)}%" + ("" if isnan(low) else f" {ends(100 * low, 100 * high)}")
