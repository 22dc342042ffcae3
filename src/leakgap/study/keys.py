"""The reference of the study file's keys, made from the model so that it can't drift."""

import json
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from leakgap.study import Study


def print_schema() -> None:
    """Print the JSON schema of study files."""
    print(json.dumps(schema(), indent=2))


def schema() -> dict[str, Any]:
    """Return the JSON schema of study files, described by a sentence and no example of Python."""
    found = Study.model().model_json_schema()
    return found | {"description": found["description"].partition("\n")[0]}


def print_keys() -> None:
    """Print `markdown`."""
    print(markdown())


def markdown() -> str:
    """Return the Markdown reference: every key with type, default, bounds and meaning."""
    lines = [
        "# Keys of a study file",
        "",
        "Printed by `python -m leakgap keys`. Unknown keys are errors. `null` means: left to leakgap.",
    ]
    return "\n".join(lines + _section("", Study.model()))


def _section(prefix: str, model: type[BaseModel]) -> list[str]:
    lines, sections = [], []
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections += _section(f"{key}.", field.annotation)
            continue
        default = "required" if field.default is PydanticUndefined else f"`{_plain(field.default)}`"
        lines.append(f"| `{key}` | {_kind(properties[name])} | {default} | {field.description or ''} |")
    title = f"## {prefix.rstrip('.') or 'study'}" + (f"\n\n{model.__doc__}" if prefix else "")
    return ["", title, "", "| key | takes | default | meaning |", "|---|---|---|---|", *lines, *sections]


def _plain(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


def _kind(schema: dict[str, Any]) -> str:
    """Say what a JSON schema admits, in a few words."""
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[bound]}" for bound, sign in bounds.items() if bound in schema]
    return " ".join([schema["type"], ", ".join(limits)]).strip()
