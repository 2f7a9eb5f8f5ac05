"""What all tests share: nothing that a busy machine or the way of starting them decides."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests import patience

# GNU's readline, which pytest loads, puts a terminal's size into the environment of its children,
# and pytest-xdist's workers are its children: there, the program would print 80 columns whatever
# width a test asks for.
for _size in ("COLUMNS", "LINES"):
    os.environ.pop(_size, None)

# What an example takes is the machine's other work as well. Each run draws other examples, so that
# fewer of them keep the whole suite short and still find in time what there is to find.
hypothesis.settings.register_profile(
    "any machine",
    max_examples=40,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("any machine")


ATTEMPTS = 3
"""How often a real-time test is tried on a machine that is too busy for it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers get the files that take longest first, and end together."""
    if hasattr(config, "workerinput"):  # pytest-xdist's mark of a worker
        tests = Counter(item.path for item in items)
        slow, realtime = (
            {item.path for item in items if item.get_closest_marker(marker)}
            for marker in ("slow", "realtime")
        )
        items.sort(
            key=lambda item: (item.path not in slow, item.path not in realtime, -tests[item.path])
        )


def pytest_collection_finish() -> None:
    """Leaves the half million objects of all imports to no garbage collection.

    Going through them stops all threads for a quarter of a second and more, which virtual servos
    do not have: they answer within some hundredths.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Runs a real-time test before other work, and again where it had no core when it failed."""
    if not item.get_closest_marker("realtime"):
        return None
    patience.measure()
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for attempt in range(ATTEMPTS):
        with patience.urgent(), patience.Starvation() as starvation:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        failed = [report for report in reports if report.failed]
        starved = starvation.longest > patience.Starvation.TOO_LONG
        if not (failed and starved) or attempt == ATTEMPTS - 1:
            break
    for report in failed:
        late = f"a thread waited for a core for {starvation.longest:.2f} s in attempt {attempt + 1}"
        report.sections.append(("how busy the machine was", late))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(autouse=True, scope="module")
def ray_ends_with_the_file() -> Iterator[None]:
    """RLlib starts Ray where nobody has; the next file of the same worker gets none of it."""
    yield
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


@pytest.fixture(scope="module")
def ray_session() -> None:
    """Ray without its dashboard, which takes seconds to start; RLlib would start one with it."""
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
