"""What the sections of a study file share: unknown keys are errors, and so is a value that a job was not given.

Faults are told in one sentence.
"""

from reprlib import Repr
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from leakgap import LeakgapError

SHORT = Repr()  # of a value that was given, however large it is
SHORT.maxstring = SHORT.maxother = SHORT.maxlong = 80
SHORT.maxlevel = 1


class Section(BaseModel):
    """A part of the study file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: object, info: ValidationInfo) -> object:
        """Refuse yes and no where a number is meant, and a number that no field can mean."""
        kind = cls.model_fields[info.field_name or ""].annotation
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, bool) and kind is not bool:
                raise PydanticCustomError("yes_or_no", "input should not be yes or no, true or false")
            if isinstance(each, int) and abs(each) >= 2**63:
                raise PydanticCustomError("too_large", "input should be a number of 64 bits")
        return value

    def only(self, keys: list[str]) -> dict[str, Any]:
        """Return the JSON values of the given keys alone, `key` or `section.key`, nested like the study file."""
        whole, chosen = self.model_dump(mode="json"), dict[str, Any]()
        for key in keys:
            *sections, last = key.split(".")
            values, place = whole, chosen
            for section in sections:
                values, place = values[section], place.setdefault(section, {})
            place[last] = values[last]
        return chosen

    @classmethod
    def given(cls, values: dict[str, Any], place: str = "") -> Self:
        """Return a section that holds `values` alone: no default stands in, reading any other key raises.

        Each value is validated by itself; whether they go together was checked when the whole study was read.
        Raises LeakgapError that names the key, below `place`, for one that is unknown or has a bad value.
        """
        held = dict[str, Any]()
        if not isinstance(values, dict):
            raise LeakgapError(
                f"{place.rstrip('.') or 'part'}: is {SHORT.repr(values)}, not a section of a study"
            )
        for name, value in values.items():
            field = cls.model_fields.get(name)
            if field is None:
                raise LeakgapError(f"{place}{name}: no such key in a study")
            kind: Any = field.annotation
            if isinstance(kind, type) and issubclass(kind, Section):
                held[name] = kind.given(value, f"{place}{name}.")
                continue
            try:
                held[name] = TypeAdapter(Annotated[kind, *field.metadata, None]).validate_python(value)
            except ValidationError as error:
                raise LeakgapError(f"{place}{name}: {error.errors()[0]['msg']}") from None
        section: Any = cls.model_construct(**held)
        for name in cls.model_fields.keys() - held.keys():
            section.__dict__.pop(name, None)  # a default
        return section

    def __getattr__(self, name: str) -> Any:
        """Explain a value that is not here; anything else is pydantic's matter."""
        if name in type(self).model_fields:
            raise LeakgapError(
                f"{type(self).__name__.lower()}.{name} is read, but the job's part of the study does not have it"
            )
        return super().__getattr__(name)  # type: ignore[misc]


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
    given = f" (given: {SHORT.repr(fault['input'])})" if not isinstance(fault["input"], dict) else ""
    return f"{key}: {fault['msg'][0].lower()}{fault['msg'][1:]}{given}"
