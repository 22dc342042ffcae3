"""Numbers and intervals as text, in words and tables of every page.

The ends of intervals are rounded outwards, so that none is narrower than it is, and bounds down.
"""

from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from math import ceil, floor, isclose, isnan

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


def between(low: float, high: float, write: Callable[..., str] = fixed) -> str:
    """Write an interval in a sentence.

    >>> between(0.1234, 0.1234), between(1.7449, 13.04, factor)
    ('0.12 to 0.13', '1.7 to 14')
    """
    return f"{write(low, rounding=ROUND_FLOOR)} to {write(high, rounding=ROUND_CEILING)}"


def span(low: float, high: float) -> str:
    """Write an interval of any size with three digits.

    >>> span(1.2349, 1.2341e6), span(-0.5, 1)
    ('1.23 to 1.24e+06', '-0.5 to 1')
    """

    def digits(end: float, rounding: str) -> str:
        return f"{float(Context(prec=3, rounding=rounding).create_decimal(f'{end:.11e}')):.3g}"

    return between(low, high, digits)


def factor(value: float, rounding: str = ROUND_HALF_EVEN) -> str:
    """Write how many times, below ten to a tenth.

    >>> factor(2.04), factor(2.04, ROUND_CEILING), factor(13.4)
    ('2', '2.1', '13')
    """
    return fixed(value, 1 if value < 10 else 0, rounding).removesuffix(".0")


def percent(value: float) -> str:
    """Write a share in percent, to a tenth of a percent, or to two digits below one percent.

    >>> percent(0.0314), percent(0.0012), percent(1.0)
    ('3.1', '0.12', '100')
    """
    value *= 100
    if value == 0 or isnan(value):
        return "0" if value == 0 else "undefined"
    text = f"{value:.1f}" if value >= 1 else f"{value:.2g}"
    return text.removesuffix(".0")


def percent_within(value: float, low: float, high: float) -> str:
    """Write a share in percent with its interval, as `percent` does.

    >>> percent_within(0.0314, 0.0251, 0.0399), percent_within(0.5, float("nan"), float("nan"))
    ('3.1% [2.5, 4.0]', '50%')
    """
    if isnan(value):
        return "undefined"
    if isnan(low):
        return f"{percent(value)}%"
    low, high = 100 * low, 100 * high
    digits = 1 if high >= 1 else 2 if high >= 0.1 else 3
    scale = 10**digits
    low, high = floor(low * scale) / scale, ceil(high * scale) / scale
    return f"{percent(value)}% [{low:.{digits}f}, {high:.{digits}f}]"


def one_in(fpr: float) -> str:
    """Write a false positive rate as people say it.

    >>> one_in(0.001), one_in(0.015)
    ('one false accusation in 1,000', '1.5 false accusations in 100')
    """
    times = round(1 / fpr)
    if isclose(1 / fpr, times, rel_tol=1e-6):
        return f"one false accusation in {times:,}"
    return f"{100 * fpr:g} false accusations in 100"


def bound(value: float) -> str:
    """Write a lower bound, rounded down.

    >>> bound(2.919)
    '2.91'
    """
    return f"{floor(100 * value) / 100:g}"


def share(value: float, low: float, high: float) -> str:
    """Write a share in percent, with its interval if it has one.

    >>> share(0.0432, 0.0371, 0.0504)
    '4.32% [3.71, 5.04]'
    """
    if isnan(value):
        return "undefined"
    return f"{fixed(100 * value)}%" + ("" if isnan(low) else f" {ends(100 * low, 100 * high)}")
