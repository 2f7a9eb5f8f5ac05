"""`e2hil settings`: every key of a settings file, from the fields that define it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, cast, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from e2hil_rllib.section import Section
from e2hil_rllib.settings.presets import DEFAULT, PRESETS
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError, hint, model_in, union_parts

_SYMBOLS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def show_settings(section: str | None, console: Console) -> None:
    """Print the keys with type, range, default, presets and meaning.

    Args:
        section: Name of a section; None prints all of them.
        console: Console to print to.

    Raises:
        SettingsError: There is no such section; the message names the nearest.
    """
    sections = {
        name: cast(type[Section], model)
        for name, field in Settings.model_fields.items()
        if (model := model_in(field.annotation)) is not None
    }
    if section is not None and section not in sections:
        raise SettingsError(f"There is no section '{section}'.{hint(section, sections)}")
    if section is None:
        for name, field in Settings.model_fields.items():
            if name not in sections:
                _print_key(name, field, [], console)
    for name, model in sections.items():
        if section in (None, name):
            console.print(f"\n[bold]{name}:[/bold]  # {_first_line(model)}", highlight=False)
            for key, field in model.model_fields.items():
                _print_key(f"  {key}", field, _presets(model, key), console)


def _print_key(name: str, field: FieldInfo, presets: list[str], console: Console) -> None:
    if field.default is not PydanticUndefined:
        default = _as_yaml(field.default)
    elif field.default_factory is not None:
        default = "{}"
    else:
        default = "(required)"
    about = "; ".join([f"{_type(field.annotation)}{_range(field)}", *presets])
    indent = len(name) - len(name.lstrip())
    line = Text.assemble(f"{name.lstrip()}: ", (default, "green"), "  ", (about, "dim"))
    console.print(Padding(line, (0, 0, 0, indent)))
    text = " ".join((field.description or "").replace("``", "").replace("`", "").split())
    console.print(Padding(Text(text), (0, 0, 0, indent + 4)))


def _type(annotation: Any) -> str:
    """A type in the words of YAML: ``int``, ``"all" or "selected"``, ``[float, ...]``."""
    return " or ".join(word for part in union_parts(annotation) for word in _words(part))


def _words(part: Any) -> Iterator[str]:
    origin = get_origin(part)
    if part is type(None):
        yield "null"
    elif origin is Literal:
        yield from (_as_yaml(value) for value in get_args(part))
    elif origin in (tuple, list):
        yield f"[{_type(get_args(part)[0])}, ...]"
    elif hasattr(part, "__metadata__"):
        yield _type(get_args(part)[0])
    else:
        yield getattr(origin or part, "__name__", str(part))


def _range(field: FieldInfo) -> str:
    limits = [
        f"{symbol} {limit:g}"
        for rule in field.metadata
        for name, symbol in _SYMBOLS.items()
        if (limit := getattr(rule, name, None)) is not None
    ]
    return f" {', '.join(limits)}" if limits else ""


def _presets(section: type[Section], key: str) -> list[str]:
    """Values of the other presets, where they differ from the default."""
    attribute = section.attribute(key)
    own = PRESETS[DEFAULT].get(attribute)
    return [
        f"preset {name}: {_as_yaml(values[attribute])}"
        for name, values in PRESETS.items()
        if attribute in values and values[attribute] != own
    ]


def _as_yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Section):
        return "{}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(_as_yaml(entry) for entry in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_line(model: type[Section]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]
