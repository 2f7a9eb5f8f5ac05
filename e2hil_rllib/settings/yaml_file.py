"""Reading a settings file, and saying in plain words what is wrong with it."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from e2hil_rllib.errors import UserError

_UNIONS = (Union, types.UnionType)


class SettingsError(UserError):
    """Settings that cannot be used; the message says which and why."""


class _Loader(yaml.SafeLoader):
    """YAML in which 3e-4 is a number and a key stands only once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for name in names:
            if names.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        SettingsError: There is no such file, it is not YAML, or it is not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        beside = path.parent if path.parent.is_dir() else Path()
        others = [str(other) for other in sorted(beside.glob("*.yaml"))]
        raise SettingsError(f"There is no file {path}.{hint(str(path), others)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}.") from error
    values = _parse(text, str(path))
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds {values!r}, expected 'key: value' lines.")
    return values


def with_overrides(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The values of a file, changed by `key.of.section=value` texts; the file's stay as they are.

    Raises:
        SettingsError: A text has no "=", is not YAML after it, or goes through a plain value.
    """
    for text in overrides:
        dotted, equals, value = text.partition("=")
        keys = dotted.strip().split(".")
        if not equals or not all(keys):
            raise SettingsError(
                f"--set {text}: expected key=value, e.g. --set training.utd_ratio=4."
            )
        values = _replaced(values, keys, _parse(value, f"--set {text}"), text)
    return values


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line for each key that pydantic found fault with, dotted, with the nearest names."""
    faults: dict[str, str] = {}
    for fault in error.errors():
        path = _to_field(model, [str(part) for part in fault["loc"]])
        key = ".".join(path)
        if fault["type"] == "extra_forbidden":
            valid = _field_names(model, path[:-1])
            faults[key] = f"there is no key '{key}'.{hint(path[-1], valid)}"
        elif fault["type"] == "missing":
            faults[key] = f"the key '{key}' is missing."
        else:
            expected = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            # A key that may be of several types is reported once for each of them.
            begun = faults.get(key, f"'{key}' is {fault['input']!r}, expected:").removesuffix(".")
            faults[key] = f"{begun}{' or' if key in faults else ''} {expected}."
    return "\n".join(f"{source}: {fault}" for fault in faults.values())


def hint(name: str, valid: Iterable[str]) -> str:
    """A sentence with the valid names nearest to a mistyped one, or with all of them."""
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    return f" Valid: {', '.join(valid)}." if valid else ""


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SettingsError(f"{source} is not valid YAML: {error}") from error


def _replaced(values: dict[str, Any], keys: list[str], new: Any, text: str) -> dict[str, Any]:
    key, *rest = keys
    if not rest:
        return {**values, key: new}
    inner = values.get(key)
    if inner is not None and not isinstance(inner, dict):
        raise SettingsError(f"--set {text}: '{key}' is {inner!r}, it has no keys below it.")
    return {**values, key: _replaced(inner or {}, rest, new, text)}


def _field_names(model: type[BaseModel], path: list[str]) -> list[str]:
    for key in path:
        model = model_in(model.model_fields[key].annotation) or model
    return list(model.model_fields)


def _to_field(model: type[BaseModel], path: list[str]) -> list[str]:
    """The part of a path that names a key; pydantic goes on with types and list positions."""
    for depth, key in enumerate(path):
        field = model.model_fields.get(key)
        inner = model_in(field.annotation) if field else None
        if inner is None:
            return path[: depth + 1]
        model = inner
    return path


def union_parts(annotation: Any) -> tuple[Any, ...]:
    """The types that an annotation allows, one by one."""
    return get_args(annotation) if get_origin(annotation) in _UNIONS else (annotation,)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation names, alone or with others; None for a plain value."""
    parts = union_parts(annotation)
    models = (part for part in parts if isinstance(part, type) and issubclass(part, BaseModel))
    return next(models, None)
