"""All benchmarks, or those named: `python -m tests.benchmarks.run [learner simulation ...]`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.settings.build import quiet_ray
from tests.benchmarks import (
    bench_arm,
    bench_bus,
    bench_expert,
    bench_fuzz,
    bench_learner,
    bench_localization,
    bench_robot,
    bench_simulation,
    bench_training,
    bench_vision,
)

BENCHMARKS: dict[str, Callable[[], object]] = {
    "learner": bench_learner.main,
    "vision": bench_vision.main,
    "localization": bench_localization.main,
    "simulation": bench_simulation.main,
    "expert": bench_expert.main,
    "bus": bench_bus.main,
    "arm": bench_arm.main,
    "robot": bench_robot.main,
    "fuzz": bench_fuzz.main,
    "pendulum": bench_training.pendulum,
    "touch_cube": bench_training.touch_cube,
}


def main() -> None:
    """Run the benchmarks in their order; each prints its own figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="all when left out")
    names = parser.parse_args().names or list(BENCHMARKS)
    quiet_ray()
    set_up_torch(1)
    for name in names:
        print(f"\n== {name}", flush=True)
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
