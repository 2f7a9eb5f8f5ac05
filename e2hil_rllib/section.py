"""Section: a group of settings, each written once with type, default, range and documentation.

The YAML schema, the methods of ``E2HiLConfig`` and what learner and networks read are all derived
from the sections' fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


class Section(BaseModel):
    """Group of settings: frozen, unknown names are refused, the text below a field describes it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    #: Attributes of ``E2HiLConfig`` that are not called as the field is, by field.
    attributes: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def attribute(cls, field: str) -> str:
        """Name that a field has among the attributes of ``E2HiLConfig``."""
        return cls.attributes.get(field, field)

    @classmethod
    def checked(cls, method: str, values: Mapping[str, Any]) -> Self:
        """Build the section from values given in Python, where a tuple may stand for a list.

        Args:
            method: Name of the method of ``E2HiLConfig`` that takes them, for messages.
            values: Values by field.

        Raises:
            ValueError: A value is out of its range, or two exclude each other; the message names
                the field, its value and what is expected.
        """
        try:
            return cls.model_validate(values, strict=False)
        except ValidationError as error:
            raise ValueError(_in_words(method, values, error)) from error

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Restore a pickle; of an older version, fields that it lacks have their defaults."""
        values = state.get("__dict__", state)
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        super().__setstate__(
            {
                "__dict__": defaults | values,
                "__pydantic_fields_set__": state.get("__pydantic_fields_set__", set(values)),
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            }
        )


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """End of a message with the valid names nearest to a mistyped one; "" without any near."""
    close = difflib.get_close_matches(name, sorted(valid), n=3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _in_words(method: str, values: Mapping[str, Any], error: ValidationError) -> str:
    faults: dict[str, str] = {}
    for fault in error.errors():
        if not fault["loc"]:  # of two settings together, which the message names itself
            faults[""] = fault["msg"].removeprefix("Value error, ")
            continue
        name = str(fault["loc"][0])
        # A setting of several types is reported once for each of them.
        begun = faults.get(name, f"{method}({name}={values[name]!r}): must be")
        faults[name] = f"{begun}{' or' if name in faults else ''} {_expected(fault)}"
    return "; ".join(faults.values())


def _expected(fault: ErrorDetails) -> str:
    """Pydantic's fault as the end of a sentence that begins with "must be"."""
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "greater_than_equal":
            return f"at least {limits['ge']}"
        case "greater_than":
            return f"above {limits['gt']}"
        case "less_than_equal":
            return f"at most {limits['le']}"
        case "less_than":
            return f"below {limits['lt']}"
        case "int_from_float" | "int_parsing" | "int_type":
            return "a whole number"
        case "float_parsing" | "float_type":
            return "a number"
        case "too_short":
            return f"a list of at least {limits['min_length']}"
        case "list_type":
            return "a list"
        case "string_too_short":
            return "a text that is not empty"
        case _:
            return fault["msg"].removeprefix("Input should be ").removeprefix("a valid ")
