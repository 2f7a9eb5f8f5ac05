"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "e2hil_rllib"
# What computes, keeps or sends without Ray: usable and testable without it.
FREE_OF_RAY = (
    "method", "networks", "disk", "settings/sections", "settings/yaml_file",
    "learning/flat_parameters", "learning/update_limiter",
    "data/transitions", "data/returns", "data/replay", "data/observation_store",
    "data/episodes", "data/outcomes", "data/action_scale", "settings/presets",
    "external/protocol", "external/robot/delivery", "external/robot/spool",
    "external/robot/recorder", "external/robot/news",
    *(f"external/learner/{name}" for name in (
        "arrivals", "bulletin", "inbox", "listener", "connections", "strangers", "roster",
        "robot_session", "connector")),
)  # fmt: skip

# The command line, and what makes an environment's spaces from a settings file.
BRINGS_BOTH_TOGETHER = (PACKAGE / "settings" / "build.py",)


def imported_modules(path: Path) -> set[str]:
    """Dotted names that a file imports, also inside functions; "a.b" of `from a import b`, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    """Top-level packages that a file imports."""
    return {name.split(".")[0] for name in imported_modules(path)}


def files_of(room: str) -> list[Path]:
    """The files of a folder, or the one file of a module."""
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def test_the_environments_know_neither_the_algorithm_nor_ray():
    for path in (ROOT / "envs").rglob("*.py"):
        assert not packages(path) & {"e2hil_rllib", "ray", "torch"}, path


def test_the_algorithm_does_not_know_the_environments():
    for path in PACKAGE.rglob("*.py"):
        if path in BRINGS_BOTH_TOGETHER or PACKAGE / "commands" in path.parents:
            continue
        assert "envs" not in packages(path), path


@pytest.mark.parametrize("room", FREE_OF_RAY)
def test_rooms_without_ray(room):
    for path in files_of(room):
        assert "ray" not in packages(path), path


def test_the_real_arm_does_not_know_the_virtual_one():
    for path in (ROOT / "envs" / "hardware").rglob("*.py"):
        names = imported_modules(path)
        assert not {n for n in names if n.startswith("envs.virtual")}, path


def test_data_does_not_know_the_connector():
    for path in files_of("data"):
        names = imported_modules(path)
        assert not {n for n in names if n.startswith("e2hil_rllib.external")}, path


def test_the_method_knows_neither_replay_nor_files():
    allowed = ("e2hil_rllib.method", "e2hil_rllib.section")
    for path in files_of("method"):
        names = {n for n in imported_modules(path) if n.startswith("e2hil_rllib.")}
        assert all(n.startswith(allowed) for n in names), path
