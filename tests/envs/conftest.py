"""Fixtures: a virtual arm of six servos and a bus that talks to it."""

from collections.abc import Iterator

import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_port import VirtualPort
from tests.patience import MARGIN


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
