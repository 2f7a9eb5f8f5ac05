"""Commands that ran a comparison, stored with its results without traces of the machine."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from tune_scripts.code_version import code_version
from tune_scripts.compare.results import append_row

COMMANDS = "commands.csv"

_ADDRESSES = ("auto", "local")  # addresses that name no machine
# Folders of an absolute path, up to its last component; "a/b" and "http://a" do not match.
_ABSOLUTE = re.compile(r"(?<![\w.:/~-])/(?:[^\s/'\",:;()<>|]+/)+")
_IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


@dataclass(frozen=True)
class CommandRow:
    """Start of a comparison: the columns of ``commands.csv``.

    Attributes:
        time: Time of the start, ISO 8601 in UTC.
        code_version: Version of the code.
        command: Command as typed, without traces of the machine.
    """

    time: str
    code_version: str
    command: str


def note_command(out: Path, module: str, arguments: Sequence[str]) -> None:
    """Add a start to the ``commands.csv`` of a comparison.

    Args:
        out: Folder of the comparison.
        module: Module that ``python -m`` ran.
        arguments: Arguments as typed.

    Raises:
        TableError: There is a file of another kind.
        WriteError: The disk is full.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    row = CommandRow(time, code_version(), command_line(module, arguments))
    append_row(out / COMMANDS, row)


def command_line(module: str, arguments: Sequence[str]) -> str:
    """Return a command in a form that works on other machines.

    ``--out`` and absolute paths keep their last component, and a cluster's address is ADDRESS.

    Args:
        module: Module that ``python -m`` runs.
        arguments: Arguments as typed.
    """
    words, option = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--") and not equals:
            option = argument
            words.append(argument)
            continue
        if not argument.startswith("--"):
            name, equals, value = option, "", argument
        if name == "--out":
            value = PurePosixPath(value).name
        elif name == "--address" and value not in _ADDRESSES:
            value = "ADDRESS"
        words.append(without_machine((name if equals else "") + equals + value))
    return f"python -m {module} {shlex.join(words)}"


def without_machine(text: str, folders: Sequence[Path] = ()) -> str:
    """Return a text without the absolute paths, the name and the addresses of a machine.

    Args:
        text: Text, e.g. a message.
        folders: Folders to replace by their names; other absolute paths keep their last component.
    """
    for folder in folders:
        for written in {str(folder.resolve()), str(folder)}:
            if written.startswith("/"):
                text = text.replace(written, folder.resolve().name)
    text = _IP.sub("ADDRESS", _ABSOLUTE.sub("", text))
    return re.sub(rf"\b{re.escape(socket.gethostname())}\b", "HOST", text)
