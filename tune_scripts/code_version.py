"""Version of the code that makes a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
# Code and dependencies of a trial; changes of code that only reads results make no other results.
_CODE = (
    "e2hil_rllib", ":(exclude)e2hil_rllib/report", "envs", ":(glob)tune_scripts/**/*.py",
    ":(exclude)tune_scripts/publish", ":(exclude)tune_scripts/examine",
    "constraints.txt",
)  # fmt: skip
UNKNOWN = "unknown"


def code_version(root: Path = _ROOT) -> str:
    """Return the newest commit that changed the code of a trial, with "-dirty" if it has changes.

    Args:
        root: Root of the git repository.

    Returns:
        First 12 digits of the commit, or ``UNKNOWN`` outside of a git repository.
    """
    commit = _git(root, "log", "-1", "--format=%H", "--", *_CODE)
    if not commit:
        return UNKNOWN
    changes = _git(root, "status", "--porcelain", "--", *_CODE)
    return commit[:12] + ("-dirty" if changes or changes is None else "")


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of git; None without git or a repository."""
    try:
        done = subprocess.run(
            # A status that refreshes the index would block other git commands.
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
