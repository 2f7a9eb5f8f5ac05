"""Who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FREE_OF_RAY = ("influence", "method/losses", "method/imitation", "returns", "presets",
               "networks", "encoders", "replay", "frames", "segments",
               "selection", "flat_parameters", "limiter", "metrics", "episodes",
               "external/codec", "external/framing", "external/listener", "external/chunk",
               "external/spool", "external/inbox", "external/delivery",
               "external/robot_session", "external/secure", "external/strangers",
               "external/connections")  # fmt: skip


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, also inside functions."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


def test_the_environments_know_neither_the_algorithm_nor_ray():
    for path in (ROOT / "envs").rglob("*.py"):
        assert not imported(path) & {"e2hil_rllib", "ray", "torch"}, path


def test_the_algorithm_does_not_know_the_environments():
    package = ROOT / "e2hil_rllib"
    for path in package.rglob("*.py"):
        if path == package / "cli.py" or package / "commands" in path.parents:
            continue  # the command line brings both together
        assert "envs" not in imported(path), path


@pytest.mark.parametrize("module", FREE_OF_RAY)
def test_the_method_itself_needs_no_ray(module):
    assert "ray" not in imported(ROOT / "e2hil_rllib" / f"{module}.py")
