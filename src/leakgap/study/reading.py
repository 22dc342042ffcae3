"""The values that a study file holds, and a refusal wherever YAML or JSON reads something else than is written."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from leakgap import LeakgapError

LARGEST = 256 * 1024  # bytes: a hundred times a long study file
MOST, DEEPEST = 10_000, 20  # values, with those behind aliases; levels of nesting
TOO_LONG = f"longer than {LARGEST // 1024} KiB, which no study file is"
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")  # what the whole numbers of 64 bits look like


def read(path: str | Path) -> Any:
    """Return what a YAML or JSON file in UTF-8 holds. Raises LeakgapError that names the file."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise LeakgapError(f"{path}: {reason}, no study file is there") from None
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if len(content) <= LARGEST:
            raise LeakgapError(f"{path}: not UTF-8 text (byte {error.start} is not)") from None
        raise LeakgapError(f"{path}: {TOO_LONG}") from None
    except LeakgapError as error:
        raise LeakgapError(f"{path}: {error}") from None


def parse(text: str) -> Any:
    """Return what a text holds: JSON if it is some, as Snakemake reads it too, else YAML.

    Raises LeakgapError that names the key which is given twice, or the value that YAML 1.1 takes for another.

    >>> parse("train: {lr: 0.1, seed: 7}")
    {'train': {'lr': 0.1, 'seed': 7}}
    >>> parse("train: {seed: 0400}")
    Traceback (most recent call last):
        ...
    leakgap.LeakgapError: train.seed: 0400 is not what YAML reads; write a plain decimal number, or a text in quotes
    """
    if len(text.encode(errors="replace")) > LARGEST:
        raise LeakgapError(TOO_LONG)
    try:
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text, object_pairs_hook=_unique)
            except json.JSONDecodeError:
                pass  # YAML has braces too
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, (), [0])
        return loader.construct_document(node)
    except ValueError:  # of int(), beyond 4300 digits
        raise LeakgapError("holds too large a number") from None
    except yaml.YAMLError as error:
        raise LeakgapError(f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise LeakgapError(f"nested more than {DEEPEST} levels deep") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object, whose keys must differ."""
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise LeakgapError(f"{key}: the key is given twice")
        values[key] = value
    return values


def _check(node: yaml.Node, place: tuple[str, ...], count: list[int]) -> None:
    """Raise LeakgapError for what YAML would silently drop or change in a node at the key `place`.

    Aliases are followed, so that `count` is what the values would be if they were written out.
    """
    count[0] += 1
    if count[0] > MOST:
        raise LeakgapError(f"holds more than {MOST} values, which no study does")
    if len(place) > DEEPEST:
        raise LeakgapError(f"nested more than {DEEPEST} levels deep")
    if isinstance(node, yaml.ScalarNode):
        _check_scalar(node, ".".join(place))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _check(value, (*place, str(index)), count)
    elif isinstance(node, yaml.MappingNode):
        seen = set[str]()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "a key"
            if name in seen:
                line = key.start_mark.line + 1
                raise LeakgapError(
                    f"{'.'.join([*place, name])}: the key is given twice, again in line {line}"
                )
            seen.add(name)
            _check(value, (*place, name), count)


def _check_scalar(node: yaml.ScalarNode, place: str) -> None:
    kind, text = node.tag.rpartition(":")[2], node.value
    place = place or "the whole"
    shown = text if len(text) <= 40 else f"{text[:40]}..."
    if kind == "timestamp":
        raise LeakgapError(f"{place}: {shown} is a date to YAML; put it in quotes")
    if kind == "int" and text.lstrip("+-").isdigit() and len(text) > 20:
        raise LeakgapError(f"{place}: {shown} is too large a number")
    if (kind == "int" and not WHOLE.fullmatch(text)) or (kind == "float" and set(text) & set(":_")):
        raise LeakgapError(
            f"{place}: {shown} is not what YAML reads; write a plain decimal number, or a text in quotes"
        )
