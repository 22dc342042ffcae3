"""A section of the study file, checked by pydantic, whose faults are told in one sentence."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Section(BaseModel):
    """A part of the study file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def sentence(error: ValidationError, section: type[BaseModel], name: str) -> str:
    """Return the first fault as a sentence that names the key and what is allowed.

    section: what was to be validated; name: what a reader calls it, where a key of its own is unknown.
    """
    fault = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    if fault["type"] == "extra_forbidden":
        parent: Any = section
        for part in fault["loc"][:-1]:
            parent = parent.model_fields[part].annotation
        where = ".".join(str(part) for part in fault["loc"][:-1]) or name
        return f"{key}: no such key; {where} has {', '.join(parent.model_fields) or 'none'}"
    if fault["type"] == "missing":
        return f"{key}: the key is missing"
    given = f" (given: {fault['input']!r})" if not isinstance(fault["input"], dict) else ""
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}{given}"
