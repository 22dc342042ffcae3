"""Text of others, such as names of files and classes, made harmless for what reads it."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["for_markdown", "for_spreadsheets", "markdown_table", "plain"]


def plain(text: str) -> str:
    """Return a text on one line, with nothing in it that a terminal or an SVG obeys: names may come from anywhere.

    >>> plain("no array a\\nb\\x1b[2J")
    'no array a\\\\nb\\\\x1b[2J'
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def for_markdown(text: str) -> str:
    """Return a text as a cell of a Markdown table shows it: no HTML, no further cell.

    >>> for_markdown("<b>a|b</b>")
    '&lt;b&gt;a\\\\|b&lt;/b&gt;'
    """
    return html.escape(plain(text), quote=False).replace("|", "\\|")


def markdown_table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of texts.

    >>> print(markdown_table(["name", "n"], [["a|b", "1"]]))
    | name | n |
    | --- | --- |
    | a\\|b | 1 |
    """
    heading = list(heading)
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(for_markdown, line)) + " |" for line in lines)


def for_spreadsheets(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which no spreadsheet takes text for a formula: such text begins with an apostrophe.

    >>> import pandas as pd
    >>> for_spreadsheets(pd.DataFrame({"name": ["=cmd|x", "cat"], "n": [1, 2]}))["name"].tolist()
    ["'=cmd|x", 'cat']
    """
    text = table.select_dtypes(exclude=["number", "bool"])
    return table.assign(
        **{
            str(name): text[name].astype(str).str.replace(r"^(?=[=+\-@\t\r])", "'", regex=True)
            for name in text
        }
    )
