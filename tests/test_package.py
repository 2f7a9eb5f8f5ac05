"""The package's front door."""

import subprocess
import sys

import pytest

import e2hil_rllib


def test_import_loads_neither_torch_nor_ray():
    code = "import sys, e2hil_rllib; print({'ray', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_algorithm_and_config_are_exported():
    from e2hil_rllib import E2HiL, E2HiLConfig

    assert E2HiLConfig().algo_class is E2HiL
    with pytest.raises(AttributeError, match="E2HiLearner"):
        _ = e2hil_rllib.E2HiLearner
