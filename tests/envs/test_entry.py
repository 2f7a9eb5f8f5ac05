"""Entry point of the registered environments."""

import importlib
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

import envs

TOUCH = "envs:SO101TouchCube-v0"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rewards": "dense"}, "no option 'rewards': did you mean 'reward'"),
        ({"cube_position": "fixed"}, "did you mean 'cube_positions'"),
        ({"operator": {"skil": 1}}, "operator has no option 'skil': did you mean 'skill'"),
        ({"operator": True}, "operator must be a mapping"),
        ({"workspace": [1, 2]}, "workspace must be a mapping"),
        ({"cameras": {"front": {"corp": {}}}}, "cameras.front has no option 'corp': did you mean"),
        ({"cameras": {"front": 128}}, "cameras.front must be a mapping"),
    ],
)
def test_unknown_options_are_refused_with_the_nearest_names(given, message):
    with pytest.raises(TypeError, match=message):
        gymnasium.make(TOUCH, **given)


def test_an_option_of_another_task_is_refused():
    with pytest.raises(TypeError, match="pick_cube environment has no option 'cube_positions'"):
        gymnasium.make("envs:SO101PickCube-v0", cube_positions="fixed")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cameras": ["side"]}, r"cameras must be one of \['front', 'wrist'\], got 'side'"),
        ({"cameras": "front"}, "list of different names"),
        ({"cameras": ["front", "front"]}, "list of different names"),
        ({"cameras": {"side": {}}}, r"cameras must be one of \['front', 'wrist'\], got 'side'"),
        ({"cameras": {"wrist": {"size": 8}}}, "cameras.wrist.size must be an integer from 16"),
        ({"reward": "none"}, "reward must be one of"),
        ({"control_hz": "fast"}, "control_hz must be a number from 1 to 50"),
        ({"cube_positions": "random"}, "cube_positions must be one of"),
        ({"operator": {"mode": "lead"}}, "operator.mode must be one of"),
        ({"operator": {"skill": 1.5}}, "operator.skill must be a number from 0 to 1"),
        ({"operator": {"patience": 0}}, "operator.patience"),
        ({"workspace": {"z": [0.1, 0.0]}}, "workspace.z"),
    ],
)
def test_bad_values_are_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        gymnasium.make(TOUCH, **given)


def test_without_an_operator_no_wrapper_is_added():
    assert "Intervention" not in str(gymnasium.make(TOUCH))
    assert "Intervention" in str(gymnasium.make(TOUCH, operator={}))


def test_the_package_imports_neither_the_algorithm_nor_ray_nor_torch():
    code = (
        "import sys, gymnasium\n"
        f"gymnasium.make('{TOUCH}', operator={{}}).reset(seed=0)\n"
        "print([m for m in ('ray', 'torch', 'e2hil_rllib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_every_module_of_the_package_imports():
    root = Path(envs.__file__).parent
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        importlib.import_module(".".join(part for part in parts if part != "__init__"))
