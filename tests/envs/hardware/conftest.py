"""A virtual arm of six servos, and a bus that talks to it."""

from collections.abc import Iterator

import pytest

from envs.hardware.bus import FeetechBus
from envs.hardware.plant import KinematicPlant
from envs.hardware.virtual_chain import VirtualChain
from envs.hardware.virtual_port import VirtualPort

MARGIN = 0.05
"""How much later than the wire allows virtual servos may answer [s]."""


@pytest.fixture
def plant() -> KinematicPlant:
    return KinematicPlant([0.0] * 6)


@pytest.fixture
def port(plant: KinematicPlant) -> Iterator[VirtualPort]:
    with VirtualPort(VirtualChain(range(1, 7), plant)) as port:
        yield port


@pytest.fixture
def bus(port: VirtualPort) -> Iterator[FeetechBus]:
    # The servos' thread may have to wait for a core while other work goes on.
    with FeetechBus(port.path, margin=MARGIN) as bus:
        yield bus
