"""Which code made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# What a trial runs and what it runs on; a change of what reads
# results makes no other ones.
_CODE = (
    "e2hil_rllib", ":(exclude)e2hil_rllib/report", "envs", ":(glob)tune_scripts/**/*.py",
    ":(exclude)tune_scripts/publish", ":(exclude)tune_scripts/examine",
    "constraints.txt",
)  # fmt: skip
UNKNOWN = "unknown"


def code_version(root: Path = _ROOT) -> str:
    """The newest commit that changed the code a trial runs, with "-dirty" if there are changes.

    Args:
        root: Of the git repository.

    Returns:
        The first 12 digits of the commit, or `UNKNOWN` where there is no git repository.
    """
    commit = _git(root, "log", "-1", "--format=%H", "--", *_CODE)
    if not commit:
        return UNKNOWN
    changes = _git(root, "status", "--porcelain", "--", *_CODE)
    return commit[:12] + ("-dirty" if changes or changes is None else "")


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, or no repository."""
    try:
        done = subprocess.run(
            # A status that refreshes the index would get into the way of other git commands.
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
