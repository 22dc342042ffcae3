"""Docstrings' examples as code: Markdown would read `>>>` as three quotations, one in the other."""

import re

import griffe

EXAMPLE = re.compile(r"(^>>> .*(?:\n(?!\s*$).*)*)", re.MULTILINE)  # from >>> to an empty line


class Doctests(griffe.Extension):
    """Fence every example of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called by griffe for each object that it has read."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(r"\n```pycon\n\1\n```", obj.docstring.value)
