"""What every command of the line shares: where it prints, its errors, its usual arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import e2hil_rllib
from e2hil_rllib.errors import UserError

console = Console()
errors = Console(stderr=True)

#: Settings files that come with the program.
SHIPPED = Path(e2hil_rllib.__file__).resolve().parents[1] / "configs"


def settings_file(path: Path) -> Path:
    """The settings file that is named; a bare name, e.g. ``touch_cube``, may be a shipped one."""
    shipped = SHIPPED / f"{path}.yaml"
    is_bare = path.suffix == "" and len(path.parts) == 1
    return shipped if is_bare and not path.exists() and shipped.exists() else path


Config = Annotated[
    Path,
    typer.Argument(
        callback=settings_file,
        help="Settings file, e.g. configs/touch_cube.yaml, or the name of one that comes with the "
        "program, e.g. touch_cube.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the file, e.g. --set training.utd_ratio=4; may be repeated.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]


@contextmanager
def user_errors(debug: bool) -> Iterator[None]:
    """Prints what the user can mend as one message; defects keep their traceback."""
    try:
        yield
    except UserError as error:
        if debug:
            raise
        errors.print(
            f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        raise typer.Exit(2) from error
